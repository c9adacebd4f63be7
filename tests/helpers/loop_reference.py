"""Slow, independent float64 references, written with loops over numpy numbers straight from the equations."""

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def distance(first: Vector, second: Vector) -> float:
    """Mean over the joints of their distances."""
    return sum(math.dist(a, b) for a, b in zip(first, second, strict=True)) / len(first)


def distance_matrix(joints: Vector) -> Vector:
    count = len(joints)
    return np.array([[distance(joints[i], joints[k]) for k in range(count)] for i in range(count)])


def linear(joints: Vector, weight_range: str) -> tuple[list[float], Vector]:
    """(w_pos of the N pairs, w of all (2N)^2 pairs); joints (2N, 21, 2)."""
    count = len(joints)
    d = distance_matrix(joints)
    pairs = [d[i, i + count // 2] for i in range(count // 2)]
    if weight_range == "single":
        values = [d[i, k] for i in range(count) for k in range(count) if i != k]
        low, high = min(values), max(values)
        low_pos, high_pos = low, high
    else:
        low, high = d.min(), d.max()
        low_pos, high_pos = min(pairs), max(pairs)

    def scale(value: float, smallest: float, largest: float) -> float:
        if largest - smallest <= 1e-6:
            return 1.0
        return min(1.0, (largest - value) / (largest - smallest))

    matrix = np.array([[scale(d[i, k], low, high) for k in range(count)] for i in range(count)])
    return [scale(p, low_pos, high_pos) for p in pairs], matrix


def nonlinear(joints: Vector, weight_range: str, steep_pos: float, steep_neg: float) -> tuple[list[float], Vector]:
    count = len(joints)
    d = distance_matrix(joints)
    pairs = [d[i, i + count // 2] for i in range(count // 2)]
    mean_pos = sum(pairs) / len(pairs)
    values = [d[i, k] for i in range(count) for k in range(count) if i != k or weight_range == "separate"]
    mean = sum(values) / len(values)
    positive = [1 / (1 + math.exp(steep_pos * (p - mean_pos))) for p in pairs]
    matrix = [[1 / (1 + math.exp(steep_neg * (d[i, k] - mean))) for k in range(count)] for i in range(count)]
    return positive, np.array(matrix)


def nt_xent(
    z: Vector,
    temperature: float,
    w_pos: list[float] | None = None,
    w_neg: Vector | None = None,
    positive_denominator: str = "w_neg",
    left_out: set[tuple[int, int]] = frozenset(),
    centred: bool = False,
) -> float:
    """Mean over the 2N rows of z (2N, D), unit vectors ordered [view 1, view 2]."""
    count = len(z)
    half = count // 2
    total = 0.0
    for i in range(count):
        partner = (i + half) % count
        positive_weight = 1.0 if w_pos is None else w_pos[i % half]
        others = [float(z[i] @ z[k]) for k in range(count) if k != i]
        mean = sum(others) / len(others) if centred else 0.0
        denominator = 0.0
        for k in range(count):
            if k == i or ((i, k) in left_out and k != partner):
                continue
            weight = 1.0 if w_neg is None else w_neg[i, k]
            if k == partner and positive_denominator == "w_pos":
                weight = positive_weight
            if k == partner and positive_denominator == "one":
                weight = 1.0
            denominator += math.exp(weight * (float(z[i] @ z[k]) - mean) / temperature)
        numerator = math.exp(positive_weight * (float(z[i] @ z[partner]) - mean) / temperature)
        total -= math.log(numerator / denominator)
    return total / count


def undo_in_features(
    z: Vector,
    angle_deg: float,
    shift: Vector,
    unit: str,
    joints_px: Vector,
    jitter_px: Vector,
    output_px: int,
) -> Vector:
    """One projection (2P,) with its view undone."""
    points = (z / np.sqrt((z * z).sum())).reshape(-1, 2)
    if unit == "hand":
        joints = joints_px / output_px
        spread_joints = math.sqrt(np.mean([math.dist(p, joints.mean(axis=0)) ** 2 for p in joints]))
        spread_points = math.sqrt(np.mean([math.dist(p, points.mean(axis=0)) ** 2 for p in points]))
        move = shift * spread_points / spread_joints
    else:
        move = (jitter_px / output_px if unit == "pixels" else shift) * (points.max(axis=0) - points.min(axis=0))
    points = points + move
    center_x, center_y = points.mean(axis=0)
    # The published matrix, acting on row vectors (x, y, 1), for minus the angle.
    alpha, beta = math.cos(math.radians(-angle_deg)), math.sin(math.radians(-angle_deg))
    matrix = np.array(
        [
            [alpha, -beta],
            [beta, alpha],
            [(1 - alpha) * center_x - beta * center_y, (1 - alpha) * center_y + beta * center_x],
        ]
    )
    turned = np.column_stack([points, np.ones(len(points))]) @ matrix
    return turned.ravel() / np.sqrt((turned * turned).sum())


def undo_joints(joints_px: Vector, angle_deg: float, margin: float, shift: Vector, output_px: int) -> Vector:
    """Joints (21, 2) of a view as a straight, centred view with margin 1 would show them."""
    middle = (output_px - 1) / 2
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    undone = []
    for x, y in joints_px:
        # From where the joints' mean was put, then clockwise as seen by the angle, y pointing down.
        dx, dy = x - (middle - shift[0] * output_px), y - (middle - shift[1] * output_px)
        undone.append([middle + margin * (cos * dx - sin * dy), middle + margin * (sin * dx + cos * dy)])
    return np.array(undone)


def cut_window(joints: Vector, margin: float, jitter: Vector) -> tuple[list[float], list[float], list[float]]:
    """The released window of joints (21, 2) by the released steps, in a frame of 224 px, without rounding.

    Returns:
        left and top, right and bottom, in pixels of the joints' crop, and the jitter as stored, negated.
    """
    box = max(max(j[a] for j in joints) - min(j[a] for j in joints) for a in (0, 1))
    pixel = 1.3 * box / 224  # a frame's pixel in the crop
    center = [sum(j[a] for j in joints) / 21 for a in (0, 1)]
    side = margin * max(math.dist(j, center) for j in joints) / pixel
    low, high, stored = [], [], []
    for axis in (0, 1):
        corner = (max(j[axis] for j in joints) + min(j[axis] for j in joints)) / 2 - 112 * pixel
        middle = (center[axis] - corner) / pixel
        origin = max(middle - side + 224 * jitter[axis], 0)
        end = min(origin + 2 * side, 224)
        low.append(corner + origin * pixel)
        high.append(corner + end * pixel)
        stored.append(-(middle - side - origin))
    return low, high, stored
