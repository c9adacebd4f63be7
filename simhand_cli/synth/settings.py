"""A synthetic set's settings: what a person said, turned once into what will be made, with nothing left open."""

import difflib
from typing import Final

from simhand_cli.errors import UsageProblem
from simhand_cli.synth.config import SynthConfig
from simhand_cli.synth.hand.grasps import GRASP_NAMES

#: Defaults that depend on the format.
_COUNT: Final = {"labelled": 1000, "videos": 16, "freihand": 1000, "hanco": 16}
_FRAMES: Final = {"labelled": 1, "videos": 75, "freihand": 1, "hanco": 10}
_CAMERAS: Final = {"labelled": 1, "videos": 1, "freihand": 1, "hanco": 8}
_ALL: Final = ("view", "grasp", "things", "second_hand", "seed")
_SET: Final = (*_ALL, "count", "subjects", "test_fraction", "image_px")
#: The options that determine a set of each format; others are refused. More videos may be added to a folder later.
RELEVANT: Final[dict[str, tuple[str, ...]]] = {
    "labelled": (*_SET, "cameras", "frames", "fps", "backdrop", "vertices", "depth"),
    "videos": (*_ALL, "frames", "fps", "frame_width", "frame_height", "backdrop"),
    "freihand": _SET,
    "hanco": (*_SET, "cameras", "frames", "fps"),
}
#: Options of every format that say where and how, or are recorded otherwise.
_ANY: Final = frozenset({"out", "format", "count", "backgrounds", "workers", "workspace", "redo", "dry_run"})
#: A shard holds whole sequences; longer ones would not fit in a worker's memory.
MAX_SEQUENCE: Final = 4096


class SynthSettings(SynthConfig):
    """The options of a set with those filled that follow from its format; made by :func:`settle` alone.

    What may still be None has no value by choice: a folder other than the workspace's, pictures of one's own.
    """

    count: int
    frames: int
    cameras: int

    @property
    def grasps(self) -> tuple[str, ...]:
        """The named grasps to draw from: all where none was asked for."""
        # A property, not a filled field: the recipe of sets made before says [] for all, and must go on matching.
        return tuple(self.grasp) or GRASP_NAMES


def settle(config: SynthConfig) -> SynthSettings:
    """Fill what the user left open by the format's defaults, and bring the grasps into the catalogue's order.

    Raises:
        UsageProblem: an unknown grasp, an option the format has no use for, options that exclude each other, or a
            count that is no whole number of sequences.
    """
    kind = config.format
    _refuse_useless(config)
    if config.backgrounds is not None and config.backdrop in ("panorama", "clutter", "plain"):
        raise UsageProblem(f"--backgrounds is not used with --backdrop {config.backdrop}; leave one of them out")
    filled = {
        "count": config.count or _COUNT[kind],
        "frames": config.frames or _FRAMES[kind],
        "cameras": config.cameras or _CAMERAS[kind],
        "grasp": _known_grasps(config.grasp),
    }
    # Every field was validated as the user's option; the filled ones come from the tables above.
    settings = SynthSettings.model_construct(**{**dict(config), **filled})
    if kind in ("labelled", "hanco"):
        _check_sequence(settings)
    return settings


def _refuse_useless(config: SynthConfig) -> None:
    fields = type(config).model_fields
    for name in sorted(config.model_fields_set - _ANY - set(RELEVANT[config.format])):
        if getattr(config, name) != fields[name].default:
            flag = name.replace("_", "-")
            useful = ", ".join(kind for kind, names in RELEVANT.items() if name in names)
            raise UsageProblem(
                f"--{flag} does nothing with --format {config.format} (only with {useful}); leave it out"
            )


def _check_sequence(settings: SynthSettings) -> None:
    count, frames, cameras = settings.count, settings.frames, settings.cameras
    each = frames * cameras
    if each > MAX_SEQUENCE:
        raise UsageProblem(
            f"--frames {frames} x --cameras {cameras} = {each} pictures a sequence, above {MAX_SEQUENCE}"
        )
    if settings.format == "labelled" and count % each:
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
