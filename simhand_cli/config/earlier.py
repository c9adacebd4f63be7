"""Options as the version before wrote them: old names and old words for "not given", understood with a hint."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from simhand_cli.config.option_words import as_flag, extras, options_of

#: How every hint ends.
_UNTIL = "goes away with the next version"


@dataclass
class Earlier:
    """What a command's options were called before.

    Attributes:
        renamed: old dotted name, or short flag -> today's name.
        replaced: old dotted name -> the option that says it now, in another way.
        none_was: today's name -> the old word for "not given".
        hints: one line for every old word that was met, in that order.
    """

    renamed: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    none_was: dict[str, Any] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, model: type[BaseModel]) -> "Earlier":
        """Those of a config class."""
        found = cls()
        for name, info in options_of(model):
            prefix, extra = name.rpartition(".")[0], extras(info)
            for table, words in ((found.renamed, "formerly"), (found.replaced, "replaces")):
                for old in extra.get(words, ()):
                    table[old if old.startswith("-") or not prefix else f"{prefix}.{old}"] = name
            if "none_was" in extra:
                found.none_was[name] = extra["none_was"]
        return found

    def today(self, name: str, value: Any) -> tuple[str, Any] | None:
        """An option's name and value in today's words; None where there is no such option any more.

        The caller shows :attr:`hints`.
        """
        if name in self.replaced:
            self._hint(f"{as_flag(name)} is not heeded: {as_flag(self.replaced[name])} takes its place")
            return None
        if name in self.renamed:
            new = self.renamed[name]
            self._hint(f"{as_flag(name)} is now {as_flag(new)} and {_UNTIL}")
            name = new
        if name in self.none_was and self._is_old_none(name, value):
            old = f"{as_flag(name)} {shlex.quote(str(value))}"
            self._hint(f"{old} is now said by leaving it out (null in a file) and {_UNTIL}")
            value = None
        return name, value

    def today_nested(self, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """A file's options in today's words; where a file has both names, today's counts."""
        found: dict[str, Any] = {}
        for key, value in values.items():
            said = self.today(f"{prefix}{key}", value)
            if said is None:
                continue
            name = said[0].removeprefix(prefix)
            if isinstance(value, Mapping):
                found[name] = self.today_nested(value, f"{prefix}{key}.")
            # A file with both names: the old one was forgotten there.
            elif name == key or name not in values:
                found[name] = said[1]
        return found

    def _is_old_none(self, name: str, value: Any) -> bool:
        old = self.none_was[name]
        # True equals 1, but is no number that somebody typed.
        if isinstance(old, str) or not isinstance(value, str):
            return bool(value == old) and not isinstance(value, bool)
        try:
            return bool(float(value) == old)
        except ValueError:
            return False

    def _hint(self, line: str) -> None:
        # A file and a flag may use the same old word; one hint is enough.
        if line not in self.hints:
            self.hints.append(line)
