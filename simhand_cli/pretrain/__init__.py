"""Contrastive pre-training: options, recipe, plan, pairs, losses, the run."""
