"""Where the camera stands and how the hand is held before it.

Camera frame: x right, y down, z forward, mm. World frame: y up. Pixel centres lie at whole numbers.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
View = Literal["moderate", "random", "ego"]
#: Nothing nearer is drawn: perspective would make a hand there unlike any photograph.
NEAR_MM: Final = 60.0
ATTEMPTS: Final = 25


@dataclass(frozen=True)
class Camera:
    """A pinhole camera looking at a hand.

    Attributes:
        intrinsics: (3, 3) K. size_wh: picture size in pixels.
        world_from_camera: (3, 3) rotation.
        turn: (3, 3) rig frame -> camera frame. shift_mm: (3,) place of the rig frame's origin in the camera frame.
            The rig frame is that of the resting hand.
        number: of the camera in its rig.
    """

    intrinsics: Array
    size_wh: tuple[int, int]
    world_from_camera: Array
    turn: Array
    shift_mm: Array
    number: int = 0

    @property
    def distance_mm(self) -> float:
        """Depth of the rig's origin, the resting wrist."""
        return max(float(self.shift_mm[2]), NEAR_MM)

    @property
    def world_from_rig(self) -> Array:
        """(3, 3) rotation; the world's origin is the rig's. The same for all cameras of a rig."""
        product: Array = self.world_from_camera @ self.turn
        return product

    @property
    def camera_from_world(self) -> Array:
        """Extrinsics (4, 4), mm: x_camera = R x_world + t."""
        extrinsics: Array = np.eye(4)
        extrinsics[:3, :3], extrinsics[:3, 3] = self.world_from_camera.T, self.shift_mm
        return extrinsics

    def place(self, points_mm: Array) -> Array:
        """Points (N, 3) of the rig frame in the camera frame."""
        placed: Array = np.einsum("nj,kj->nk", points_mm, self.turn) + self.shift_mm
        return placed

    def project(self, points_mm: Array) -> Array:
        """Pixels (N, 2) of points (N, 3) in the camera frame."""
        return project(self.intrinsics, points_mm)


def project(intrinsics: Array, points_mm: Array) -> Array:
    """Perspective projection K X / z of points (..., 3): pixels (..., 2)."""
    homogeneous = points_mm @ intrinsics.T
    return homogeneous[..., :2] / homogeneous[..., 2:]


def axis_turn(axis: int, degrees: float) -> Array:
    """Rotation (3, 3) about a coordinate axis."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = c
    turn[i, j], turn[j, i] = -s, s
    return turn


def random_rotation(rng: np.random.Generator) -> Array:
    """A rotation (3, 3) uniform over SO(3) (normalised Gaussian quaternion)."""
    w, x, y, z = rng.standard_normal(4)
    n = w * w + x * x + y * y + z * z
    return np.array(
        [
            [1 - 2 * (y * y + z * z) / n, 2 * (x * y - w * z) / n, 2 * (x * z + w * y) / n],
            [2 * (x * y + w * z) / n, 1 - 2 * (x * x + z * z) / n, 2 * (y * z - w * x) / n],
            [2 * (x * z - w * y) / n, 2 * (y * z + w * x) / n, 1 - 2 * (x * x + y * y) / n],
        ]
    )


def _level_camera(elevation_deg: float) -> Array:
    """Camera-from-world rotation of a camera above (+) or below (-) the hand, looking at it along -z."""
    e = np.deg2rad(elevation_deg)
    forward = np.array([0.0, -np.sin(e), -np.cos(e)])
    down = np.array([0.0, -np.cos(e), np.sin(e)])
    return np.stack([np.array([1.0, 0.0, 0.0]), down, forward])


def random_orientation(rng: np.random.Generator, view: View, left: bool) -> tuple[Array, Array]:
    """Hand-to-world and camera-from-world rotations for a kind of view."""
    if view == "random":
        return random_rotation(rng), _level_camera(float(rng.normal(0.0, 15.0)))
    if view == "ego":
        # The own hand: the forearm comes in from below on its side, the fingers point away and up.
        inwards = float(rng.normal(25.0, 22.0)) * (-1 if left else 1)
        swivel = float(rng.normal(0.0, 55.0))
        reach = axis_turn(0, float(rng.uniform(-90.0, -30.0)))  # fingers from straight ahead to rather upright
        palm_down = axis_turn(1, 180.0 + swivel)
        return axis_turn(1, inwards) @ reach @ palm_down, _level_camera(float(rng.uniform(10.0, 45.0)))
    tilt, roll = axis_turn(0, float(rng.normal(0.0, 18.0))), axis_turn(2, float(rng.normal(0.0, 25.0)))
    azimuth = axis_turn(1, float(rng.uniform(0.0, 360.0)))
    return roll @ tilt @ azimuth, _level_camera(float(rng.uniform(-25.0, 45.0)))


def aim(
    rng: np.random.Generator,
    view: View,
    left: bool,
    points_mm: Array,
    arm_mm: Array,
    size_wh: tuple[int, int],
    fill: tuple[float, float] = (0.42, 0.62),
) -> Camera:
    """Choose a camera that shows the hand well.

    Args:
        rng: source of chance.
        view: moderate (upright hand, all azimuths), random (any rotation), ego (own hand seen from the head).
        left: whether the points belong to a left hand.
        points_mm: (P, 3) joints in the rig frame; several frames of a sequence may be stacked.
        arm_mm: (A, 3) points along the forearm behind the wrist to the arm's end, rig frame.
        size_wh: picture size, pixels.
        fill: range of the larger extent of the points relative to the shorter picture side.

    Returns:
        a camera; views in which the arm hides the hand or ends inside the picture are drawn again.
    """
    fallback: Camera | None = None
    for _ in range(ATTEMPTS):
        world_from_rig, camera_from_world = random_orientation(rng, view, left)
        # Cameras worn on the head have wide lenses; others are filmed from further away.
        fov = float(rng.uniform(45.0, 70.0) if view == "ego" else rng.uniform(18.0, 45.0))
        camera = _look(rng, world_from_rig, camera_from_world, fov, points_mm, size_wh, float(rng.uniform(*fill)))
        # Some poses have no good view at all; a poor picture is better than one that is missing from the set.
        fallback = fallback or camera
        if shows_well(camera, points_mm, arm_mm):
            return camera
    assert fallback is not None
    return fallback


def aim_ring(
    rng: np.random.Generator,
    view: View,
    left: bool,
    points_mm: Array,
    arm_mm: Array,
    size_wh: tuple[int, int],
    fill: tuple[float, float],
    cameras: int,
) -> list[Camera]:
    """A ring of calibrated cameras around the hand, in turn above and below its middle, as in multi-view studios.

    Arguments as in :func:`aim`. The orientation with the fewest cameras that the arm gets in the way of is taken; a
    studio does not choose its views, so some may remain.
    """
    best, worst = None, cameras + 1
    # Half as many tries: each of them places every camera of the ring.
    for _ in range(ATTEMPTS // 2):
        world_from_rig, _ = random_orientation(rng, view, left)
        start, part = float(rng.uniform(0, 360)), float(rng.uniform(*fill))
        fov = float(rng.uniform(18.0, 45.0))
        ring = []
        for number in range(cameras):
            around = start + 360.0 * number / cameras + float(rng.normal(0, 4))
            # Two heights, so that what one camera's neighbours both miss is seen from above or below.
            above = float(rng.normal(30, 5) if number % 2 == 0 else rng.normal(-8, 5))
            camera_from_world = _level_camera(above) @ axis_turn(1, around)
            ring.append(_look(rng, world_from_rig, camera_from_world, fov, points_mm, size_wh, part, number))
        bad = sum(not shows_well(camera, points_mm, arm_mm) for camera in ring)
        if bad < worst:
            best, worst = ring, bad
        if bad == 0:
            break
    assert best is not None
    return best


def _look(
    rng: np.random.Generator,
    world_from_rig: Array,
    camera_from_world: Array,
    fov_deg: float,
    points_mm: Array,
    size_wh: tuple[int, int],
    part: float,
    number: int = 0,
) -> Camera:
    """A camera of a given orientation, moved so that the points' extent is ``part`` of the shorter side."""
    turn = camera_from_world @ world_from_rig
    width, height = size_wh
    short = min(width, height)
    focal = 0.5 * short / np.tan(np.deg2rad(fov_deg / 2))
    # Real calibrations have no principal point exactly in the middle; models must not learn that it is.
    jitter = rng.normal(0.0, 0.03 * short, 2)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    intrinsics = np.array([[focal, 0, centre[0] + jitter[0]], [0, focal, centre[1] + jitter[1]], [0, 0, 1.0]])
    play = (np.array(size_wh) - part * short) * 0.5
    target = centre + rng.uniform(-0.45, 0.45, 2) * play
    turned = points_mm @ turn.T
    middle = (turned.min(axis=0) + turned.max(axis=0)) / 2
    shift = np.array([0.0, 0.0, float(np.ptp(turned[:, :2], axis=0).max()) * focal / (part * short)]) - middle
    # Extent depends on depth by perspective, and both on the place: a few rounds settle them.
    for _ in range(6):
        pixels = project(intrinsics, turned + shift)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        # Bounded: a first guess with joints near the camera would throw the second one far away.
        change = float(np.clip((high - low).max() / (part * short), 0.5, 2.0))
        # No joint comes nearer than 15 cm.
        depth = max(float(shift[2] + middle[2]) * change, 150.0 + float(np.ptp(turned[:, 2])) / 2)
        off = target - (low + high) / 2
        shift = np.array([*(shift[:2] + off * depth / focal), depth - middle[2]])
    return Camera(intrinsics, size_wh, camera_from_world.T, turn, shift, number)


def shows_well(camera: Camera, points_mm: Array, arm_mm: Array) -> bool:
    """Whether the points (P, 3) are inside the picture, and the arm (A, 3) neither hides them nor ends in it."""
    hand = camera.place(points_mm)
    if hand[:, 2].min() < NEAR_MM * 1.5:
        return False
    pixels = camera.project(hand)
    # Two pixels from the border: joints lie inside the flesh, whose outline is further out.
    inside = (pixels >= 2).all() and (pixels <= np.array(camera.size_wh) - 3).all()
    return bool(inside) and arm_leaves_free(camera, points_mm, arm_mm)


def arm_leaves_free(camera: Camera, points_mm: Array, arm_mm: Array) -> bool:
    """Whether an arm (A, 3), rig frame, neither hides the points (P, 3) nor shows its cut end."""
    hand, arm = camera.place(points_mm), camera.place(arm_mm)
    pixels = camera.project(hand)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    size = np.array(camera.size_wh)
    ahead = arm[:, 2] > NEAR_MM
    # Points behind the camera have no pixel; they count as far outside.
    where = np.full((len(arm), 2), -1e6)
    where[ahead] = camera.project(arm[ahead])
    # An arm twice as near looks twice as thick; its half width in pixels widens the region it may hide.
    thick = 40.0 * camera.intrinsics[0, 0] / np.maximum(arm[:, 2:], NEAR_MM)
    hides = (where > low - 0.4 * thick) & (where < high + 0.4 * thick)
    # An arm behind the hand, or level with it, hides nothing.
    nearer = arm[:, 2] < np.median(hand[:, 2]) - 25
    if (hides.all(axis=1) & nearer).any():
        return False
    # An arm that passes the camera is cut off where it does: that must happen outside the picture, with some room.
    crosses_near = (arm[:, 2] <= NEAR_MM).any()
    if crosses_near:
        first = int(np.argmax(arm[:, 2] <= NEAR_MM))
        edge = where[max(first - 1, 0)]
        return bool((edge < -size * 0.1).any() or (edge > size * 1.1).any())
    end, margin = where[-1], thick[-1, 0]
    return bool((end < -margin).any() or (end > size + margin).any())
