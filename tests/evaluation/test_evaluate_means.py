"""``--model mean-pose`` and ``mean-shape``: the training labels they average are checked, and part of what they are."""

import json

import numpy as np
import pytest
from mini_freihand import write_mini_freihand

from simhand_cli.commands.evaluate import evaluate
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.evaluation.config import EvaluateConfig


def config(tmp_path, **options):
    options = {"model": "mean-pose", **options}
    return EvaluateConfig(
        workspace=tmp_path / "ws", data=[tmp_path / "fh"], bootstrap=10, samples_shown=1, device="cpu", **options
    )


def change_training(tmp_path, change):
    """Rewrite FreiHAND's training joints, (N, 21, 3) m."""
    file = tmp_path / "fh" / "training_xyz.json"
    file.write_text(json.dumps(change(np.array(json.loads(file.read_text()))).tolist()))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mean-pose", "mean-shape"])
def test_other_training_labels_are_another_evaluation(tmp_path, model):
    write_mini_freihand(tmp_path / "fh", hands=6, test_hands=3)
    evaluate(config(tmp_path, model=model))
    assert evaluate(config(tmp_path, model=model, dry_run=True)).facts["state"] == "finished"
    change_training(tmp_path, lambda joints_m: joints_m * 1.02)
    for dry_run in (True, False):
        with pytest.raises(UsageProblem, match="other data or another model"):
            evaluate(config(tmp_path, model=model, dry_run=dry_run))


@pytest.mark.slow
def test_training_labels_that_cannot_be_right_are_not_averaged(tmp_path):
    made = write_mini_freihand(tmp_path / "fh", hands=6, test_hands=3)

    def damage(joints_m):
        joints_m[2] = joints_m[2].mean(axis=0) + (joints_m[2] - joints_m[2].mean(axis=0)) * 3
        return joints_m

    change_training(tmp_path, damage)
    summary = evaluate(config(tmp_path))
    left = [d for d in summary.dropped if d.what.startswith("training samples of")]
    assert left
    assert "span" in left[0].why
    assert summary.problems == sum(d.count for d in left) > 0
    sound = np.delete(made["xyz"], 2, axis=0)
    length = np.linalg.norm(sound[:, 9] - sound[:, 0], axis=1).mean() * 1000
    assert summary.data["metrics"]["model"]["bone_length_mm"] == pytest.approx(length, rel=1e-5)


def test_mirrored_training_labels_are_refused(tmp_path):
    write_mini_freihand(tmp_path / "fh", hands=6, test_hands=3)
    change_training(tmp_path, lambda joints_m: joints_m * [-1, 1, 1])
    with pytest.raises(InputProblem, match=r"data check .* shows more"):
        evaluate(config(tmp_path, dry_run=True))
