"""Options of ``simhand doctor``."""

from simhand_cli.config.base import CommandConfig, option


class DoctorConfig(CommandConfig):
    """Options of ``simhand doctor``."""

    verify: bool = option(False, "Also compare every shard of the workspace with its recorded sha256", common=True)
