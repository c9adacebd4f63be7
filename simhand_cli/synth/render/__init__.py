"""From a scene to a picture: rasteriser, light, shading, and the developing of a raw picture."""
