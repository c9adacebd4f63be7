"""The options of commands that train: on how many processes and machines."""

from simhand_cli.config.base import CommandConfig, option


class TrainingConfig(CommandConfig):
    """What every training command understands beside its own options."""

    gpus: int | None = option(None, "GPUs of this machine to use, 0 = CPU (default: all)", ge=0)
    cpu_ranks: int = option(1, "CPU processes when no GPU is used; for tests of the distributed run", ge=1)
    nnodes: int = option(1, "Machines that train together; the same command is run on each of them", ge=1)
    rdzv_endpoint: str | None = option(None, "HOST:PORT where those machines meet; HOST is one of them")
    max_restarts: int = option(
        3, "How often all processes start again from the newest checkpoint after one was killed", ge=0
    )

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where it runs does not change what is learned."""
        return frozenset(TrainingConfig.model_fields) - frozenset(CommandConfig.model_fields)
