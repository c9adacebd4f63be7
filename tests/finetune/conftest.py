"""The miniature FreiHAND of the labelled tests is used here too."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "labelled"))


@pytest.fixture(scope="session", autouse=True)
def _in_one_thread(one_thread: None) -> None:
    """All tests of this folder train tiny models."""
