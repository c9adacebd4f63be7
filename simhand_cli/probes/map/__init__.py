"""A map of an encoder's features in the plane: t-SNE, drawn."""
