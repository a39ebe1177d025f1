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

    Others are (stimulus, repeat): NaN, "" or, for whole numbers from 0, -1 where there was no presentation.
    """
    found: dict[str, tuple[str | tuple[str, ...], Any]] = {}
    for name, values in columns.items():
        free = f"presentation_{name}" if name in CUBE else name
        if constant(shown, values):
            found[free] = (STIMULUS, values[shown.trials[:, 0]])
        elif values.dtype.kind in "OU":
            words = texts(values)[shown.trials.clip(0)]
            found[free] = ((STIMULUS, REPEAT), np.where(shown.trials < 0, "", words))
        else:
            negative = values.dtype.kind == "i" and values.min() < 0
            found[free] = shown.coord(values.astype(np.float64) if negative else values)
    return found


def constant(shown: Presented, values: NDArray[Any]) -> bool:
    """Whether all presentations of a stimulus have the same value; NaN is the same as NaN."""
    rows, repeats = np.nonzero(shown.trials >= 0)
    each, first = values[shown.trials[rows, repeats]], values[shown.trials[rows, 0]]
    same = each == first
    if values.dtype.kind == "f":
        same |= np.isnan(each) & np.isnan(first)
    return bool(np.all(same))
