"""Contrastive losses: NT-Xent over all ranks, adaptive weights, T undone in features, methods."""
