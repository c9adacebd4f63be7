"""Loop, overlay and files: every frame arrives, drawn and in time, and a file is whole or not there."""

import itertools
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from moving_dots import DotPoser, Hit, ScriptedFinder, frames, hand_points, picture

from simhand_cli.console import Ticker
from simhand_cli.demo.loop import run_demo
from simhand_cli.demo.overlay import Look, Painter, fit_into
from simhand_cli.demo.sources import find_source
from simhand_cli.demo.tracker import HandTracker, Stages, TrackedHand
from simhand_cli.demo.video_file import video_file
from simhand_cli.demo.view3d import draw_hand_3d, sway
from simhand_cli.errors import EnvironmentProblem, InputProblem
from simhand_cli.video.decode import Frame, iterate_frames

PATH = [[(100 + 3 * i, 120)] for i in range(20)]


class Scripted:
    """A source of given frames."""

    name, path = "scripted", None

    def __init__(self, given, kind="video"):
        self.given, self.kind = given, kind

    def frames(self):
        return iter(self.given)


def play(source, output, poser=None, max_frames=None, look=None):
    stages = Stages()
    finder = ScriptedFinder(lambda i: [Hit(hand_points(PATH[i % 20][0]))] if i % 20 < 15 else [])
    following = HandTracker(finder, poser, detect_every=3, smooth=False, stages=stages)
    painter = Painter(look or Look("test"))
    return run_demo(source, following, painter, stages=stages, output=output, max_frames=max_frames, ticker=Ticker())


def joint_colours(image):
    """How much of the picture has the skeleton's five finger colours."""
    colours = np.array([(255, 92, 72), (255, 190, 11), (76, 214, 110), (64, 170, 255), (222, 112, 255)], float)
    distance = np.linalg.norm(image.reshape(-1, 1, 3).astype(float) - colours, axis=-1)
    return (distance < 40).any(axis=1).mean()


@pytest.mark.slow
@pytest.mark.parametrize("poser", [None, DotPoser()])
def test_a_video_has_every_frame_at_its_time_and_the_joints_on_it(tmp_path, poser):
    output = tmp_path / "out.mp4"
    run = play(Scripted(list(frames(PATH))), output, poser)
    assert (run.frames, run.with_hand, run.interrupted, run.problem) == (20, 15, False, None)
    decoded = list(iterate_frames(output))
    assert len(decoded) == 20
    np.testing.assert_allclose([f.timestamp_s for f in decoded], np.arange(20) / 30, atol=1e-3)
    # Small pictures are enlarged so that text and joints can be read.
    assert decoded[0].image_rgb.shape == (480, 640, 3)
    assert joint_colours(decoded[3].image_rgb) > 3 * joint_colours(decoded[18].image_rgb) + 0.005
    assert set(run.stages.seconds) == {"read", "detect", "draw", "write"} | ({"model"} if poser else set())
    with av.open(str(output)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_max_frames_stops_early_without_reading_on(tmp_path):
    endless = (Frame(picture([]), i / 30, i) for i in itertools.count())
    run = play(Scripted(endless), tmp_path / "out.mp4", max_frames=7)
    assert run.frames == 7
    assert next(endless).frame_index == 7
    assert len(list(iterate_frames(tmp_path / "out.mp4"))) == 7


def test_a_source_that_fails_midway_keeps_what_was_done(tmp_path):
    def failing():
        yield from itertools.islice(frames(PATH), 5)
        raise EnvironmentProblem("camera 0 stopped giving frames")

    run = play(Scripted(failing()), tmp_path / "out.mp4")
    assert run.frames == 5
    assert "stopped" in str(run.problem)
    assert len(list(iterate_frames(tmp_path / "out.mp4"))) == 5


def test_a_source_without_a_frame_is_an_error_and_writes_nothing(tmp_path):
    with pytest.raises(InputProblem, match="no frame"):
        play(Scripted([]), tmp_path / "out.mp4")

    def failing():
        raise EnvironmentProblem("no camera 0")
        yield

    with pytest.raises(EnvironmentProblem, match="no camera"):
        play(Scripted(failing()), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_other_sizes_are_fitted_and_times_always_increase(tmp_path):
    sizes = [(480, 640), (700, 500), (101, 333)]
    images = [Frame(np.full((*s, 3), 90, np.uint8), 0.0, i) for i, s in enumerate(sizes)]
    play(Scripted(images, kind="images"), tmp_path / "out.mp4")
    decoded = list(iterate_frames(tmp_path / "out.mp4"))
    assert [f.image_rgb.shape for f in decoded] == [(480, 640, 3)] * 3
    assert (np.diff([f.timestamp_s for f in decoded]) > 0).all()


def test_odd_sizes_lose_a_line_not_the_file(tmp_path):
    with video_file(tmp_path / "odd.mp4", (241, 323, 3)) as file:
        for i in range(3):
            file.write(np.full((241, 323, 3), 40 * i, np.uint8), i / 25)
    assert [f.image_rgb.shape for f in iterate_frames(tmp_path / "odd.mp4")] == [(240, 322, 3)] * 3


def test_an_error_while_writing_leaves_no_file(tmp_path):
    def write_and_fail():
        with video_file(tmp_path / "out.mp4", (64, 64, 3)) as file:
            file.write(np.zeros((64, 64, 3), np.uint8), 0.0)
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="fire"):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_the_demo_runs_outside_the_main_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(play(Scripted(list(frames(PATH[:3]))), tmp_path / "o.mp4")))
    thread.start()
    thread.join()
    assert results[0].frames == 3


def hand_at(center, side="right", track=0):
    joints_mm = np.column_stack([hand_points((0, 0), 100), np.linspace(-40, 40, 21)])
    return TrackedHand(track, side, hand_points(center, 160), joints_mm, 0.9)


def paint(hands, look=None, size_wh=(640, 480), **options):
    grey = np.full((size_wh[1], size_wh[0], 3), 120, np.uint8)
    return Painter(look or Look("m", view_3d=False)).draw(grey, hands, fps=None, yaw_rad=0.5), grey


def test_painting_leaves_the_frame_alone_and_mirrors_hands_with_the_picture():
    hand = hand_at((150, 300))
    plain, grey = paint([hand])
    assert (grey == 120).all()
    mirrored, _ = paint([hand], Look("m", view_3d=False, mirror=True))
    changed = (plain != 120).any(axis=2)[120:]
    changed_mirrored = (mirrored != 120).any(axis=2)[120:]
    # Below the text line, the joints are the mirror image (the tag's words are not).
    joints = changed[:260]
    assert (joints == changed_mirrored[:260, ::-1]).mean() > 0.995
    assert joints.mean() > 0.02


def test_text_fits_small_frames_and_the_note_is_shown():
    long = Look(
        "a model with a very long name that cannot fit" * 3, note="no fine-tuned model found: showing MediaPipe"
    )
    for size_wh in ((64, 48), (320, 240), (1920, 1080)):
        shown, _ = paint([], long, size_wh)
        without, _ = paint([], Look(long.model), size_wh)
        assert min(shown.shape[:2]) >= 480
        yellow = (np.abs(shown.astype(int) - (255, 205, 92)).sum(axis=2) < 60).sum()
        assert yellow > 200
        assert (np.abs(without.astype(int) - (255, 205, 92)).sum(axis=2) < 60).sum() == 0


def test_views_move_off_a_hand_they_would_cover_and_stay_there():
    painter = Painter(Look("m"))
    grey = np.full((480, 640, 3), 120, np.uint8)

    def dark_corner(center):
        shown = painter.draw(grey, [hand_at(center)], fps=None, yaw_rad=0.0)
        corners = {"br": shown[-60:-20, -60:-20], "bl": shown[-60:-20, 20:60], "tr": shown[20:60, -60:-20]}
        return {name for name, part in corners.items() if part.mean() < 60}

    assert dark_corner((200, 150)) == {"br"}
    assert dark_corner((540, 400)) == {"bl"}
    # Not straight back, though the hand is gone from the first corner.
    assert dark_corner((200, 150)) == {"bl"}


def test_a_hand_that_is_no_number_is_not_drawn():
    hand = hand_at((200, 200))
    hand.joints_px[3] = np.nan
    shown, _ = paint([hand])
    np.testing.assert_array_equal(shown, paint([])[0])


def test_the_3d_view_turns_and_orders_by_depth():
    joints = np.zeros((21, 3))
    joints[:, 0] = 40 * np.cos(np.arange(21))
    joints[:, 1] = 40 * np.sin(np.arange(21))
    views = [draw_hand_3d(joints, 120, yaw) for yaw in (0.0, 1.5)]
    flat = [(view.max(axis=2) > 110).sum() for view in views]
    assert flat[1] < 0.6 * flat[0]  # a flat ring seen from the side is a line
    assert draw_hand_3d(joints * 40, 120, 0.0).shape == (120, 120, 3)
    assert (draw_hand_3d(joints * np.nan, 120, 0.0) == draw_hand_3d(joints * np.nan, 120, 0.0)[0, 0]).all()
    yaws = [sway(t) for t in np.linspace(0, 7, 50)]
    assert np.ptp(yaws) > 1.0
    assert min(yaws) > 0


def test_fit_into_keeps_the_aspect():
    white = np.full((100, 50, 3), 255, np.uint8)
    fitted = fit_into(white, 200, 200)
    assert fitted.shape == (200, 200, 3)
    assert (fitted.max(axis=2) > 0).mean() == pytest.approx(0.5, abs=0.02)
    assert fit_into(fitted, 200, 200) is fitted


def test_sources_are_told_apart(tmp_path):
    cv2.imwrite(str(tmp_path / "A.JPG"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "clip.mp4").write_text("not a video")
    (tmp_path / "empty").mkdir()
    assert find_source("webcam").camera == 0
    assert find_source("3").camera == 3
    assert find_source(str(tmp_path / "A.JPG")).kind == "image"
    assert find_source(str(tmp_path)).kind == "images"
    assert find_source(str(tmp_path / "clip.mp4")).kind == "video"
    for wrong in (tmp_path / "empty", tmp_path / "nothing.mp4", Path("/dev/null")):
        with pytest.raises(InputProblem, match=str(wrong)):
            find_source(str(wrong))
