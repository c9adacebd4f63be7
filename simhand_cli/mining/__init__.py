"""Similar hands of other videos: pose embedding, index, search, pairs and their report."""
