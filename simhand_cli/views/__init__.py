"""The augmentation T of images and keypoints, and its inverse in feature space."""
