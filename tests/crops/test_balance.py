"""Right/left balance: as many crops of both sides, by keys that follow from the seed."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simhand_cli.crops.balance import balance_keys, choose_balance, load_balance, save_balance
from simhand_cli.workspace.catalog import Catalog


@given(st.lists(st.integers(0, 1), max_size=60), st.integers(0, 5))
def test_balance_keeps_equal_numbers(sides: list[int], seed: int) -> None:
    handedness = np.array(sides, np.uint8)
    keys = balance_keys(seed, "video", len(sides))
    chosen = choose_balance(handedness, keys).selected(handedness, keys)
    left, right = (handedness == 0).sum(), (handedness == 1).sum()
    expected = min(left, right)
    if expected == 0:
        assert chosen.all()
    else:
        assert ((handedness == 0) & chosen).sum() == ((handedness == 1) & chosen).sum() == expected


def test_balance_is_recorded_and_depends_on_the_seed(tmp_path: Path) -> None:
    assert not np.array_equal(balance_keys(0, "v", 5), balance_keys(1, "v", 5))
    assert not np.array_equal(balance_keys(0, "v", 5), balance_keys(0, "w", 5))
    with Catalog(tmp_path / "c.sqlite") as catalog:
        balance = choose_balance(np.array([0, 1, 1], np.uint8), balance_keys(0, "v", 3))
        save_balance(catalog, balance)
        assert load_balance(catalog) == balance
