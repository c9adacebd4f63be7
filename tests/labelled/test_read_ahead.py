"""Reading ahead: everything in order, several at a time, never far ahead, and over when the caller stops."""

import threading
import time

import pytest

from simhand_cli.labelled.files.read_ahead import read_ahead


@pytest.mark.parametrize(("count", "batch_size", "threads"), [(0, 3, 1), (1, 3, 4), (7, 3, 1), (12, 4, 4), (50, 7, 8)])
def test_items_come_in_order_whichever_is_read_first(count, batch_size, threads):
    def read(row):
        time.sleep(0.002 * (row % 3 == 0))
        return -row

    rows = list(range(100, 100 + count))
    batches = list(read_ahead(read, rows, batch_size, threads))
    assert [item for batch in batches for item in batch] == [-row for row in rows]
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * max(len(batches) - 1, 0)


def test_several_are_read_at_a_time():
    together = threading.Barrier(4, timeout=5)  # breaks unless four threads wait at it
    assert list(read_ahead(lambda row: together.wait() >= 0 and row, range(8), 4, threads=4)) == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
    ]


def test_only_one_batch_is_read_ahead_and_none_after_the_end():
    started = []
    batches = read_ahead(lambda row: started.append(row), range(100), 5, threads=3)
    assert started == []
    next(batches)
    time.sleep(0.05)
    assert sorted(started) == list(range(10))  # the caller's batch and the next
    batches.close()
    assert len(started) == 10


def test_what_a_reader_raises_reaches_the_caller():
    def read(row):
        if row == 7:
            raise OSError("torn")
        return row

    batches = read_ahead(read, range(1000), 5, threads=3)
    assert next(batches) == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="torn"):
        next(batches)
