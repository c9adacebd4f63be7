"""Supervised training of the 3D hand model."""
