"""One file per command: what it does, its examples and its summary."""
