"""Errors of predictions in every alignment, their records, and pages that show them."""
