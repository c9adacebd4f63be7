"""The project folder: paths, lock, catalog, atomic writes, shards."""
