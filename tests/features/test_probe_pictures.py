"""Several threads read the same crops and sets: none closes a file that another is reading."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from synthetic_workspace import make_workspace

from simhand_cli.crops import reader as crop_reader
from simhand_cli.features.pictures import ThreadedSet, WorkspacePictures
from simhand_cli.labelled.open import open_labelled


def test_threads_read_what_one_does_though_files_are_opened_and_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_reader, "MAX_OPEN_FILES", 1)
    workspace = make_workspace(tmp_path / "ws", [3, 2, 4, 3])
    alone = WorkspacePictures(workspace, 64)
    rows = np.random.default_rng(0).integers(0, len(alone), 300).tolist()
    together = WorkspacePictures(workspace, 64)
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(together.read, rows))
    for picture, expected in zip(found, map(alone.read, rows), strict=True):
        assert picture.ids == expected.ids
        np.testing.assert_array_equal(picture.image_rgb, expected.image_rgb)


def test_every_thread_has_a_set_of_its_own_with_the_same_labels(people_set):
    labelled = open_labelled(people_set, "test")
    threaded = ThreadedSet(labelled)
    asked = []
    original = type(labelled).__getitem__

    class Watched(type(labelled)):
        def __getitem__(self, index):
            asked.append(self)
            return original(self, index)

    labelled.__class__ = Watched
    threaded[0]
    with ThreadPoolExecutor(1) as other:
        sample = other.submit(threaded.__getitem__, 3).result()
    assert len({id(one) for one in (labelled, *asked)}) == 3
    assert asked[0]._joints is asked[1]._joints
    np.testing.assert_array_equal(sample.joints_mm, labelled.joints()[0][3])
