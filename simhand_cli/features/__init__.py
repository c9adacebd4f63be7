"""Features of frozen encoders, and what can be asked of them: neighbours, retrieval, pictures."""
