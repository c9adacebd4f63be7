"""What both training loops share: launch, checkpoints, precision, schedules, logs."""
