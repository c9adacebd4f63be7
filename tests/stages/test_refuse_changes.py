"""Options that differ from those of earlier results are named."""

import pytest

from simhand_cli.errors import UsageProblem
from simhand_cli.stages.refuse_changes import refuse_changes


def test_changed_options_are_named() -> None:
    refuse_changes("detect", None, {"a": 1}, "--redo")
    refuse_changes("detect", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}, "--redo")
    with pytest.raises(UsageProblem, match=r"b\.c=2, now 3; --redo"):
        refuse_changes("detect", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}, "--redo")
    one, two = {"of": ["0" * 64], "z": 1}, {"of": ["f" * 64, "0" * 64], "z": 1}
    with pytest.raises(UsageProblem, match=r"with other data or another model; --redo$"):
        refuse_changes("evaluate", one, two, "--redo")
    with pytest.raises(UsageProblem, match=r"z=1, now 2 and 1 more; --redo$"):
        refuse_changes("evaluate", one, {**two, "z": 2}, "--redo")


def test_an_option_added_by_a_newer_version_is_no_change() -> None:
    refuse_changes("detect", {"a": 1}, {"a": 1, "b": None}, "--redo")
