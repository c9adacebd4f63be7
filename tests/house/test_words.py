"""What a reader may rely on in every file: a first sentence, and a reason beside every exception to a rule."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "simhand_cli").rglob("*.py"))
_EXCEPTION = re.compile(r"#\s*(noqa(: [A-Z0-9, ]+)?|type: ignore(\[[a-z, -]+\])?)(?P<reason>.*)$")


def without_reason(text: str) -> list[int]:
    """Lines with ``noqa`` or ``type: ignore`` that say no reason, there or in a comment right before."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        if match := _EXCEPTION.search(line):
            before = lines[number - 2].strip() if number > 1 else ""
            if len(match["reason"].strip(" -#()")) < 3 and not before.startswith("#"):
                found.append(number)
    return found


def test_an_exception_without_reason_is_noticed():
    text = "a = 1  # noqa: E501\n# It is long.\nb = 1  # noqa: E501\nc = 1  # type: ignore[x]  # no stub\nd = 1\n"
    assert without_reason(text) == [1]


def test_every_file_says_what_is_in_it_and_why_it_breaks_a_rule():
    problems = []
    for file in FILES:
        text = file.read_text()
        first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        if len(first.split()) < 3 or first[-1] not in ".?!":
            problems.append(f"{file.relative_to(ROOT)}: no first sentence")
        problems += [f"{file.relative_to(ROOT)}:{line}: no reason" for line in without_reason(text)]
    assert problems == []
