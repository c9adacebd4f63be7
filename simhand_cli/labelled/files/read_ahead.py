"""Batches of items that are read while the model works on the batch before."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(
    read: Callable[[int], Item], rows: Sequence[int], batch_size: int, threads: int = 1
) -> Iterator[list[Item]]:
    """Items of the rows in order, in batches; other threads read the next batch while the caller has the current one.

    Args:
        read: row -> item; called from so many other threads at a time. What it raises comes out with its batch.
        rows: which items, in order.
        batch_size: items a batch, and read ahead of the caller's; the last one may be smaller.
        threads: how many read and decode at a time; with more than one, ``read`` must bear that.
    """
    with ThreadPoolExecutor(threads) as readers:
        waiting: deque[Future[Item]] = deque()
        try:
            for start in range(0, len(rows), batch_size):
                # The batch to yield and the one after it; more would only take memory.
                asked = start + len(waiting)
                waiting.extend(readers.submit(read, row) for row in rows[asked : start + 2 * batch_size])
                yield [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
        finally:
            for future in waiting:  # the caller stopped, or an item failed: nobody wants the rest
                future.cancel()
