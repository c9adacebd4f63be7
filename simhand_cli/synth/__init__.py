"""Synthetic hands with exact labels."""
