"""What a probe needs before it measures: the encoders, and the two sides of the labelled set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.features.frozen_encoder import unique_titles
from simhand_cli.features.sides import (
    ProbeSide,
    check_sides,
    common_groups,
    open_side,
)
from simhand_cli.labelled.open import newest_own_set
from simhand_cli.models.encoder_source import UNTRAINED, EncoderSource, find_encoder
from simhand_cli.probes.config import ProbeConfig
from simhand_cli.probes.linear.probe import LinearRows, choose_linear_rows
from simhand_cli.summary import Dropped
from simhand_cli.workspace.paths import Workspace

PROBE_SCHEMA, PROBE_VERSION = "simhand.probe", 2


@dataclass(frozen=True)
class ProbeRun:
    """A prepared probe.

    Attributes:
        config: its options.
        path: of the labelled set.
        sources: the encoders, untrained ones included.
        titles: their names, all different.
        test: what is asked about.
        gallery: what answers come from: retrieval's candidates and the linear probe's training samples.
        no_linear: why there will be no linear probe; empty if there will be one.
        folder: ``runs/probe-<name>``.
        identity: all that determines the result.
    """

    config: ProbeConfig
    path: Path
    sources: list[EncoderSource]
    titles: list[str]
    test: ProbeSide
    gallery: ProbeSide
    no_linear: str
    folder: Path
    identity: dict[str, Any]

    @property
    def dropped(self) -> list[Dropped]:
        """Samples left out because of their labels."""
        return [*self.test.dropped, *self.gallery.dropped]


def prepare(config: ProbeConfig, console: Console) -> ProbeRun:
    """Find the encoders and open the set; nothing is written.

    Args:
        config: the options.
        console: told which set is looked at, since large ones take a while.

    Raises:
        EnvironmentProblem: an encoder file that is not there.
        InputProblem: no finished pre-training run, an unusable set, or one without different people.
    """
    workspace = Workspace(config.workspace)
    sources = find_encoders(config, workspace)
    path = config.data or newest_own_set(workspace)
    console.say(f"opening {path} and checking its labels")
    test = open_side(path, config.split, config.limit, config.seed)
    gallery = open_side(path, config.gallery_split, config.gallery_limit, config.seed)
    check_sides(test, gallery, path)
    groups = common_groups(test.who(), gallery.who())
    linear = linear_rows(config, gallery, gallery.indices, gallery.joint_valid, groups)
    identity = {
        **config.identity(),
        "probe_version": PROBE_VERSION,
        "encoders": [[source.backbone, source.sha256 or "random"] for source in sources],
        "labels_sha256": [test.digest, gallery.digest],
    }
    folder = workspace.run_dir("probe", config.name or _default_name(config, sources))
    no_linear = linear if isinstance(linear, str) else ""
    return ProbeRun(config, path, sources, unique_titles(sources), test, gallery, no_linear, folder, identity)


def linear_rows(
    config: ProbeConfig,
    gallery: ProbeSide,
    indices: NDArray[np.int64],
    joint_valid: NDArray[np.bool_],
    groups: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> LinearRows | str:
    """What of the gallery the linear probe is fitted on, or why there is none; groups as for retrieval."""
    # Whoever is tested is not fitted on.
    tested = np.isin(groups[1], groups[0])
    return choose_linear_rows(gallery.labelled, indices, joint_valid, tested, config.val_fraction, config.seed)


def find_encoders(config: ProbeConfig, workspace: Workspace) -> list[EncoderSource]:
    """The encoders of ``--encoder`` in that order, then an untrained one of every architecture unless one was named."""
    trained = [
        None if choice in UNTRAINED else find_encoder(choice, workspace, config.backbone, config.encoder_weights)
        for choice in config.encoder
    ]
    backbones = list(dict.fromkeys(source.backbone for source in trained if source is not None))
    first = config.backbone or (backbones[0] if backbones else None)
    # Untrained, but of the trained ones' architecture, or the comparison would be of two things.
    sources = [source or find_encoder("random", workspace, first) for source in trained]
    # A floor for every architecture: random features already know silhouettes.
    if config.untrained and None not in trained:
        sources += [find_encoder("random", workspace, backbone) for backbone in backbones]
    return sources


def _default_name(config: ProbeConfig, sources: Sequence[EncoderSource]) -> str:
    others = f"-and-{len(config.encoder) - 1}" if len(config.encoder) > 1 else ""
    on = f"-{config.data.resolve().name[:40]}" if config.data else ""
    return f"{sources[0].run_name}{others}{on}"
