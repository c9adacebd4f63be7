"""Similar hands from other videos: pose embedding, index, search, pairs."""
