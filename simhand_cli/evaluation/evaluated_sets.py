"""Which sets and splits an evaluation measures on."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.open import held_out_split, matching_test_split, newest_own_set, open_labelled, recognise
from simhand_cli.labelled.sample import UNKNOWN_SUBJECT, LabelledSet, NoSuchSplit
from simhand_cli.workspace.paths import Workspace

if TYPE_CHECKING:
    from simhand_cli.evaluation.config import EvaluateConfig

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
        # Where the path is not known, saying "the same" would refuse good test sets; the digest still finds them.
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
        # Told apart by their order alone: a list of another length is not of this model's sets.
        record = recorded[s] if len(recorded) == len(named) else {}
        # "unknown" is nobody: it would make all hands of unnamed people known.
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
    # A model of s1-train is tested on s1-test: s0's test people were in its training.
    return next((matching_test_split(one.split) for one in trained if one.is_same_set(name, path)), "test")


def trained_on(trained: list[TrainingSet], labelled: LabelledSet, path: Path, labels_sha256: str) -> bool:
    """Whether these labels are ones that the model was trained on."""
    return any(
        # By content first: a copied or renamed folder holds the same labels.
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
        # The header alone: no weights are loaded to know where a model comes from.
        with safe_open(model_file, framework="np") as stored:
            document = json.loads((stored.metadata() or {}).get("simhand", "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    training: dict[str, Any] = document.get("training", {})
    return training


@dataclass
class OpenedSets:
    """The sets to measure on.

    Attributes:
        paths: where they lie.
        sets: opened.
        left_out: why sets of the training run are not measured, and how they can be.
    """

    paths: list[Path] = field(default_factory=list)
    sets: list[LabelledSet] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def open_test_sets(config: "EvaluateConfig", model_file: Path | None, workspace: Workspace) -> OpenedSets:
    """Open the sets of ``--data``, or those of the model's training run that have the split, or the newest own one.

    Raises:
        InputProblem: a set that cannot be opened, or no set has the split.
    """
    trained = training_sets(model_file) if model_file else []
    # Without --data the sets of the training are meant, on their test splits.
    run_paths = training_paths(model_file) if model_file and not config.data else []
    opened = OpenedSets()
    for path in config.data or run_paths or [newest_own_set(workspace)]:
        layout = recognise(path)
        split = config.split or default_split(trained, layout, path)
        try:
            labelled = open_labelled(path, split)
        except NoSuchSplit as problem:
            # Sets the user named must have the split; those taken over from the training run are left out, and named.
            if not run_paths:
                raise
            opened.left_out.append(f"{problem}{_how_else(path, layout, split, trained)}")
            continue
        opened.paths.append(path)
        opened.sets.append(labelled)
    if not opened.sets:
        raise InputProblem(opened.left_out[0])
    return opened


def training_warnings(
    opened: OpenedSets, labels_sha256: list[str], model_file: Path | None, split_named: bool
) -> list[str]:
    """What makes figures too good: labels, or people, that the model was trained on.

    Args:
        opened: the sets.
        labels_sha256: digest of the labels of each.
        model_file: the fine-tuned model, None for a baseline.
        split_named: the user has named the split, and so wants it.

    Raises:
        InputProblem: the model was trained on these labels, and nobody has named the split.
    """
    trained = training_sets(model_file) if model_file else []
    warnings = []
    for path, labelled, digest in zip(opened.paths, opened.sets, labels_sha256, strict=True):
        kind = f"{labelled.name}/{labelled.split}"
        if trained_on(trained, labelled, path, digest):
            # By name it is a wish (how far does it overfit?), by default it would be a mistake.
            if not split_named:
                raise InputProblem(
                    f"--data {path}: the model was trained on {kind} itself; give other labels (--data, --split), or "
                    f"--split {labelled.split} to measure on these all the same"
                )
            warnings.append(f"the model was trained on {kind} itself: its errors say nothing about other hands")
        # A warning only: some official splits share people between training and test.
        elif people := known_people(trained, labelled, path):
            count = len(set(labelled.subjects))
            warnings.append(f"{len(people)} of the {count} people of {kind} are known from training, e.g. {people[0]}")
    return warnings


def _how_else(path: Path, layout: str, split: str, trained: list[TrainingSet]) -> str:
    """The command that measures a set without this split, where another one is held out."""
    learned = next((one.split for one in trained if one.name == layout), "train")
    other = held_out_split(layout, learned)
    return "" if other in (split, learned) else f" (simhand evaluate --data {path} --split {other})"
