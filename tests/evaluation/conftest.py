"""A measurement of known predictions."""

import pytest

from simhand_cli.commands.evaluate import evaluate
from simhand_cli.evaluation import measure as evaluation_run
from simhand_cli.evaluation.config import EvaluateConfig


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Run the command with known predictions; the summary, and (alignment, name) -> value of the first set."""

    def run(data, split, predictor, **options):
        monkeypatch.setattr(evaluation_run, "_make_predictor", lambda _job: predictor)
        options = {"model": "mediapipe", "name": "known", "reflections": True, "leaderboard": True} | options
        config = EvaluateConfig(
            workspace=tmp_path / "ws", data=[data], split=split, bootstrap=10, samples_shown=1, **options
        )
        summary = evaluate(config)
        figures = {}
        for one in summary.data["metrics"]["sets"][0]["figures"]:
            figures[one["alignment"], one.get("name", one["metric"])] = one["value"]
        return summary, figures

    return run
