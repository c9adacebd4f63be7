"""The options of commands that train, which mean the same in each of them."""

from typing import Final, Literal

from simhand_cli.config.base import CommandConfig, option

#: Headings of --help-all that several commands have.
OPTIMISATION: Final = "Optimisation"
RUN: Final = "Run and log"
MACHINES: Final = "Machines and speed"


class TrainingConfig(CommandConfig):
    """What every training command understands beside its own options.

    A command that has another default or more to say of an option has the field again, with the same type.
    """

    name: str | None = option(None, "Name of the run", short="-n", common=True)
    epochs: int = option(100, "Passes over the training data", ge=1, common=True)
    max_steps: int | None = option(
        None, "End after so many steps, however many epochs were asked for", ge=1, panel=OPTIMISATION
    )
    batch_size: int = option(128, "Samples of an optimiser step, over all GPUs together", ge=1, common=True)
    micro_batch: int | None = option(
        None,
        "Samples that each GPU computes at once, for large batches in little memory; the gradient is the whole "
        "batch's, but for batch norm, which sees parts",
        ge=1,
        panel=OPTIMISATION,
    )
    grad_clip: float | None = option(
        None,
        "Largest norm of the gradient; longer ones are shortened (default: no limit)",
        gt=0,
        none_was=0.0,
        panel=OPTIMISATION,
    )
    ema: float = option(
        0.0,
        "Decay of a moving average of the weights, which is then what is kept; 0 = none",
        ge=0,
        lt=1,
        panel=OPTIMISATION,
    )
    sync_bn: bool | None = option(
        None,
        "Batch-norm statistics over all GPUs, so that their number does not change the result (default: yes, unless "
        "the recipe says otherwise)",
        panel=OPTIMISATION,
    )
    seed: int = option(0, "Seed of all random choices", ge=0, common=True)
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = option(
        "auto",
        "Number format; auto: bf16 where the GPU has it, or where it is measured to be faster on the CPU; else fp32",
        panel=MACHINES,
    )
    compile: bool = option(
        False,
        "Let torch.compile speed up one process's network; the first step then takes a minute or more",
        panel=MACHINES,
    )
    workers: int | None = option(
        None, "Loader processes per GPU (default: by the machine's cores)", ge=0, panel=MACHINES
    )
    checkpoint_every: int | None = option(
        None,
        "Steps between checkpoints; one is written every ten minutes in any case (default: as often as takes 1 % of "
        "the time)",
        ge=1,
        replaces=("checkpoint_every_s",),
        panel=RUN,
    )
    log_every: int | None = option(
        None,
        "Steps between lines of metrics (default: pretrain about 5,000 lines a run, finetune one an epoch)",
        ge=1,
        panel=RUN,
    )
    log: list[Literal["tensorboard", "wandb"]] = option(
        [],
        "Write metrics for TensorBoard or Weights & Biases as well; repeatable, needs the extra of that name",
        panel=RUN,
    )
    gpus: int | None = option(None, "GPUs of this machine to use, 0 = CPU (default: all)", ge=0, common=True)
    cpu_ranks: int = option(
        1, "CPU processes when no GPU is used; for tests of the distributed run", ge=1, panel=MACHINES
    )
    nnodes: int = option(
        1, "Machines that train together; the same command is run on each of them", ge=1, panel=MACHINES
    )
    rdzv_endpoint: str | None = option(None, "HOST:PORT where those machines meet; HOST is one of them", panel=MACHINES)
    max_restarts: int = option(
        3,
        "How often all processes start again from the newest checkpoint after one was killed",
        ge=0,
        panel=MACHINES,
    )

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Where it runs does not change what is learned."""
        where = {"gpus", "cpu_ranks", "nnodes", "rdzv_endpoint", "max_restarts", "workers", "compile"}
        return frozenset({"name", "checkpoint_every", "log_every", "log"} | where)
