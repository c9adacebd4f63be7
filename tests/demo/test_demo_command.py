"""``simhand demo`` as a user meets it: exit codes, files, Ctrl-C; never an abort."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from moving_dots import picture

from simhand_cli.commands.demo import demo
from simhand_cli.demo.config import DemoConfig
from simhand_cli.demo.video_file import video_file
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.video.decode import iterate_frames

pytestmark = pytest.mark.filterwarnings("ignore")


def make_video(path: Path, count: int) -> Path:
    with video_file(path, (240, 320, 3)) as file:
        for i in range(count):
            file.write(picture([]) + np.uint8(i % 200), i / 30)
    return path


def one_line(result: "subprocess.CompletedProcess[str]", code: int) -> str:
    assert result.returncode == code, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


HEADLESS = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}


@pytest.mark.slow
def test_without_a_display_one_line_says_what_to_do(run_cli, tmp_path):
    line = one_line(run_cli("demo", "webcam", cwd=tmp_path, **HEADLESS), 4)
    assert "no display" in line
    assert "--out" in line
    video = make_video(tmp_path / "clip.mp4", 3)
    assert "--out" in one_line(run_cli("demo", video, cwd=tmp_path, **HEADLESS), 4)


def test_a_display_that_does_not_answer_is_no_abort(run_cli, tmp_path):
    video = make_video(tmp_path / "clip.mp4", 3)
    result = run_cli("demo", video, cwd=tmp_path, DISPLAY=":4711", WAYLAND_DISPLAY="")
    assert "the display cannot be opened" in one_line(result, 4)


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb, a display without a screen")
def test_with_a_display_a_window_is_shown_and_an_image_waits_for_the_user(run_cli, tmp_path):
    video = make_video(tmp_path / "clip.mp4", 3)
    cv2.imwrite(str(tmp_path / "one.png"), picture([]))
    display = f":{4000 + os.getpid() % 1000}"
    with subprocess.Popen(["Xvfb", display], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            environment = os.environ | {"DISPLAY": display, "WAYLAND_DISPLAY": "", "OMP_NUM_THREADS": "1"}
            time.sleep(1.0)
            result = run_cli("demo", video, cwd=tmp_path, DISPLAY=display, WAYLAND_DISPLAY="")
            assert result.returncode == 0, result.stderr
            assert "show, ms a frame" in result.stdout
            assert "Qt" not in result.stderr
            command = [sys.executable, "-m", "simhand_cli", "demo", str(tmp_path / "one.png")]
            with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
                assert process.stderr is not None
                assert "showing MediaPipe" in process.stderr.readline()
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(timeout=3)
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=20) == 130
        finally:
            server.terminate()


@pytest.mark.slow
@pytest.mark.skipif(Path("/dev/video0").exists(), reason="there is a camera here")
def test_without_a_camera_one_line_and_no_file(run_cli, tmp_path):
    result = run_cli("demo", "webcam", "--out", tmp_path / "out.mp4", "--max-frames", 3, cwd=tmp_path, **HEADLESS)
    assert result.returncode == 4, result.stderr
    assert "no camera 0 can be opened" in result.stderr.strip().splitlines()[-1]
    assert "VIDEOIO" not in result.stderr
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.parametrize(("name", "content"), [("text.mp4", b"no video at all"), ("empty.mp4", b""), ("bad.jpg", b"x")])
def test_unusable_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputProblem, match=name):
        demo(DemoConfig(source=str(tmp_path / name), out=tmp_path / "out.mp4", workspace=tmp_path / "ws"))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_outputs_that_cannot_be_written_are_refused_before_any_work(tmp_path):
    video = make_video(tmp_path / "clip.mp4", 2)
    (tmp_path / "there.mp4").write_text("keep me")
    for output, words in (
        (tmp_path / "out.avi", ".mp4 can be written"),
        (tmp_path / "out.png", ".mp4 can be written"),
        (video, "source itself"),
        (tmp_path / "there.mp4", "--redo"),
    ):
        with pytest.raises(UsageProblem, match=words):
            demo(DemoConfig(source=str(video), out=output, workspace=tmp_path / "ws"))
    assert (tmp_path / "there.mp4").read_text() == "keep me"


def test_a_video_without_hands_goes_through(tmp_path):
    video = make_video(tmp_path / "clip.mp4", 6)
    output = tmp_path / "there.mp4"
    output.write_text("replace me")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftover, alive, other = (tmp_path / name for name in (
        f"there.mp4.{dead.pid}.part", f"there.mp4.{os.getppid()}.part", f"here.mp4.{dead.pid}.part"
    ))  # fmt: skip
    for part in (leftover, alive, other):
        part.write_text("half a film")
    one = DemoConfig(source=str(video), out=output, workspace=tmp_path / "ws", redo=True, max_frames=4)
    summary = demo(one)
    assert summary.facts["frames"] == 4
    assert summary.facts["frames with a hand"] == 0
    assert summary.facts["model"] == "MediaPipe hand landmarker"
    assert "detect, ms a frame" in summary.facts
    assert len(list(iterate_frames(output))) == 4
    assert not leftover.exists()
    assert alive.exists()
    assert other.exists()
    dry = demo(DemoConfig(source=str(video), out=output, workspace=tmp_path / "ws", dry_run=True))
    assert dry.facts["frames"] == 6
    assert not (tmp_path / "ws").exists()


def test_a_model_that_is_not_there_is_named(tmp_path):
    video = make_video(tmp_path / "clip.mp4", 2)
    with pytest.raises(InputProblem, match="no such fine-tuning run or model file"):
        demo(DemoConfig(source=str(video), out=tmp_path / "o.mp4", model="nowhere", workspace=tmp_path))


@pytest.mark.slow
def test_ctrl_c_finishes_the_file(tmp_path):
    video = make_video(tmp_path / "clip.mp4", 3000)
    output = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "simhand_cli", "demo", str(video), "-o", str(output), "-w", str(tmp_path / "ws")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.part")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopped after" in errors
    frames = sum(1 for _ in iterate_frames(output))
    assert 0 < frames < 3000
    assert f"stopped after {frames} frames" in errors
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_real_video_with_mediapipe(real_data, tmp_path):
    video = real_data / "videos" / "dex_human_hand_video.mp4"
    output = tmp_path / "out.mp4"
    summary = demo(DemoConfig(source=str(video), out=output, workspace=tmp_path / "ws", max_frames=12))
    assert summary.facts["frames"] == 12
    assert summary.facts["frames with a hand"] >= 11
    decoded = list(iterate_frames(output))
    assert len(decoded) == 12
    assert decoded[0].image_rgb.shape == (720, 1280, 3)
    original = next(iterate_frames(video)).image_rgb
    # The picture is still the video's: only text, joints and the 3D view differ.
    changed = np.abs(decoded[0].image_rgb.astype(int) - original).max(axis=2) > 60
    assert 0.01 < changed.mean() < 0.25


def test_real_video_with_a_fine_tuned_model(real_data, tmp_path):
    """An untrained model draws nonsense, but its boxes, crops and pictures must come through."""
    import torch

    from simhand_cli.models.detnet import DetNet
    from simhand_cli.models.encoder import build_encoder
    from simhand_cli.models.hand_model import ModelFacts, save_model

    torch.manual_seed(0)
    model = tmp_path / "ws" / "runs" / "finetune-tiny" / "model.safetensors"
    save_model(model, DetNet(build_encoder("resnet10t"), 16, 64), ModelFacts("resnet10t", 16, 64, 0, 95.0))
    video = real_data / "videos" / "dex_human_hand_video.mp4"
    one = DemoConfig(source=str(video), out=tmp_path / "o.mp4", workspace=tmp_path / "ws", max_frames=6, device="cpu")
    summary = demo(one)
    assert summary.facts["model"] == "fine-tuned model: tiny"
    assert summary.facts["frames with a hand"] == 6
    assert "model, ms a frame" in summary.facts
    assert len(list(iterate_frames(tmp_path / "o.mp4"))) == 6


def test_an_image_and_a_folder_of_images(real_data, tmp_path):
    folder = next(p for p in sorted((real_data / "images_by_subject" / "ardamavi").iterdir()) if p.is_dir())
    image = sorted(folder.iterdir())[0]
    summary = demo(DemoConfig(source=str(image), out=tmp_path / "one.png", workspace=tmp_path / "ws"))
    assert summary.facts["frames"] == 1
    drawn = cv2.imread(str(tmp_path / "one.png"))
    assert min(drawn.shape[:2]) >= 480
    summary = demo(DemoConfig(source=str(folder), out=tmp_path / "all.mp4", workspace=tmp_path / "ws"))
    assert summary.facts["frames"] == len(list(folder.iterdir()))
    assert summary.facts["frames with a hand"] >= 0.7 * summary.facts["frames"]
    assert len(list(iterate_frames(tmp_path / "all.mp4"))) == summary.facts["frames"]
