"""The options of a synthetic set, checked together and filled in by format, before anything is written."""

import difflib
from typing import TYPE_CHECKING

from simhand_cli.errors import UsageProblem
from simhand_cli.summary import Dropped
from simhand_cli.synth.grasps import GRASP_NAMES
from simhand_cli.synth.photos import check_pictures

if TYPE_CHECKING:
    from simhand_cli.commands.synth import SynthConfig

#: Defaults that depend on the format.
_COUNT: dict[str, int] = {"labelled": 1000, "videos": 16, "freihand": 1000, "hanco": 16}
_FRAMES: dict[str, int] = {"labelled": 1, "videos": 75, "freihand": 1, "hanco": 10}
_CAMERAS: dict[str, int] = {"labelled": 1, "videos": 1, "freihand": 1, "hanco": 8}


def settle(config: "SynthConfig") -> "SynthConfig":
    """The options with the format's defaults filled in.

    Raises:
        UsageProblem: an unknown grasp, an option the format has no use for, or a count that is no whole number of
            sequences.
    """
    kind = config.format
    settled = config.model_copy(
        update={
            "count": config.count or _COUNT[kind],
            "frames": config.frames or _FRAMES[kind],
            "cameras": config.cameras or _CAMERAS[kind],
            "grasp": _known_grasps(config.grasp),
        }
    )
    given = {name for name in ("frames", "cameras") if getattr(config, name)}
    fixed = {"videos": {"cameras"}, "freihand": {"frames", "cameras"}}.get(kind, set())
    for name in sorted(given & fixed):
        if getattr(settled, name) != 1:
            raise UsageProblem(f"--{name} does nothing with --format {kind}; leave it out or choose labelled or hanco")
    if kind == "labelled":
        _check_count(whole(settled.count), whole(settled.frames), whole(settled.cameras))
    return settled


def _check_count(count: int, frames: int, cameras: int) -> None:
    each = frames * cameras
    if count % each:
        up = -(-count // each) * each
        raise UsageProblem(
            f"--count {count} is no multiple of --frames {frames} x --cameras {cameras} = {each}; {up} would be"
        )


def _known_grasps(wanted: list[str]) -> list[str]:
    exact = {name.lower(): name for name in GRASP_NAMES}
    for name in wanted:
        if name.lower() not in exact:
            near = difflib.get_close_matches(name.lower(), exact, n=1)
            hint = f"did you mean {exact[near[0]]}? " if near else ""
            raise UsageProblem(f"--grasp {name} is unknown; {hint}There are {', '.join(GRASP_NAMES)}")
    # In the catalogue's order and once each, so that the same choice is the same set.
    chosen = {exact[name.lower()] for name in wanted}
    return [name for name in GRASP_NAMES if name in chosen]


def check_backgrounds(config: "SynthConfig") -> tuple[str | None, list[Dropped]]:
    """A digest of the user's own backgrounds (None: there are none), and the files that are not usable.

    Raises:
        InputProblem: no usable picture.
    """
    if config.backgrounds is None:
        return None, []
    return check_pictures(config.backgrounds)


def whole(value: int | None) -> int:
    """An option that :func:`settle` has filled in."""
    assert value is not None
    return value
