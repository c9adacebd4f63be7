"""The hand skeleton, crop geometry, and the detector and keypoint adapters."""
