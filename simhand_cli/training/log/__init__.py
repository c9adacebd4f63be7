"""Metrics of a run: its own file, TensorBoard, Weights & Biases."""
