"""The catalog: one SQLite file that knows every video, every stage and every reason something was skipped.

It holds no wall-clock times, so that two runs over the same input end in the same catalog.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import EnvironmentProblem, InputProblem

SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    path TEXT PRIMARY KEY,          -- absolute
    fingerprint TEXT NOT NULL,      -- sizes and modification times: unchanged means not read again
    status TEXT NOT NULL,           -- ok | duplicate | skipped
    video_id TEXT,
    reason TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS videos (
    video_id TEXT PRIMARY KEY,      -- from the content hash
    sha256 TEXT NOT NULL,
    kind TEXT NOT NULL,             -- video | images
    path TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL,   -- upright, after rotation
    rotation INTEGER NOT NULL,      -- degrees counter-clockwise that the metadata asks for
    declared_frames INTEGER NOT NULL, decodable_frames INTEGER NOT NULL,
    duration_s REAL NOT NULL, native_fps REAL NOT NULL, codec TEXT NOT NULL,
    frame_index BLOB NOT NULL, timestamp_s BLOB NOT NULL,  -- sampled frames: int64, float64 little-endian
    note TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stages (
    video_id TEXT NOT NULL, stage TEXT NOT NULL,
    status TEXT NOT NULL,           -- done | skipped (nothing to be found in it) | failed (tried again)
    sha256 TEXT NOT NULL DEFAULT '', bytes INTEGER NOT NULL DEFAULT 0,
    counts TEXT NOT NULL DEFAULT '{}', reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (video_id, stage)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class VideoRecord:
    """One video (or folder of images) as ingest found it.

    Attributes:
        video_id: 16 hex digits of the content hash.
        width, height: upright pixels (for images: of the first one).
        frame_index: (S,) int64 decode order of the sampled frames; for images, the index in sorted order.
        timestamp_s: (S,) float64 seconds from the first frame.
    """

    video_id: str
    sha256: str
    kind: str
    path: str
    width: int
    height: int
    rotation: int
    declared_frames: int
    decodable_frames: int
    duration_s: float
    native_fps: float
    codec: str
    frame_index: NDArray[np.int64]
    timestamp_s: NDArray[np.float64]
    note: str = ""


@dataclass(frozen=True)
class StageRecord:
    """What a stage did with one video."""

    video_id: str
    status: str
    sha256: str = ""
    bytes: int = 0
    counts: dict[str, int] | None = None
    reason: str = ""


class Catalog:
    """The open catalog; use as a context manager. Every method is one transaction."""

    def __init__(self, path: Path) -> None:
        """Open or create the catalog.

        Raises:
            InputProblem: not a catalog, or one of another version.
            EnvironmentProblem: the file cannot be opened or written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
            # Readers do not wait for the writer.
            self._db.execute("PRAGMA journal_mode=WAL")
            # A video that counts as done must still be done after a power cut.
            self._db.execute("PRAGMA synchronous=FULL")
            with self._transaction():
                for statement in _TABLES.split(";\n"):
                    self._db.execute(statement)
                self._db.execute("INSERT OR IGNORE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise EnvironmentProblem(f"{path} cannot be opened: {error}") from error
            raise InputProblem(f"{path} is not a simhand catalog: {error}") from error
        found = self.get_meta("schema_version")
        if found != str(SCHEMA_VERSION):
            self.close()
            raise InputProblem(f"{path} has schema version {found}; this simhand reads {SCHEMA_VERSION}")

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # The write lock at once: a transaction that reads first could fail halfway.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # -- small values ------------------------------------------------------------------------------------------
    def get_meta(self, key: str) -> str | None:
        """A stored text, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Store a text."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # -- sources -----------------------------------------------------------------------------------------------
    def source(self, path: str) -> tuple[str, str, str | None, str] | None:
        """(fingerprint, status, video_id, reason) of a path seen before, or None."""
        row = self._db.execute(
            "SELECT fingerprint, status, video_id, reason FROM sources WHERE path = ?", (path,)
        ).fetchone()
        return None if row is None else (str(row[0]), str(row[1]), row[2], str(row[3]))

    def skip_source(self, path: str, fingerprint: str, reason: str) -> None:
        """Record a path that cannot be used, with its reason."""
        with self._transaction():
            self._put_source(path, fingerprint, "skipped", None, reason)

    def add_video(self, path: str, fingerprint: str, video: VideoRecord) -> bool:
        """Record a video; returns False if its content is known under another path (then a duplicate is noted)."""
        with self._transaction():
            self._forget_old_content(path, video.video_id)
            row = self._db.execute("SELECT path FROM videos WHERE video_id = ?", (video.video_id,)).fetchone()
            if row is not None and row[0] != path and Path(row[0]).exists():
                self._put_source(path, fingerprint, "duplicate", video.video_id, f"same content as {row[0]}")
                return False
            values = (
                video.video_id, video.sha256, video.kind, video.path, video.width, video.height, video.rotation,
                video.declared_frames, video.decodable_frames, video.duration_s, video.native_fps, video.codec,
                video.frame_index.astype("<i8").tobytes(), video.timestamp_s.astype("<f8").tobytes(), video.note,
            )  # fmt: skip
            marks = ",".join("?" * len(values))
            self._db.execute(f"INSERT OR REPLACE INTO videos VALUES ({marks})", values)  # noqa: S608 (only "?")
            self._put_source(path, fingerprint, "ok", video.video_id, video.note)
            if row is not None and row[0] != path:  # the file was renamed or moved
                self._db.execute("DELETE FROM sources WHERE path = ?", (row[0],))
            return True

    def _forget_old_content(self, path: str, video_id: str) -> None:
        """A file whose content changed is another video; the one it used to hold lives on only in a copy."""
        old = self._db.execute("SELECT video_id FROM videos WHERE path = ? AND video_id <> ?", (path, video_id))
        for (old_id,) in old.fetchall():
            copies = self._db.execute(
                "SELECT path FROM sources WHERE video_id = ? AND status = 'duplicate' ORDER BY path", (old_id,)
            )
            # In the order of paths, so that every run chooses the same copy.
            heir = next((copy for (copy,) in copies.fetchall() if Path(copy).exists()), None)
            if heir is not None:
                self._db.execute("UPDATE videos SET path = ? WHERE video_id = ?", (heir, old_id))
                self._db.execute("UPDATE sources SET status = 'ok', reason = '' WHERE path = ?", (heir,))
                continue
            self._db.execute("DELETE FROM videos WHERE video_id = ?", (old_id,))
            self._db.execute("DELETE FROM stages WHERE video_id = ?", (old_id,))

    def _put_source(self, path: str, fingerprint: str, status: str, video_id: str | None, reason: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?)",
            (path, fingerprint, status, video_id, reason),
        )

    def sources(self, status: str) -> list[tuple[str, str]]:
        """(path, reason) of every source with a status, sorted by path."""
        rows = self._db.execute("SELECT path, reason FROM sources WHERE status = ? ORDER BY path", (status,))
        return [(str(path), str(reason)) for path, reason in rows]

    # -- videos ------------------------------------------------------------------------------------------------
    def videos(self) -> Iterator[VideoRecord]:
        """Every video, by id; one at a time, so that millions of sampled frames are never all in memory."""
        with closing(self._db.cursor()) as cursor:
            for row in cursor.execute("SELECT * FROM videos ORDER BY video_id"):
                frames, times = np.frombuffer(row[12], "<i8"), np.frombuffer(row[13], "<f8")
                yield VideoRecord(*(*row[:12], frames, times, row[14]))

    def video_count(self) -> int:
        """Number of videos."""
        return int(self._db.execute("SELECT count(*) FROM videos").fetchone()[0])

    def clear_all(self) -> None:
        """Forget every source, video and stage (``ingest --redo``)."""
        with self._transaction():
            for table in ("sources", "videos", "stages"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 (constant names)
            self._db.execute("DELETE FROM meta WHERE key LIKE 'config:%'")

    # -- stages ------------------------------------------------------------------------------------------------
    def stage(self, stage: str) -> dict[str, StageRecord]:
        """Video id -> what the stage did with it."""
        rows = self._db.execute(
            "SELECT video_id, status, sha256, bytes, counts, reason FROM stages WHERE stage = ? ORDER BY video_id",
            (stage,),
        )
        return {r[0]: StageRecord(r[0], r[1], r[2], r[3], json.loads(r[4]), r[5]) for r in rows}

    def record_stage(self, stage: str, record: StageRecord) -> None:
        """Record what a stage did with one video."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    record.video_id, stage, record.status, record.sha256, record.bytes,
                    json.dumps(record.counts or {}, sort_keys=True), record.reason,
                ),
            )  # fmt: skip

    def clear_stage(self, *stages: str) -> None:
        """Forget the results of stages (before doing them over)."""
        with self._transaction():
            for stage in stages:
                self._db.execute("DELETE FROM stages WHERE stage = ?", (stage,))
                self._db.execute("DELETE FROM meta WHERE key = ?", (f"config:{stage}",))

    def stage_config(self, stage: str) -> dict[str, Any] | None:
        """The options a stage was first run with, or None."""
        text = self.get_meta(f"config:{stage}")
        return None if text is None else dict(json.loads(text))

    def set_stage_config(self, stage: str, options: dict[str, Any]) -> None:
        """Remember the options that determine a stage's results."""
        self.set_meta(f"config:{stage}", json.dumps(options, sort_keys=True))
