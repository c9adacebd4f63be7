"""What every training shares: processes, steps, state, logs, and their options."""
