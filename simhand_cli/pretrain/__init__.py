"""Contrastive pre-training: methods, losses, loader, loop."""
