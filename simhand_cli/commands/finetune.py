"""Train the 3D hand model on labelled hands, starting from a pre-trained encoder."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simhand_cli.console import Console, format_bytes, format_duration
from simhand_cli.summary import Dropped, Summary, refuse_dropped

if TYPE_CHECKING:
    from simhand_cli.finetune.training_data import TrainingData
    from simhand_cli.models.encoder_source import EncoderSource
    from simhand_cli.training.processes.failures import ProblemBoard
    from simhand_cli.training.processes.world import World
from simhand_cli.finetune.config import FinetuneConfig

EXAMPLES = (
    "simhand finetune",
    "simhand finetune --data FreiHAND_pub_v2 --label-fraction 0.1 --name freihand-10",
    "simhand finetune --weak-2d --ema 0.999 --name weak",
    "simhand finetune --encoder none --backbone resnet18 --epochs 20 --batch-size 64 --dry-run",
)

#: Trial steps for --dry-run's estimate of time.
_TRIAL_SAMPLES = 16


def finetune(config: FinetuneConfig, console: Console | None = None) -> Summary:
    """Train DetNet and keep the epoch that is best on people it has not seen.

    Returns:
        counts, errors of the kept epoch on the validation samples, and the run's files.

    Raises:
        EnvironmentProblem: an encoder file or GPU that is not there.
        InputProblem: unusable labels or weights.
        UsageProblem: the run's folder holds a run with other options.
    """
    from simhand_cli.training.processes.launch import run_in_world

    return run_in_world(config, console, partial(_finetune, config))


def _finetune(config: FinetuneConfig, console: Console, world: "World", board: "ProblemBoard | None") -> Summary:
    from simhand_cli.finetune.run import FinetuneJob, train
    from simhand_cli.finetune.settings import run_identity, settle
    from simhand_cli.finetune.training_data import choose_samples
    from simhand_cli.finetune.weak_2d import WeakCrops
    from simhand_cli.labelled.open import newest_own_set, refuse_repeated
    from simhand_cli.models.encoder_source import find_encoder
    from simhand_cli.training.log.trackers import check_trackers
    from simhand_cli.training.processes.launch import launch
    from simhand_cli.training.step.compile import refuse_several
    from simhand_cli.workspace.paths import Workspace

    check_trackers(config.log)
    if config.compile:
        refuse_several(world.size, joined=board is not None)
    workspace = Workspace(config.workspace)
    source = find_encoder(config.encoder, workspace, config.backbone, config.encoder_weights)
    refuse_repeated(config.data)
    paths = config.data or [newest_own_set(workspace)]
    data = choose_samples(
        paths,
        split=config.split,
        val_fraction=config.val_fraction,
        label_fraction=config.label_fraction,
        fraction_rule=config.fraction_rule,
        mix=config.mix,
        seed=config.seed,
        loss=config.loss,
    )
    if config.weak_2d:
        data = data.with_weak(WeakCrops(workspace), config.weak_share)
    settings = settle(config, source)
    identity = run_identity(config, settings, data, source, world.size)
    path = workspace.run_dir("finetune", settings.name)
    if config.dry_run:
        return _dry_run(config, data, source, path, identity, world)
    validation = "; ".join(data.validation)
    refuse_dropped(data.dropped, config.strict)
    console.say(f"encoder {source.described}; {data.labelled} labelled samples; validation on {validation}")
    if data.dropped:
        count, first = sum(one.count for one in data.dropped), data.dropped[0]
        console.warn(
            f"{count} samples are left out; {first.count} of them: {first.why} ('simhand data check' shows them)"
        )
    job = FinetuneJob(config, path, identity, data, source, _workers(config.workers, world), console.quiet)
    result = launch(train, job, world, name=path.name, board=board, console=console)
    if result.pop("skipped", False):
        console.say(f"{path} is finished already; --redo does it over, --name starts another")
    return _summary(data, paths, source, path, result)


def _workers(asked: int | None, world: "World") -> int:
    """Loader processes per rank: on a CPU one is enough, since the model is far slower than the loader."""
    from simhand_cli.training.processes.world import own_cores

    if asked is not None:
        return asked
    return min(8, own_cores(world.processes)) if world.use_gpu else 1


def _counts(data: "TrainingData") -> dict[str, int | float | str]:
    weak = len(data.train) - data.labelled
    flat = {"of them with 2D labels only": data.labelled_2d} if data.labelled_2d else {}
    return {"training samples": data.labelled, **flat, **({"unlabelled crops": weak} if weak else {})}


def _dry_run(
    config: FinetuneConfig,
    data: "TrainingData",
    source: "EncoderSource",
    path: Path,
    identity: dict[str, Any],
    world: "World",
) -> Summary:
    import time

    from simhand_cli.finetune.step import TrialStep, build_net, network_kind
    from simhand_cli.stages.run_folder import peek_run
    from simhand_cli.training.processes.group import memory_problems
    from simhand_cli.training.processes.ranks import Ranks
    from simhand_cli.training.step.precision import choose_precision, usual_precision

    net, _ = build_net(source, config)
    ranks = Ranks(device="cuda:0" if world.use_gpu else "cpu")
    with memory_problems():
        trial = TrialStep(net, ranks.device, _TRIAL_SAMPLES, config)
        precision = choose_precision(
            config.precision, ranks, trial, usual=usual_precision(path.parent, network_kind(net, config))
        )
        trial(precision)
        start = time.perf_counter()
        trial(precision)
        per_crop = (time.perf_counter() - start) / _TRIAL_SAMPLES / (world.size if world.use_gpu else 1)
    # A validation crop has no backward pass: about a third of the work.
    crops = config.epochs * (sum(data.quotas) + len(data.val) / 3)
    weights = sum(p.numel() for p in net.parameters()) * 4
    summary = Summary("finetune", dropped=data.dropped, problems=sum(d.count for d in data.dropped))
    summary.facts = {
        "run": f"{path} ({peek_run(path, identity, redo=config.redo)})",
        "processes": str(world),
        "encoder": source.described,
        **_counts(data),
        "validation": "; ".join(data.validation),
        "epochs": config.epochs,
        "precision": precision.name,
        "time, roughly": format_duration(per_crop * crops),
        # model.safetensors; two checkpoints of weights, best weights and two optimiser moments.
        "disk space": format_bytes(weights * (1 + 2 * 4)),
    }
    return summary


def _summary(
    data: "TrainingData", paths: list[Path], source: "EncoderSource", path: Path, result: dict[str, Any]
) -> Summary:
    broken = [Dropped(message, 1, "cannot be read") for message in result["broken"]]
    summary = Summary("finetune", dropped=[*data.dropped, *broken])
    summary.problems = sum(dropped.count for dropped in summary.dropped)
    summary.facts = {
        "encoder": source.described,
        **_counts(data),
        "validation": "; ".join(data.validation),
        "best epoch": f"{result['best_epoch']} of {result['epochs']}",
    }
    if "precision" in result:
        summary.facts["precision"] = result["precision"]
    # Results of earlier versions have no val_px.
    if (px := result.get("val_px")) is not None:
        summary.facts["validation error of 2D joints, px of the crop"] = round(px, 2)
    if result["val_root_bone_mpjpe_mm"] is not None:
        summary.facts["validation MPJPE, wrist + bone length aligned, mm"] = round(result["val_root_bone_mpjpe_mm"], 2)
    summary.outputs = {"model": path / "model.safetensors", "report": path / "report.html"}
    summary.data = dict(result)
    summary.hint = _next_step(data, paths)
    return summary


def _next_step(data: "TrainingData", paths: list[Path]) -> str:
    """How this model is measured on labels it has not seen, and shown where it has hands in 3D."""
    from simhand_cli.labelled.open import held_out_split, matching_test_split

    demo = "" if data.bone_length_mm is None else "; simhand demo shows it on a video"
    trained = [one.split for one in data.sets[: len(paths)]]
    held_out = [held_out_split(one.name, one.split) for one in data.sets[: len(paths)]]
    unseen = [(path, h) for path, h, t in zip(paths, held_out, trained, strict=True) if h != t]
    if not unseen:
        return f"simhand evaluate --data ANOTHER_SET measures it on people it has not seen{demo}"
    if any(h == matching_test_split(t) != t for h, t in zip(held_out, trained, strict=True)):
        return f"simhand evaluate measures it on test people{demo}"
    path, split = unseen[0]
    return f"simhand evaluate --data {path} --split {split} measures it{demo}"
