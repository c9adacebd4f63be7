"""Contact sheets, plots and self-contained HTML pages."""
