"""Fine-tuning in tests: tiny models."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _in_one_thread(one_thread: None) -> None:
    """All tests of this folder train tiny models."""
