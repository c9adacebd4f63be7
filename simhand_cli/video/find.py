"""Finding videos and image folders below the paths a user names."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from simhand_cli.video.images import IMAGE_SUFFIXES, image_files
from simhand_cli.video.probe import VIDEO_SUFFIXES


@dataclass(frozen=True)
class Source:
    """A candidate: a video file or a folder of images.

    Attributes:
        path: absolute.
        kind: ``video`` or ``images``.
        fingerprint: sizes and modification times; unchanged means the content need not be read again.
        size_bytes: of all its files.
    """

    path: Path
    kind: str
    fingerprint: str
    size_bytes: int


@dataclass
class Found:
    """What lies below the named paths."""

    sources: list[Source]
    unusable: list[tuple[Path, str]]
    ignored_files: int = 0


def find_sources(paths: list[Path]) -> Found:
    """Look for videos and image folders, each path once, in sorted order.

    A file named by the user is tried whatever its name; below a folder, files are tried by their suffix (any case) and
    all others counted as ignored. A folder whose images have no video beside them is one sequence.
    """
    found = Found([], [])
    seen: set[Path] = set()
    for path in paths:
        resolved = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would replace the name the user knows)
        if not resolved.exists():
            found.unusable.append((resolved, "there is no such file or folder"))
        elif resolved.is_dir():
            _walk(resolved, found, seen)
        else:
            _add_file(resolved, found, seen)
    found.sources.sort(key=lambda source: str(source.path))
    return found


def _walk(top: Path, found: Found, seen: set[Path]) -> None:
    visited: set[str] = set()
    # Links are followed: large collections are often put together from links to other disks.
    for folder, subfolders, names in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # a link back up would never end
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        videos = [f for f in files if f.suffix.lower() in VIDEO_SUFFIXES]
        images = [f for f in files if f.suffix.lower() in IMAGE_SUFFIXES]
        for video in videos:
            _add_file(video, found, seen)
        # Pictures beside videos are mostly thumbnails of theirs.
        if images and not videos:
            _add_images(Path(folder), found, seen)
        found.ignored_files += len(files) - len(videos) - (0 if videos else len(images))


def _add_file(path: Path, found: Found, seen: set[Path]) -> None:
    if path in seen:
        return
    seen.add(path)
    try:
        status = path.stat()
    except OSError as error:
        found.unusable.append((path, error.strerror or "cannot be read"))
        return
    if not stat.S_ISREG(status.st_mode):
        found.unusable.append((path, "not a regular file (a pipe, socket or device)"))
        return
    found.sources.append(Source(path, "video", f"{status.st_size}:{status.st_mtime_ns}", status.st_size))


def _add_images(folder: Path, found: Found, seen: set[Path]) -> None:
    if folder in seen:
        return
    seen.add(folder)
    stats = [(file.name, file.stat()) for file in image_files(folder)]
    if stats:
        # Of the files, not the folder: overwriting one leaves the folder's time as it was.
        newest = max(status.st_mtime_ns for _, status in stats)
        size = sum(status.st_size for _, status in stats)
        found.sources.append(Source(folder, "images", f"{len(stats)}:{size}:{newest}", size))
