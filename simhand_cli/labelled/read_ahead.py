"""Batches of items that are read while the model works on the batch before."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(read: Callable[[int], Item], rows: Sequence[int], batch_size: int) -> Iterator[list[Item]]:
    """Items of the rows in order, in batches; one thread reads the next batch while the caller has the current one.

    Args:
        read: row -> item; called from one other thread, never twice at a time.
        rows: which items, in order.
        batch_size: items a batch; the last one may be smaller.
    """

    def read_batch(start: int) -> list[Item]:
        return [read(row) for row in rows[start : start + batch_size]]

    with ThreadPoolExecutor(max_workers=1) as reader:
        pending = None
        for start in range(0, len(rows), batch_size):
            following = reader.submit(read_batch, start)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()
