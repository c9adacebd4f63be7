"""Options of ``simhand mine``."""

from typing import Literal

from simhand_cli.config.base import CommandConfig, option

#: Up to this many crops, exact search takes seconds, so that nothing is gained by approximating.
EXACT_ROWS = 20_000


class MineConfig(CommandConfig):
    """Options of ``simhand mine``."""

    topk: int = option(1, "Similar hands kept for every hand", short="-k", ge=1, le=10_000)
    pca_dim: int = option(14, "Dimensions of the pose embedding", ge=1, le=42)
    min_confidence: float = option(0.0, "Leave out crops whose keypoints are less certain, 0 to 1", ge=0, le=1)
    search: Literal["auto", "exact", "hnsw"] = option(
        "auto", f"Exact, approximate, or exact up to {EXACT_ROWS:,} crops and approximate above"
    )
    hnsw_m: int = option(16, "Links of a node of the approximate index", ge=2, le=128)
    hnsw_ef_construction: int = option(200, "Candidates looked at when the index is built", ge=8, le=5000)
    hnsw_ef: int = option(64, "Candidates looked at in a search, at least", ge=1, le=10_000)
    recall_rows: int = option(1000, "Hands on which the approximate search is checked against exact search", ge=1)
    sheet_queries: int = option(10, "Hands shown with their similar hands on the contact sheet", ge=1, le=200)
    seed: int = option(0, "Seed of the index, the recall sample and the contact sheet", ge=0, le=10**9)
    threads: int = option(0, "Threads of the approximate search; 0 means one per core", ge=0)

    @classmethod
    def not_identity(cls) -> frozenset[str]:
        """Threads change the time alone."""
        return frozenset({"threads"})
