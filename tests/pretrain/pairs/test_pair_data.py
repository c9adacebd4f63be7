"""Which pairs a step sees, and that the right pixels and joints are fetched."""

import errno

import cv2
import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_workspace import CROP_PX, make_workspace

from simhand_cli.crops import reader as crop_reader
from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.pretrain.pairs import pair_loader
from simhand_cli.pretrain.pairs.epoch_order import Request, StepBatches
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.pretrain.pairs.pair_loader import pair_batches
from simhand_cli.pretrain.pairs.pair_table import PairDataset, draw_positives, load_pair_table
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.workspace.paths import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(make_workspace(tmp_path_factory.mktemp("data") / "ws"))


def true_crop(workspace, row):
    """The crop of a row, read through h5py alone."""
    video, crop = divmod(row, 10)
    with h5py.File(workspace.crops_shard(f"{video:016x}")) as file:
        start, end = file["jpeg_offsets"][crop : crop + 2]
        return cv2.imdecode(file["jpeg"][start:end], cv2.IMREAD_COLOR)[:, :, ::-1]


@given(
    pairs=st.integers(4, 60),
    per_rank=st.integers(1, 5),
    world=st.integers(1, 4),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_ranks_together_see_what_one_rank_sees(pairs, per_rank, world, epochs, seed, data):
    batch = min(per_rank * world, pairs - pairs % world)
    if batch < world:
        return
    total = (pairs // batch) * epochs
    start = data.draw(st.integers(0, total))
    alone = list(StepBatches(pairs, batch, total, seed))
    parts = [list(StepBatches(pairs, batch, total, seed, rank, world, start)) for rank in range(world)]
    assert len(StepBatches(pairs, batch, total, seed, 0, world, start)) == total - start == len(parts[0])
    for step, together in enumerate(zip(*parts, strict=True), start):
        assert {epoch for epoch, _, _ in together} == {alone[step][0]}
        np.testing.assert_array_equal(np.concatenate([rows for _, rows, _ in together]), alone[step][1])
    for epoch in range(epochs):
        rows = np.concatenate([rows for e, rows, _ in alone if e == epoch])
        assert len(np.unique(rows)) == len(rows) == (pairs // batch) * batch
        assert rows.min() >= 0
        assert rows.max() < pairs


def test_epochs_and_seeds_differ():
    def order(seed, epoch):
        return np.concatenate([rows for e, rows, _ in StepBatches(40, 8, 10, seed) if e == epoch]).tolist()

    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) == order(0, 0)


@pytest.mark.parametrize("fetched", [3, 7])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_the_right_crops_and_joints(workspace, workers, fetched, monkeypatch):
    monkeypatch.setattr(pair_loader, "FETCHED_PAIRS", fetched)
    table = load_pair_table(workspace, "mined", positive_rank=2)
    assert (len(table), table.without_positive, table.crop_size_px) == (28, 2, CROP_PX)
    steps = StepBatches(len(table), 7, 5, seed=3)
    batches = list(pair_batches(PairDataset(table, workspace.crops_dir, 0), steps, Ranks(), workers))
    assert [b.epoch for b in batches] == [0, 0, 0, 0, 1]
    with h5py.File(workspace.mining_dir / "embeddings.h5") as file:
        keypoints = file["keypoints_px"][:]
    for batch, (_, pairs, _) in zip(batches, steps, strict=True):
        rows1, rows2 = batch.rows1.numpy(), batch.rows2.numpy()
        np.testing.assert_array_equal(rows1, pairs)  # rows without a positive are the last two
        np.testing.assert_array_equal(rows2, (rows1 + 11) % 30)
        np.testing.assert_array_equal(batch.keypoints1_px.numpy(), keypoints[rows1])
        np.testing.assert_array_equal(batch.keypoints2_px.numpy(), keypoints[rows2])
        for rows, crops in ((rows1, batch.crops1), (rows2, batch.crops2)):
            for row, crop in zip(rows, crops.numpy(), strict=True):
                np.testing.assert_array_equal(crop, true_crop(workspace, row))


def test_batches_in_parts_are_those_in_one_for_any_rank_start_and_order(workspace, monkeypatch):
    table = load_pair_table(workspace, "mined", drawn_among=2, with_embeddings=True)
    dataset = PairDataset(table, workspace.crops_dir, 0)
    steps = StepBatches(len(table), 14, 6, 3, rank=1, world_size=2, start_step=1, sampling="replacement")

    def batches(fetched, workers=0):
        monkeypatch.setattr(pair_loader, "FETCHED_PAIRS", fetched)
        return list(pair_batches(dataset, steps, Ranks(), workers))

    whole = batches(7)
    assert [len(batch.rows1) for batch in whole] == [7] * 5
    assert any(batch.repeats.any() for batch in whole)
    for workers in (0, 2):
        for one, other in zip(whole, batches(3, workers), strict=True):
            assert vars(one).keys() == vars(other).keys()
            for name, value in vars(one).items():
                assert torch.equal(value, vars(other)[name]) if torch.is_tensor(value) else value == vars(other)[name]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_whole_batch_is_always_asked_for_ahead(workspace, workers, monkeypatch):
    """However small the parts, or a large batch would be waited for at every step."""
    monkeypatch.setattr(pair_loader, "FETCHED_PAIRS", 1)
    asked = []
    requests = pair_loader._Fetches.__iter__
    monkeypatch.setattr(pair_loader._Fetches, "__iter__", lambda self: (asked.append(r) or r for r in requests(self)))
    table = load_pair_table(workspace, "same-image")
    batches = pair_batches(PairDataset(table, workspace.crops_dir, 0), StepBatches(30, 10, 9, 0), Ranks(), workers)
    for done in range(1, 4):
        next(batches)
        assert len(asked) >= 10 * done + 10
        assert len(asked) <= 10 * done + 10 + 2 * workers
    batches.close()


@pytest.mark.parametrize(("workers", "limit", "fetched"), [(0, None, 6), (2, None, 4), (0, 12, 6)])
def test_batches_bring_the_embeddings_of_their_rows_where_asked_to(workspace, workers, limit, fetched, monkeypatch):
    monkeypatch.setattr(pair_loader, "FETCHED_PAIRS", fetched)
    table = load_pair_table(workspace, "mined", limit_crops=limit, with_embeddings=True)
    steps = StepBatches(len(table), 6, 4, seed=3)
    with h5py.File(workspace.mining_dir / "embeddings.h5") as file:
        embedding = file["embedding"][:]
    for batch in pair_batches(PairDataset(table, workspace.crops_dir, 0), steps, Ranks(), workers):
        np.testing.assert_array_equal(batch.embeddings1, embedding[batch.rows1])
        np.testing.assert_array_equal(batch.embeddings2, embedding[batch.rows2])
        part = batch.part(2, 5)
        np.testing.assert_array_equal(part.embeddings2, embedding[part.rows2])
        if limit:
            assert set(batch.rows1.tolist()) | set(batch.rows2.tolist()) <= set(table.anchor.tolist())
    plain = PairDataset(load_pair_table(workspace, "mined"), workspace.crops_dir, 0).__getitems__(
        Request(0, np.arange(3))
    )
    assert plain.embeddings1 is plain.embeddings2 is None


def test_positives_are_drawn_anew_every_epoch_among_the_nearest(workspace):
    table = load_pair_table(workspace, "mined", drawn_among=2)
    assert table.positive.shape == (28, 2)
    dataset = PairDataset(table, workspace.crops_dir, 5)
    drawn = np.stack([dataset.__getitems__(Request(epoch, np.arange(28))).rows2.numpy() for epoch in range(20)])
    for row, rows2 in enumerate(drawn.T):
        assert set(rows2) == {(row + 10) % 30, (row + 11) % 30}
    share = (drawn == table.positive[:, 0]).mean()
    assert 0.42 < share < 0.58  # 560 draws: within 3.8 standard deviations
    # the same whatever the batch
    halves = [dataset.__getitems__(Request(3, rows)).rows2.numpy() for rows in (np.arange(14), np.arange(14, 28))]
    np.testing.assert_array_equal(np.concatenate(halves), drawn[3])


def test_where_fewer_were_found_only_those_are_drawn():
    candidates = np.array([[7, -1, -1], [8, 9, -1], [4, 5, 6]])
    drawn = np.stack([draw_positives(candidates, np.arange(3), seed) for seed in range(200)])
    assert [sorted(set(column)) for column in drawn.T] == [[7], [8, 9], [4, 5, 6]]


def test_same_image_methods_use_every_crop_with_itself(workspace):
    table = load_pair_table(workspace, "same-image")
    assert (len(table), table.without_positive) == (30, 0)
    steps = StepBatches(30, 6, 1, seed=0)
    (batch,) = pair_batches(PairDataset(table, workspace.crops_dir, 0), steps, Ranks(), workers=1)
    assert batch.crops2 is batch.crops1
    np.testing.assert_array_equal(batch.rows1, batch.rows2)


def test_limit_is_a_seeded_draw(workspace):
    def anchors(seed, kind="same-image"):
        table = load_pair_table(workspace, kind, limit_crops=9, seed=seed)
        assert table.beyond_limit == 21
        return table.anchor.tolist()

    assert len(set(anchors(0))) == 9
    assert anchors(0) == anchors(0) != anchors(1)
    assert anchors(0, "mined") == anchors(0)  # the same crops for every method


@pytest.mark.parametrize("rank", [1, 3])
def test_mined_pairs_of_a_part_lie_within_it(workspace, rank):
    table = load_pair_table(workspace, "mined", limit_crops=12, positive_rank=rank, drawn_among=2, seed=4)
    with h5py.File(workspace.mining_dir / "embeddings.h5") as file:
        embedding, video = file["embedding"][:].astype(np.float64), file["video_index"][:]
    assert table.positive.shape == (12, 2)  # though only two neighbours were mined
    for anchor, positives in zip(table.anchor, table.positive, strict=True):
        others = [row for row in table.anchor if video[row] != video[anchor]]
        others.sort(key=lambda row: ((embedding[row] - embedding[anchor]) ** 2).sum())
        assert positives.tolist() == others[rank - 1 : rank + 1]


def test_few_open_files_suffice(workspace, monkeypatch):
    monkeypatch.setattr(crop_reader, "MAX_OPEN_FILES", 2)
    table = load_pair_table(workspace, "same-image")
    dataset = PairDataset(table, workspace.crops_dir, 0)
    for rows in ([0, 10, 20, 1, 11, 21], [25, 5, 15]):
        batch = dataset.__getitems__(Request(0, np.array(rows)))
        for row, crop in zip(rows, batch.crops1.numpy(), strict=True):
            np.testing.assert_array_equal(crop, true_crop(workspace, row))
    assert len(dataset._reader._open) == 2
    dataset._reader.close()
    assert not dataset._reader._open


def test_problems_are_one_line_even_from_a_worker(workspace, tmp_path):
    with pytest.raises(InputProblem, match="run 'simhand mine' first"):
        load_pair_table(Workspace(tmp_path), "mined")
    with pytest.raises(InputProblem, match="--positive-rank 3, but 2 neighbours"):
        load_pair_table(workspace, "mined", positive_rank=3)
    with pytest.raises(InputProblem, match=r"--positive-rank 2 --positives 2, but 2 neighbours .* --topk 3 "):
        load_pair_table(workspace, "mined", positive_rank=2, drawn_among=2)
    broken = Workspace(make_workspace(tmp_path / "ws"))
    shard = broken.crops_shard(f"{1:016x}")
    with h5py.File(shard, "r+") as file:
        file["jpeg"][file["jpeg_offsets"][4] :] = 0
    table = load_pair_table(broken, "same-image")
    steps = StepBatches(30, 30, 1, seed=0)
    with pytest.raises(InputProblem, match=r"crop \d of .*0001\.h5 is damaged") as caught:
        list(pair_batches(PairDataset(table, broken.crops_dir, 0), steps, Ranks(), workers=1))
    assert "\n" not in str(caught.value)
    shard.unlink()
    fetched = PairDataset(table, broken.crops_dir, 0).__getitems__(Request(0, np.arange(30)))
    assert not isinstance(fetched, PairBatch)
    assert "is missing" in str(fetched)


def test_a_disk_s_own_error_is_one_line_even_from_a_worker(workspace, monkeypatch):
    def stale(self, videos, crops):
        raise OSError(errno.ESTALE, "stale", "crops/1.h5")

    monkeypatch.setattr(crop_reader.CropReader, "read", stale)
    table = load_pair_table(workspace, "same-image")
    dataset, steps = PairDataset(table, workspace.crops_dir, 0), StepBatches(30, 30, 1, seed=0)
    with pytest.raises(EnvironmentProblem, match=r"^Stale file handle \(crops/1\.h5\)$"):
        list(pair_batches(dataset, steps, Ranks(), workers=1))


def test_nothing_to_pair_is_said(tmp_path):
    lonely = Workspace(make_workspace(tmp_path / "ws", videos=1, without_positive=10))
    with pytest.raises(InputProblem, match="only 0 of 10 crops"):
        load_pair_table(lonely, "mined")
