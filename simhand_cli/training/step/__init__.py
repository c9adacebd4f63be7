"""Parts of an optimiser step: precision, optimisers, schedules, EMA, batch norm, stopping."""
