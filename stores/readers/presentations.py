"""What is known of each presentation, as coordinates: of its stimulus where all of them agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stores.dims import CUBE, REPEAT, STIMULUS
from stores.readers.cubes import Labels, texts
from stores.readers.trials import Presented


def labels(shown: Presented, columns: Mapping[str, NDArray[Any]]) -> Labels:
    """Columns (trial,) under their names: (stimulus,) if they are the same in all presentations of each one.

    Others are (stimulus, repeat), as `spread` gives them.
    """
    found: dict[str, tuple[str | tuple[str, ...], Any]] = {}
    for name, values in columns.items():
        free = f"presentation_{name}" if name in CUBE else name
        if constant(shown, values):
            found[free] = (STIMULUS, values[shown.trials[:, 0]])
        else:
            found[free] = spread(shown, values)
    return found


def spread(shown: Presented, values: NDArray[Any]) -> tuple[tuple[str, str], NDArray[Any]]:
    """Values (trial,) as (stimulus, repeat): NaN, "" or, for whole numbers from 0, -1 where there was none."""
    if values.dtype.kind in "OU":
        return (STIMULUS, REPEAT), np.where(shown.trials < 0, "", texts(values)[shown.trials.clip(0)])
    # A whole number marks "none" by -1, unless it could be meant.
    meant = values.dtype.kind == "i" and values.min() < 0
    return shown.coord(values.astype(np.float64) if meant else values)


def constant(shown: Presented, values: NDArray[Any]) -> bool:
    """Whether all presentations of a stimulus have the same value; NaN is the same as NaN."""
    rows, repeats = np.nonzero(shown.trials >= 0)
    each, first = values[shown.trials[rows, repeats]], values[shown.trials[rows, 0]]
    same = each == first
    if values.dtype.kind == "f":
        same |= np.isnan(each) & np.isnan(first)
    return bool(np.all(same))
