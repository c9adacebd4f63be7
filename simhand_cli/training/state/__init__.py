"""What a run can go on from: checkpoints, training state, the environment it ran in."""
