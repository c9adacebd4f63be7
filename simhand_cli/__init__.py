"""simhand: from unlabelled hand videos to a working 3D hand pose model."""

import os

# Threads that wait for each other sleep instead of spinning: beside one other busy program a spinning step takes 2 to
# 15 times as long (benchmarks/busy_machine.py). OpenMP reads this when torch is loaded, so it stands in the one file
# that every import of simhand runs first, and child processes inherit it; a user's own setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
