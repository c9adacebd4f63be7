"""Smooth random fields: the same for a seed on every machine (integer hashing, no tables)."""

import numpy as np
from numpy.typing import NDArray

from simhand_cli.synth.render.jit import kernel

Floats = NDArray[np.float32]

# Axes turned against the lattice, so that its planes do not show as stripes on flat skin.
_TURN = np.array([[0.36, 0.48, -0.80], [-0.80, 0.60, 0.00], [0.48, 0.64, 0.60]], dtype=np.float32)


@kernel
def _corner(x: int, y: int, z: int, seed: int) -> float:
    """A number in [-1, 1] for a lattice point (a 32-bit mix of its coordinates)."""
    # Kept to 32 bits by hand: what numba does on overflow must not decide how skin looks.
    mask = 0xFFFFFFFF
    h = (x * 0x9E3779B1 ^ y * 0x85EBCA77 ^ z * 0xC2B2AE3D ^ seed * 0x27D4EB2F) & mask
    h = ((h ^ (h >> 15)) * 0x2C1B3C6D) & mask
    h = ((h ^ (h >> 12)) * 0x297A2D39) & mask
    h = (h ^ (h >> 15)) & mask
    return h / 2147483648.0 - 1.0


@kernel
def _fill(points: Floats, turn: Floats, wavelength: float, octaves: int, seed: int, out: Floats) -> None:
    for i in range(points.shape[0]):
        total, gain, length = 0.0, 1.0, wavelength
        for octave in range(octaves):
            fx = (turn[0, 0] * points[i, 0] + turn[0, 1] * points[i, 1] + turn[0, 2] * points[i, 2]) / length
            fy = (turn[1, 0] * points[i, 0] + turn[1, 1] * points[i, 1] + turn[1, 2] * points[i, 2]) / length
            fz = (turn[2, 0] * points[i, 0] + turn[2, 1] * points[i, 1] + turn[2, 2] * points[i, 2]) / length
            ix, iy, iz = int(np.floor(fx)), int(np.floor(fy)), int(np.floor(fz))
            fx, fy, fz = fx - ix, fy - iy, fz - iz
            # Smooth steps: with linear weights the lattice would show as creases.
            fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
            value = 0.0
            for dz in range(2):
                for dy in range(2):
                    for dx in range(2):
                        w = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * (fz if dz else 1 - fz)
                        # Each octave has a lattice of its own, so that their zeros do not fall together.
                        value += w * _corner(ix + dx, iy + dy, iz + dz, seed + octave)
            total += gain * value
            gain *= 0.5
            length *= 0.5
        out[i] = total


def noise(points: NDArray[np.floating], wavelength: float, seed: int, octaves: int = 1) -> Floats:
    """Value noise at points (N, 3), values about [-1, 1] per octave; each octave halves wavelength and strength."""
    out = np.empty(len(points), np.float32)
    _fill(np.ascontiguousarray(points, np.float32), _TURN, float(wavelength), octaves, int(seed) & 0xFFFFFF, out)
    return out
