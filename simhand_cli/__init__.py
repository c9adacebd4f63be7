"""simhand: from unlabelled hand videos to a working 3D hand pose model."""

__version__ = "0.1.0"
