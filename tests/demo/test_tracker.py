"""Following hands: exact geometry of both sides, boxes between detections, identity, smoothing."""

import numpy as np
import pytest
from moving_dots import DotPoser, Hit, ScriptedFinder, find_dots, frames, hand_points, picture

from simhand_cli.demo.smoothing import OneEuroFilter
from simhand_cli.demo.tracker import HandTracker


def tracker(script, poser=None, **options):
    finder = ScriptedFinder(script)
    return HandTracker(finder, poser, **({"detect_every": 1, "smooth": False} | options)), finder


def test_the_dots_can_be_read_back():
    points = hand_points((150, 120))
    assert np.abs(find_dots(picture([points])) - points).max() < 0.7


@pytest.mark.parametrize("side", ["right", "left"])
def test_joints_come_back_to_where_they_are_in_the_frame(side):
    points = hand_points((170, 110))
    poser = DotPoser()
    following, _ = tracker(lambda _: [Hit(points, side)], poser)
    (frame,) = frames([[(170, 110)]])
    (hand,) = following.update(frame)
    assert hand.side == side
    assert np.abs(hand.joints_px - points).max() < 1.0
    # The poser sees right hands only; a left one is mirrored back in 3D too.
    assert hand.joints_mm[20, 0] == (160.0 if side == "right" else -160.0)


def test_left_hands_are_shown_to_the_model_mirrored():
    points = hand_points((170, 110))
    seen = {}

    class Looking(DotPoser):
        def poses(self, crops_rgb):
            seen[side] = crops_rgb[0]
            return super().poses(crops_rgb)

    for side in ("right", "left"):
        following, _ = tracker(lambda _, s=side: [Hit(points, s)], Looking())
        following.update(next(iter(frames([[(170, 110)]]))))
    difference = seen["left"].astype(float) - seen["right"][:, ::-1]
    assert np.abs(difference).mean() < 0.5
    assert seen["right"].mean() > 5


def test_boxes_follow_the_joints_between_detections():
    path = [[(100 + 4 * i, 120 - 2 * i)] for i in range(12)]
    poser = DotPoser()
    following, finder = tracker(lambda i: [Hit(hand_points(path[i][0]))], poser, detect_every=6)
    for frame, centers in zip(frames(path), path, strict=True):
        (hand,) = following.update(frame)
        assert np.abs(hand.joints_px - hand_points(centers[0])).max() < 1.0
        assert hand.track == 0
    assert finder.asked == [0, 6]
    assert poser.batches == [1] * 12


def test_a_model_that_draws_hands_too_small_is_not_shown_ever_smaller_crops():
    class Timid(DotPoser):
        """Knows where hands are in their crops, but draws all of them two thirds as large."""

        def poses(self, crops_rgb):
            middle = (self.input_px - 1) / 2
            shape = hand_points((0, 0))
            shape = (shape - shape.mean(axis=0)) / np.ptp(shape, axis=0).max()
            points = middle + 0.67 * self.input_px / self.crop_scale * shape
            return np.repeat(points[None], len(crops_rgb), axis=0), np.zeros((len(crops_rgb), 21, 3))

    following, finder = tracker(lambda _: [Hit(hand_points((160, 120)))], Timid(), detect_every=12)
    sizes = [np.ptp(following.update(frame)[0].joints_px, axis=0).max() for frame in frames([[(160, 120)]] * 12)]
    assert finder.asked == [0]
    np.testing.assert_allclose(sizes, sizes[0], rtol=0.01)


def test_without_hands_every_frame_is_searched():
    following, finder = tracker(lambda i: [Hit(hand_points((160, 120)))] if i >= 4 else [], DotPoser(), detect_every=5)
    counts = [len(following.update(f)) for f in frames([[]] * 4 + [[(160, 120)]] * 3)]
    assert counts == [0, 0, 0, 0, 1, 1, 1]
    assert finder.asked == [0, 1, 2, 3, 4]


def test_numbers_stay_with_their_hands_whatever_the_order_of_detections():
    path = [[(80 + i, 100), (240 - i, 130)] for i in range(10)]

    def script(i):
        hits = [Hit(hand_points(path[i][0]), "left"), Hit(hand_points(path[i][1]), "right")]
        return hits if i % 2 else hits[::-1]

    following, _ = tracker(script)
    first = {h.track: h.side for h in following.update(next(iter(frames(path))))}
    for frame in list(frames(path))[1:]:
        hands = following.update(frame)
        assert {h.track: h.side for h in hands} == first
        for hand in hands:
            expected = path[frame.frame_index][0 if hand.side == "left" else 1]
            assert np.abs(hand.joints_px.mean(axis=0) - hand_points(expected).mean(axis=0)).max() < 1


def test_one_wrong_side_does_not_flip_a_hand_and_many_do():
    sides = ["right"] * 5 + ["left"] + ["right"] * 4 + ["left"] * 30
    following, _ = tracker(lambda i: [Hit(hand_points((160, 120)), sides[i])])
    seen = [following.update(f)[0].side for f in frames([[(160, 120)]] * len(sides))]
    assert set(seen[:10]) == {"right"}
    assert seen[-1] == "left"


def test_one_hand_found_twice_is_one_hand_and_two_near_hands_are_two():
    points = hand_points((160, 120))
    following, _ = tracker(lambda _: [Hit(points, "right", 0.7), Hit(points + 3, "left", 0.9)])
    (hand,) = following.update(next(iter(frames([[(160, 120)]]))))
    assert hand.score == 0.9
    apart, _ = tracker(lambda _: [Hit(points), Hit(points + np.array([70, 0]))])
    assert len(apart.update(next(iter(frames([[(160, 120)]]))))) == 2


def test_forgetting_starts_new_tracks():
    following, _ = tracker(lambda _: [Hit(hand_points((160, 120)))])
    tracks = []
    for frame in frames([[(160, 120)]] * 3):
        following.forget()
        tracks.append(following.update(frame)[0].track)
    assert tracks == [0, 1, 2]


def test_a_failed_prediction_cannot_run_away_with_the_box():
    class Wild(DotPoser):
        def poses(self, crops_rgb):
            _, joints_mm = super().poses(crops_rgb)
            return np.linspace(-5000, 9000, 42).reshape(1, 21, 2), joints_mm

    following, _ = tracker(lambda _: [Hit(hand_points((160, 120)))], Wild(), detect_every=4)
    for frame in frames([[(160, 120)]] * 4):
        following.update(frame)
    box = following._tracks[0]
    assert box.side_px < 110 * 1.6 * 1.2**4
    assert np.abs(box.center_px - [160, 120]).max() < 4 * 0.25 * box.side_px


def test_a_prediction_that_is_no_number_is_not_shown_and_the_hand_is_searched_again():
    class Failing(DotPoser):
        def poses(self, crops_rgb):
            joints_px, joints_mm = super().poses(crops_rgb)
            return (joints_px * np.nan, joints_mm) if len(self.batches) == 2 else (joints_px, joints_mm)

    following, finder = tracker(lambda _: [Hit(hand_points((160, 120)))], Failing(), detect_every=50, smooth=True)
    shown = [following.update(f) for f in frames([[(160, 120)]] * 4)]
    assert [len(hands) for hands in shown] == [1, 0, 1, 1]
    assert all(np.isfinite(h.joints_px).all() for hands in shown for h in hands)
    assert finder.asked == [0, 2]


def jitter(points):
    return float(np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1).mean())


def test_smoothing_steadies_a_resting_hand():
    rng = np.random.default_rng(0)
    noisy = [hand_points((160, 120)) + rng.normal(0, 1.5, (21, 2)) for _ in range(60)]
    shown = {}
    for smooth in (False, True):
        following, _ = tracker(lambda i: [Hit(noisy[i])], smooth=smooth)
        shown[smooth] = np.stack([following.update(f)[0].joints_px for f in frames([[(160, 120)]] * 60)])
    np.testing.assert_array_equal(shown[False], np.stack(noisy))
    assert jitter(shown[True][10:]) < 0.55 * jitter(shown[False][10:])
    assert np.abs(shown[True][10:].mean(axis=0) - hand_points((160, 120))).max() < 0.8


def test_smoothing_hardly_lags_behind_a_fast_hand():
    one_euro = OneEuroFilter()
    times = np.arange(60) / 30
    # One hand's size a second, then rest.
    truth = np.where(times < 1, 110 * times, 110.0)[:, None, None] * np.ones((1, 21, 2))
    shown = np.stack([one_euro(p, t, 110.0) for p, t in zip(truth, times, strict=True)])
    assert np.abs(shown - truth).max() < 0.05 * 110
    assert np.abs(shown[-1] - truth[-1]).max() < 0.5


def test_the_filter_equals_the_published_scalar_one():
    """Casiez et al.'s algorithm, written out for one coordinate."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.02, 0.05, 30))
    values = np.cumsum(rng.normal(0, 2, 30))
    one_euro = OneEuroFilter(1.0, 3.0, 2.0)
    ours = [one_euro(np.array([[v]]), t, 10.0)[0, 0] for v, t in zip(values, times, strict=True)]

    def alpha(cutoff, step):
        tau = 1 / (2 * np.pi * cutoff)
        return 1 / (1 + tau / step)

    shown, speed, expected = values[0], 0.0, [values[0]]
    for k in range(1, 30):
        step = times[k] - times[k - 1]
        a = alpha(2.0, step)
        speed = a * (values[k] - values[k - 1]) / step + (1 - a) * speed
        a = alpha(1.0 + 3.0 * abs(speed) / 10.0, step)
        shown = a * values[k] + (1 - a) * shown
        expected.append(shown)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_time_standing_still_restarts_the_filter():
    one_euro = OneEuroFilter()
    one_euro(np.zeros((21, 2)), 1.0, 1.0)
    np.testing.assert_array_equal(one_euro(np.ones((21, 2)), 1.0, 1.0), np.ones((21, 2)))
