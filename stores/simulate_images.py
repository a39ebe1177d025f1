"""Simulated pictures: one shape per category on a noisy grey ground, in any place, size and colour."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Each shape is a rule on coordinates that run from -1 to 1 across it.
SHAPES: Final[Mapping[str, Callable[[Grid, Grid], Mask]]] = {
    "disc": lambda x, y: x**2 + y**2 < 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.9,
    "triangle": lambda x, y: (abs(x) < (y + 1) / 2) & (abs(y) < 1),
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.28) & (np.maximum(abs(x), abs(y)) < 1),
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.75) < 0.25,
    "bars": lambda x, y: (np.sin(3.5 * np.pi * x) > 0) & (np.maximum(abs(x), abs(y)) < 1),
}


def draw(shape: str, side: int, rng: np.random.Generator) -> NDArray[Any]:
    """One picture, (side, side, 3) uint8, of `shape` at a random place, size, turn and colour."""
    centre, radius = rng.uniform(-0.25, 0.25, 2), rng.uniform(0.4, 0.65)
    turn, colour = rng.uniform(-0.3, 0.3), rng.uniform(0, 1, 3)
    ground = rng.uniform(0.4, 0.6)
    axis = np.linspace(-1, 1, side)
    x, y = (axis[None, :] - centre[0]) / radius, (axis[:, None] - centre[1]) / radius
    mask = SHAPES[shape](x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn))
    # Push the colour away from the grey ground, so that no shape is invisible.
    colour = np.where(abs(colour - ground) < 0.25, np.where(colour < ground, 0.0, 1.0), colour)
    picture = np.where(mask[..., None], colour, ground) + rng.normal(0, 0.02, (side, side, 3))
    return np.asarray(np.clip(np.rint(255 * picture), 0, 255), np.uint8)
