"""What a fine-tuned model has learned from: it is not to be tested on that unnoticed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, LabelledSet
from simhand_cli.labelled.splits import matching_test_split

#: Layouts of many different sets: name and split do not say that two are the same.
_OF_MANY_SETS: Final = ("synth", "jsonl")


@dataclass(frozen=True)
class TrainingSet:
    """One labelled set of a fine-tuning run.

    Attributes:
        name: the set's name.
        split: the split that was trained on.
        path: where it lay; None where the run was given none or is not beside the model.
        labels_sha256: digest of its labels; empty where not known.
        subjects: the people trained or validated on, as far as known.
    """

    name: str
    split: str
    path: Path | None = None
    labels_sha256: str = ""
    subjects: frozenset[str] = frozenset()

    def is_same_set(self, name: str, path: Path) -> bool:
        """Whether a set of this name, lying there, is the same one, whatever the split."""
        if self.name in _OF_MANY_SETS and (self.path is None or self.path.resolve() != path.resolve()):
            return False
        return self.name == name


def training_sets(model_file: Path) -> list[TrainingSet]:
    """The sets that a model was trained on, from the model and, where they lie beside it, its run's files."""
    named = _model_training(model_file).get("sets", [])
    recorded = _recorded(model_file.parent / "samples.json")
    paths = training_paths(model_file)
    found = []
    for s, kind in enumerate(named):
        name, _, split = kind.partition("/")
        record = recorded[s] if len(recorded) == len(named) else {}
        subjects = frozenset(record.get("subjects", [])) - {UNKNOWN_SUBJECT}
        path = paths[s] if s < len(paths) else None
        found.append(TrainingSet(name, split, path, record.get("labels_sha256", ""), subjects))
    return found


def training_paths(model_file: Path) -> list[Path]:
    """Where the sets of a model's run lay, from the config beside it; none where it took the default set."""
    import yaml

    saved = model_file.parent / "config.yaml"
    named = (yaml.safe_load(saved.read_text()) or {}).get("data") or [] if saved.is_file() else []
    return [Path(one) for one in named]


def default_split(trained: list[TrainingSet], name: str, path: Path) -> str:
    """The split to test on where none is named: ``test``, of the training split's setup."""
    return next((matching_test_split(one.split) for one in trained if one.is_same_set(name, path)), "test")


def trained_on(trained: list[TrainingSet], labelled: LabelledSet, path: Path, labels_sha256: str) -> bool:
    """Whether these labels are ones that the model was trained on."""
    return any(
        one.labels_sha256 == labels_sha256 or (one.is_same_set(labelled.name, path) and one.split == labelled.split)
        for one in trained
    )


def known_people(trained: list[TrainingSet], labelled: LabelledSet, path: Path) -> list[str]:
    """The people of a set that the model knows from its training."""
    known = [one.subjects for one in trained if one.is_same_set(labelled.name, path)]
    return sorted(set(labelled.subjects).intersection(frozenset[str]().union(*known)))


def _recorded(file: Path) -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = json.loads(file.read_text())["sets"] if file.is_file() else []
    return recorded


def _model_training(model_file: Path) -> dict[str, Any]:
    """How the model came about; nothing where the file cannot be read, which loading it says in its own words."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(model_file, framework="np") as stored:
            document = json.loads((stored.metadata() or {}).get("simhand", "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    training: dict[str, Any] = document.get("training", {})
    return training
