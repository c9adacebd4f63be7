"""What makes two pre-training runs the same run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from simhand_cli.errors import InputProblem
from simhand_cli.mining.manifest import read_manifest
from simhand_cli.models.encoder import weight_file
from simhand_cli.pretrain.plan import Plan
from simhand_cli.pretrain.resolved import resolved
from simhand_cli.workspace.atomic import sha256_file
from simhand_cli.workspace.crop_set import crop_set_fingerprint
from simhand_cli.workspace.paths import Workspace

if TYPE_CHECKING:
    from simhand_cli.commands.pretrain import PretrainConfig


def run_identity(config: "PretrainConfig", workspace: Workspace, plan: Plan, processes: int) -> dict[str, Any]:
    """All that determines the weights: options, the mined pairs, the initial weights.

    Options that were left open are in it as method and recipe fill them, so that a run is not continued by a version
    of simhand whose recipe says something else.

    The number of processes is part of it only where they do not act as one: with negatives of the own rank only,
    batch statistics that are not synchronised, or statistics of parts of a batch, which are of as many pairs as all
    processes compute at once.

    Raises:
        InputProblem: ``--init`` names a file that is not there, or the pairs are not those of today's crops.
    """
    _check_mined(workspace)
    filled = resolved(config)
    identity: dict[str, Any] = {**filled.identity(), "batch_size": plan.batch_size}
    identity["mined"] = {name: sha256_file(workspace.mining_dir / name) for name in ("embeddings.h5", "pairs.h5")}
    if config.init != "random":
        file = weight_file(Path(config.init))
        if not file.is_file():
            raise InputProblem(f"--init {config.init} is not there; give a run's folder, a weight file or 'random'")
        identity["init"] = sha256_file(file)
    in_parts = plan.part_pairs * processes < plan.batch_size
    if filled.loss.negatives == "rank" or not filled.sync_bn or in_parts:
        identity["processes"] = processes
    return identity


def _check_mined(workspace: Workspace) -> None:
    """Refuse pairs that point at crops that are no longer there: rows of another detection show other hands."""
    manifest = read_manifest(workspace.mining_dir)
    if manifest is None:
        raise InputProblem(f"mining in {workspace.root} was not finished: run 'simhand mine' again")
    if manifest.get("inputs") != crop_set_fingerprint(workspace):
        raise InputProblem("the crops changed since 'simhand mine' ran; run 'simhand mine' again")
