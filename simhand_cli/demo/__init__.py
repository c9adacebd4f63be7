"""Live and offline demonstration of a hand model."""
