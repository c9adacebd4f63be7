"""Loss curves of every method and kind of weights are those kept in golden_losses.json."""

import itertools
import json

import golden_run
import pytest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return golden_run.make_golden_workspace(tmp_path_factory.mktemp("golden") / "ws")


@pytest.fixture(scope="module")
def golden():
    return json.loads(golden_run.GOLDEN.read_text())["losses"]


def test_the_file_holds_every_run_and_they_differ(golden):
    assert list(golden) == [golden_run.key(*run) for run in golden_run.runs()]
    assert all(len(curve) == golden_run.STEPS for curve in golden.values())
    # With the weights given, handclr and simhand are the same; all other curves are clearly different ones.
    pairs = itertools.combinations(golden.items(), 2)
    alike = [
        (a, b) for (a, one), (b, other) in pairs if max(abs(x - y) for x, y in zip(one, other, strict=True)) < 1e-6
    ]
    assert len(alike) == 3
    assert all({one.split()[0], other.split()[0]} == {"handclr", "simhand"} for one, other in alike)


@pytest.mark.slow
@pytest.mark.parametrize("run", golden_run.runs(), ids=lambda run: golden_run.key(*run))
def test_losses_are_the_kept_ones(workspace, golden, run):
    assert golden_run.losses(workspace, *run) == pytest.approx(golden[golden_run.key(*run)], rel=1e-9)
