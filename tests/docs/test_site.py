"""The site of ``make docs`` has every page of docs/, and nothing in it is fetched from elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages(nav: object) -> Iterator[str]:
    """The pages of a navigation of any depth."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for below in nav.values():
            yield from pages(below)
    elif isinstance(nav, list):
        for below in nav:
            yield from pages(below)


def test_the_navigation_is_all_pages_and_nothing_else():
    named = list(pages(SITE["nav"]))
    assert sorted(named) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


def test_commands_stand_in_the_order_of_the_command_line():
    from simhand_cli.cli import COMMANDS

    (commands,) = (entry["Commands"] for entry in SITE["nav"] if "Commands" in entry)
    assert [name for entry in commands for name in entry] == list(COMMANDS)


def test_nothing_is_fetched():
    theme = SITE["theme"]
    assert theme["name"] == "mkdocs"
    assert theme["highlightjs"] is False
    assert not {"extra_css", "extra_javascript", "site_url", "repo_url"} & set(SITE)
