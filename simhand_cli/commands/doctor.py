"""Check this machine: versions, GPU, model file, codecs, display, disk."""

from simhand_cli.console import Console
from simhand_cli.health.config import DoctorConfig
from simhand_cli.summary import Dropped, Summary

EXAMPLES = ("simhand doctor", "simhand doctor --json", "simhand doctor --verify")


def doctor(config: DoctorConfig, console: Console | None = None) -> Summary:  # noqa: ARG001 (one signature for all)
    """Look at everything simhand needs; each check survives the others' failure, so a broken install can be reported.

    Returns:
        a summary whose facts can be pasted into a bug report; missing pieces count as problems.
    """
    from simhand_cli.health.checks import all_checks
    from simhand_cli.health.shards import check_shards

    checks = all_checks(config.workspace)
    if config.verify:
        checks.append(check_shards(config.workspace))
    failed = [check for check in checks if not check.ok]
    return Summary(
        "doctor",
        facts={check.name: check.finding if check.ok else f"PROBLEM: {check.finding}" for check in checks},
        dropped=[Dropped(check.name, 1, check.finding, check.remedy) for check in failed],
        problems=len(failed),
        hint="" if failed else "simhand quickstart",
    )
