"""Two models on the same samples: paired differences with intervals, their record and report."""
