"""Predicted joints of every sample of a set: by a model, MediaPipe, or a mean hand."""
