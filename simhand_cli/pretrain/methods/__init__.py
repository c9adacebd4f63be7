"""The methods of contrastive pre-training, each a small class in a file of its own."""
