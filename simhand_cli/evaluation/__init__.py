"""Alignments and metrics of 3D hand pose."""
