"""Contact sheets, plots and one self-contained HTML page."""
