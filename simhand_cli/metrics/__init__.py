"""Errors of poses: alignments, MPJPE, PCK and its area, intervals by bootstrap, absolute position."""
