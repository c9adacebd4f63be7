"""Networks, where their weights come from, and their files: encoders, DetNet, hand models."""
