"""Probing videos and reading frames by timestamp."""
