"""simhand: from unlabelled hand videos to a working 3D hand pose model."""

import os

# Threads that wait for each other spin for a moment and then sleep: beside one other busy program a step whose threads
# go on spinning takes several times as long, and without any spinning one of small tensors takes a third longer where
# nothing else runs (benchmarks/results/busy_machine_trials.json). OpenMP reads this when torch is loaded, so it stands
# in the one file that every import of simhand runs first, and child processes inherit it. A user's own setting wins.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # GNU OpenMP's, which torch brings; by default 300,000

__version__ = "0.1.0"
