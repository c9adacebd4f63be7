"""Right/left balance: which crops of the more frequent side are used; nothing is deleted.

Every crop carries a random key, a hash of (seed, video, row). The more frequent side keeps the crops with the
smallest keys, as many as the other side has: the choice depends neither on the order of the videos nor on how
often the stage was interrupted, and adding videos changes it as little as possible.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.workspace.catalog import Catalog

_META_KEY = "balance"
_ALL = (1 << 64) - 1


@dataclass(frozen=True)
class Balance:
    """The largest key kept on each side (inclusive)."""

    left_key_max: int = _ALL
    right_key_max: int = _ALL

    def selected(self, handedness: NDArray[np.uint8], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of N crops are used: (N,) bool from handedness (N,) (0 left, 1 right) and keys (N,) uint64."""
        limits = np.array([self.left_key_max, self.right_key_max], dtype=np.uint64)
        return np.asarray(keys <= limits[handedness], dtype=bool)


def balance_keys(seed: int, video_id: str, count: int) -> NDArray[np.uint64]:
    """(count,) uint64 random keys of a video's crops; equal on every machine."""
    # A named generator and a hash: Python's own hash() differs from run to run.
    digest = hashlib.sha256(f"{seed}:{video_id}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    return generator.integers(0, _ALL, size=count, dtype=np.uint64, endpoint=True)


def choose_balance(handedness: NDArray[np.uint8], keys: NDArray[np.uint64]) -> Balance:
    """The thresholds that leave as many right as left crops; all are kept if one side is empty."""
    left, right = np.sort(keys[handedness == 0]), np.sort(keys[handedness == 1])
    fewer = min(len(left), len(right))
    if fewer == 0 or len(left) == len(right):
        return Balance()
    if len(left) > fewer:
        return Balance(left_key_max=int(left[fewer - 1]))
    return Balance(right_key_max=int(right[fewer - 1]))


def save_balance(catalog: Catalog, balance: Balance) -> None:
    """Record the choice in the catalog."""
    # As text: 64 bits do not survive a JSON reader that holds numbers as doubles.
    catalog.set_meta(_META_KEY, json.dumps({k: str(v) for k, v in asdict(balance).items()}))


def load_balance(catalog: Catalog) -> Balance:
    """The recorded choice, or one that keeps everything."""
    text = catalog.get_meta(_META_KEY)
    return Balance() if text is None else Balance(**{k: int(v) for k, v in json.loads(text).items()})
