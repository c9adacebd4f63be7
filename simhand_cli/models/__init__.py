"""Encoders, projection head and DetNet."""
