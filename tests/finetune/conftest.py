"""The miniature FreiHAND of the labelled tests is used here too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "labelled"))
