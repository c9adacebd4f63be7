"""Finding hands and their joints in frames: detector, landmark network, the stages that run them."""
