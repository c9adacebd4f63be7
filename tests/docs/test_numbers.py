"""The worked example of docs/numbers.md is what the code computes."""

import re
from pathlib import Path

import numpy as np
import pytest
from pck_area import auc

from simhand_cli.metrics.alignment import ALIGNMENT_NAMES, align
from simhand_cli.metrics.joint_errors import (
    AUC_0_50,
    AUC_20_50,
    ROW_TITLES,
    joint_errors,
    joint_means,
    mean_over_joints,
    median_error,
)

PAGE = (Path(__file__).parents[2] / "docs" / "numbers.md").read_text()
EXAMPLE = PAGE[PAGE.index("## Three joints, by hand") : PAGE.index("## Intervals")]


def row(name: str) -> list[str]:
    """The cells of the example's table row of this name."""
    (found,) = re.findall(rf"^\| {re.escape(name)} \|(.+)\|$", EXAMPLE, flags=re.MULTILINE)
    return [cell.strip() for cell in found.split("|")]


def hand(name: str) -> np.ndarray:
    return np.array([[[float(number) for number in cell.split(",")] for cell in row(name)]])


def stated(pattern: str) -> float:
    (found,) = re.findall(pattern, EXAMPLE)
    return float(found)


@pytest.mark.parametrize("name", ALIGNMENT_NAMES)
def test_errors_of_three_joints(name: str) -> None:
    truth, predicted = hand("true"), hand("predicted")
    aligned = align(name, predicted, truth, np.ones((1, 3), bool), root=0, bone=(0, 1))
    errors = joint_errors(aligned.joints_mm, truth)[0]
    assert [f"{abs(value):.2f}" for value in (*errors, errors.mean())] == row(ROW_TITLES[name])


def test_figures_of_three_samples() -> None:
    labelled = [[cell != "no label" for cell in row(name)] for name in ("first", "second", "third")]
    errors = [
        [np.nan if cell == "not found" else 0.0 if cell == "no label" else float(cell) for cell in row(name)]
        for name in ("first", "second", "third")
    ]
    values, valid = np.array(errors), np.array(labelled)
    per_joint = joint_means(values, valid)
    assert [f"{value:.2f}" for value in per_joint] == row("mean")
    assert mean_over_joints(per_joint) == pytest.approx(stated(r"/ 3 = ([\d.]+) mm"), abs=0.005)
    known = values[valid & np.isfinite(values)]
    assert known.mean() == pytest.approx(stated(r"five errors \(([\d.]+)\)"), abs=0.005)
    assert median_error(values, valid) == stated(r"41\.29 is ([\d.]+) mm")
    assert auc(values, valid, AUC_20_50) == pytest.approx(stated(r"The mean is ([\d.]+)\."), abs=5e-5)
    assert auc(values, valid, AUC_0_50) == pytest.approx(stated(r"99 steps of 50/99: ([\d.]+)\."), abs=5e-5)


def test_steps_shown_by_hand_are_right() -> None:
    for squares, total, root in re.findall(r"√\(([\d +]+)\) = √(\d+) = ([\d.]+\d)", EXAMPLE):
        assert sum(int(part) for part in squares.split("+")) == int(total)
        assert f"{int(total) ** 0.5:.2f}" == root
    for total, root in re.findall(r": √(\d+) = ([\d.]+\d)", EXAMPLE):
        assert f"{int(total) ** 0.5:.2f}" == root
    distances = np.linalg.norm(hand("true")[0] - hand("true")[0].mean(axis=0), axis=1)
    assert re.findall(r"W lies ([\d.]+) from it, M ([\d.]+), T ([\d.]+)\.", EXAMPLE) == [
        tuple(f"{value:.2f}" for value in distances)
    ]
