"""Options that were not given take the values that a workspace's earlier results were made with."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from simhand_cli.config.base import CommandConfig
from simhand_cli.console import Console
from simhand_cli.stages.refuse_changes import as_flags

Config = TypeVar("Config", bound=CommandConfig)


def take_earlier(config: Config, earlier: Mapping[str, Any] | None, console: Console) -> Config:
    """Fill in what the user left open from earlier results, and say so in one line.

    Args:
        config: as given; a value from a flag, a file or a Python call is kept, whatever it was before.
        earlier: identity of the earlier results; None if there are none.
        console: told which values differ from the defaults.

    Returns:
        the same config, or one that continues the earlier results.
    """
    now = config.identity()
    before = earlier or {}
    wanted = {
        name: before[name]
        for name, value in now.items()
        # Whatever was said, even the default, is meant as said.
        if name in before and name not in config.model_fields_set and value != before[name]
    }
    if not wanted:
        return config
    try:
        followed = type(config).model_validate(config.model_dump(exclude_unset=True) | wanted)
    except ValidationError:  # of a version that allowed more; the comparison that follows names the option
        return config
    console.say(f"{' '.join(as_flags(wanted))}: as before in this workspace (--redo starts over with other options)")
    return followed
