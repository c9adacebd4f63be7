"""One reader for each layout of labelled hands; every one yields HandSample."""
