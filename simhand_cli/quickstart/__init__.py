"""The guided tour: every command in turn on synthetic hands, and one report of it all."""
