"""Which trainings make up the tables, in the order in which they are computed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from scales import TABLES, Scale, Table

from simhand_cli.pretrain.recipe import OPTIMISATION

RANDOM, FROM_SCRATCH = "random weights", "w/o pre-training"
#: The headline figures of the paper are of this variant (fact sheet, section 0.2), so most tables are too.
UNWEIGHTED = "HandCLR = SiMHand - weights"


@dataclass(frozen=True)
class Pretraining:
    """A way of pre-training: its name in files, and options of ``simhand pretrain`` beyond the scale's.

    ``videos``: learn from the first so many only, for as many steps as from all.
    """

    name: str
    options: tuple[object, ...]
    videos: int | None = None


@dataclass(frozen=True)
class Cell:
    """One training of a table: pre-train, fine-tune on a fraction of the labels, evaluate.

    Two tables may hold the same training; it has the same :attr:`name` and is done once. ``random``: fine-tune from
    random weights, not from the scale's initial ones.
    """

    table: Table
    row: str
    column: str
    seed: int
    pretraining: Pretraining | None
    fraction: float
    weak_2d: bool = False
    random: bool = False

    @property
    def start(self) -> str:
        """What fine-tuning starts from, in names of files."""
        if self.pretraining is not None:
            return self.pretraining.name
        return "random" if self.random else "none"

    @property
    def name(self) -> str:
        """Of its fine-tuning run, its evaluation and its result file."""
        return f"{self.start}{'-weak2d' if self.weak_2d else ''}-labels{self.fraction:g}-seed{self.seed}"


#: As the paper has them: in numerator and denominator.
_ON_BOTH = ("--loss.weights", "linear", "--loss.weighted", "both")
SIMCLR = Pretraining("simclr", ("--method", "simclr"))
PECLR = Pretraining("peclr", ("--method", "peclr"))
PECLR_WEIGHTS = Pretraining("peclr-weights", ("--method", "peclr", *_ON_BOTH))
SIMCLR_WEIGHTS = Pretraining("simclr-weights", ("--method", "simclr", *_ON_BOTH))
TEMPCLR = Pretraining("tempclr", ("--method", "tempclr"))
HANDCLR = Pretraining("handclr", ("--method", "handclr"))
SIMHAND = Pretraining("simhand-positives", ("--method", "simhand"))
SIMHAND_BOTH = Pretraining("simhand", ("--method", "simhand", "--loss.weighted", "both"))

#: SiMHand without weights is HandCLR: the same positives, the same T, the same loss.
MAIN: dict[str, Pretraining | None] = {
    FROM_SCRATCH: None,
    "SimCLR": SIMCLR,
    "PeCLR": PECLR,
    "TempCLR": TEMPCLR,
    UNWEIGHTED: HANDCLR,
    "SiMHand (+ weights)": SIMHAND,
}


def cells_of(scale: Scale, tables: tuple[Table, ...], seeds: int) -> list[Cell]:
    """All cells: table by table, and within a table seed by seed, so that what is finished first can be compared."""
    return [cell for table in TABLES if table in tables for seed in range(seeds) for cell in _one(table, scale, seed)]


def _one(table: Table, scale: Scale, seed: int) -> Iterator[Cell]:
    labels = scale.label_fraction
    if table == "main":
        if scale.initial != "random":
            yield Cell(table, RANDOM, "MPJPE", seed, None, labels, random=True)
        for row, how in MAIN.items():
            yield Cell(table, row, "MPJPE", seed, how, labels)
    elif table == "fractions":
        for fraction in sorted({*scale.fractions, labels}):
            for row in (FROM_SCRATCH, "PeCLR", UNWEIGHTED):
                pictures = round(fraction * scale.training_pictures)
                yield Cell(table, row, f"{pictures} labels", seed, MAIN[row], fraction)
    elif table == "weights":
        yield from _weights(labels, seed)
    elif table == "topk":
        yield Cell(table, UNWEIGHTED, "Top-1", seed, HANDCLR, labels)
        for rank in scale.ranks:
            how = Pretraining(f"handclr-top{rank}", (*HANDCLR.options, "--positive-rank", rank))
            yield Cell(table, UNWEIGHTED, f"Top-{rank}", seed, how, labels)
    elif table == "recipes":
        yield from _recipes(scale, seed)
    elif table == "sizes":
        for videos in (*scale.sizes, None):
            for row in ("PeCLR", UNWEIGHTED):
                yield Cell(table, row, f"{videos or scale.videos} videos", seed, _part(MAIN[row], videos), labels)
    elif table == "weak":
        yield Cell(table, FROM_SCRATCH, "3D labels only", seed, None, labels)
        yield Cell(table, FROM_SCRATCH, "and weak 2D labels", seed, None, labels, weak_2d=True)
    elif table == "precision":
        other = "bf16" if scale.precision == "fp32" else "fp32"
        yield Cell(table, UNWEIGHTED, f"pre-trained in {scale.precision}", seed, HANDCLR, labels)
        how = Pretraining(f"handclr-{other}", (*HANDCLR.options, "--precision", other))
        yield Cell(table, UNWEIGHTED, f"in {other}", seed, how, labels)
    else:
        yield from _why(scale, seed)


def _weights(labels: float, seed: int) -> Iterator[Cell]:
    rows = {"SimCLR": (SIMCLR, SIMCLR_WEIGHTS), "PeCLR": (PECLR, PECLR_WEIGHTS), "SiMHand": (HANDCLR, SIMHAND_BOTH)}
    for row, (plain, weighted) in rows.items():
        yield Cell("weights", row, "without weights", seed, plain, labels)
        yield Cell("weights", row, "on both sides, as printed", seed, weighted, labels)
    yield Cell("weights", "SiMHand", "on positives alone", seed, SIMHAND, labels)


def _recipes(scale: Scale, seed: int) -> Iterator[Cell]:
    for row, slug, how in (("PeCLR", "peclr", PECLR), ("SiMHand (+ weights)", "simhand", SIMHAND)):
        yield Cell("recipes", row, "simhand (default)", seed, how, scale.label_fraction)
        for recipe in ("paper", "official"):
            other = Pretraining(f"{slug}-{recipe}", (*how.options, "--recipe", recipe, *_moved_alike(scale)))
            yield Cell("recipes", row, recipe, seed, other, scale.label_fraction)


def _moved_alike(scale: Scale) -> tuple[object, ...]:
    """Options that leave a recipe the loss and T alone: its rate and warm-up are for 100 epochs of 8,192 pairs."""
    how = {**asdict(OPTIMISATION["simhand"]), "warmup_epochs": scale.warmup_epochs}
    synchronised = "--sync-bn" if how.pop("sync_bn") else "--no-sync-bn"
    return (*(word for name, value in how.items() for word in (f"--{name.replace('_', '-')}", value)), synchronised)


def _part(how: Pretraining | None, videos: int | None) -> Pretraining:
    assert how is not None
    return how if videos is None else Pretraining(f"{how.name}-{videos}videos", how.options, videos)


def _why(scale: Scale, seed: int) -> Iterator[Cell]:
    """What could decide between mined positives and PeCLR's: the pairs, the strength of T, the batch."""
    changes: dict[str, tuple[object, ...]] = {
        "as in the main table": (),
        "T: no rotation": ("--set", "views.rotation_deg=[0,0]"),
        "T: weak colours": ("--set", "views.hue=[0.9,1]", "--set", "views.saturation=[0.7,1]"),
        "T: strong": ("--views.grey-probability", 0.3, "--views.blur-probability", 0.3),
        "batch / 4": ("--batch-size", scale.batch // 4),
        "batch x 2": ("--batch-size", scale.batch * 2),
    }  # fmt: skip
    for column, options in changes.items():
        for row, how in (("PeCLR", PECLR), (UNWEIGHTED, HANDCLR)):
            slug = "".join(c if c.isalnum() else "-" for c in column.lower())
            changed = Pretraining(f"{how.name}-{slug}", (*how.options, *options)) if options else how
            yield Cell("why", row, column, seed, changed, scale.label_fraction)
    drawn = Pretraining("handclr-drawn10", (*HANDCLR.options, "--positives", 10))
    yield Cell("why", UNWEIGHTED, "positive drawn of Top-10", seed, drawn, scale.label_fraction)
