"""Helpers of the other stages' tests are used here too."""

import sys
from pathlib import Path

import pytest

for folder in ("labelled", "mining"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))


@pytest.fixture(scope="session", autouse=True)
def _in_one_thread(one_thread: None) -> None:
    """All tests of this folder train tiny models."""


@pytest.fixture(scope="session")
def people_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people to train on and two to test on."""
    from small_people import write_people

    return write_people(tmp_path_factory.mktemp("people") / "own", {"train": list("abcd"), "test": list("xy")})
