"""Readers of 3D-labelled hand sets; every one yields HandSample."""
