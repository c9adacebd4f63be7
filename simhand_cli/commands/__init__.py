"""One file per command: its strict config and the typed function that does it."""
