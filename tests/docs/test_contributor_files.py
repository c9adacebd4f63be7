"""What a contributor meets runs the project's own checks: CI, hooks, targets of make; their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TEMPLATES = sorted((ROOT / ".github").rglob("*.md"))
#: Pages that test_docs.py does not read.
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md", *TEMPLATES]


def recipe(target: str) -> list[list[str]]:
    """The command lines of a target of the Makefile, each as its words."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found, f"no target {target}"
    return [shlex.split(line) for line in found[1].splitlines()]


def programs(lines: list[list[str]]) -> set[tuple[str, ...]]:
    """Program and, of ruff, what it does; without the folder that it lies in and without options."""
    words = [[word for word in line if not word.startswith("-") and word != "."] for line in lines]
    return {(Path(program).name, *rest) for program, *rest in words}


def test_hooks_are_what_make_lint_runs_from_the_same_environment():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"  # nothing is fetched, and no version differs
    entries = [shlex.split(hook["entry"]) for hook in repo["hooks"]]
    assert programs(entries) == programs(recipe("lint"))
    assert all(entry[0].startswith(".venv/bin/") for entry in entries)


def test_the_workflow_runs_what_a_newcomer_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in steps
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "architecture.md", *PAGES], ids=lambda p: p.name)
def test_targets_of_make_exist(page):
    called = set(re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert called <= targets


def test_contributing_tells_of_the_targets_that_check_and_build():
    called = set(re.findall(r"^    make ([a-z-]+)", PAGES[0].read_text(), re.MULTILINE))
    assert called == {"test", "test-quick", "lint", "format", "docs", "architecture"}
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert called <= set(phony[1].split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not gone


def test_quick_tests_are_those_that_are_not_slow():
    (all_tests,), (quick,) = recipe("test"), recipe("test-quick")
    assert quick == [*all_tests, "-m", "not slow"]
