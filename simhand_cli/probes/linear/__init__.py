"""The linear probe: ridge regression of 3D pose from frozen features."""
