"""What a table of events tells of each trial: the stimulus, and everything else as coordinates."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stores.dims import STIMULUS
from stores.errors import InputError
from stores.readers.cubes import Labels, texts
from stores.readers.presentations import constant, spread
from stores.readers.tables import NONE
from stores.readers.trials import Presented

_ENDING: Final = re.compile(
    r"\.(jpe?g|png|bmp|gif|tiff?|webp|pgm|ppm|mp4|avi|mov|mkv|webm|wav|npy|mat)$", re.IGNORECASE
)


def absent(cell: Any) -> bool:
    """Whether a cell of a table says nothing: empty, NaN, "n/a" and the like."""
    return cell is None or str(cell).strip().lower() in NONE


def stimulus_id(text: str) -> str:
    """The file of a stimulus as its id: folders stay, for `meg/f001.bmp` and `func/f001.bmp` may differ.

    >>> stimulus_id(r".\\faces\\f001.bmp")
    'faces/f001'
    """
    parts = [one for one in re.split(r"[/\\]", text.strip()) if one not in ("", ".")]
    return _ENDING.sub("", "/".join(parts))


def stimulus_ids(path: Path, where: str, cells: Iterable[Any]) -> list[str]:
    """The id of each cell, "" where it says nothing. Raises InputError where two names become one id."""
    found, names = [], dict[str, str]()
    for cell in cells:
        name = "" if absent(cell) else _plain(cell)
        one = stimulus_id(name)
        if names.setdefault(one, name) != name:
            raise InputError(
                f"{path}: {where} has {name!r} and {names[one]!r}, which both are stimulus {one!r}"
            )
        found.append(one)
    return found


def event_coords(shown: Presented, table: pd.DataFrame) -> Labels:
    """Every column by the trial it tells of: `trial_<column>`, (stimulus, repeat), NaN, -1 or "" for none.

    Text that is the same in all trials of a stimulus is told once, as `event_<column>`, (stimulus).
    table : one row per trial, as `shown` counts them.
    """
    found: dict[str, tuple[str | tuple[str, ...], Any]] = {}
    for column in table.columns:
        name = re.sub(r"\W+", "_", str(column)).strip("_") or "column"
        values = numeric(table[column])
        if values is None:
            values = texts("" if absent(one) else _plain(one) for one in table[column])
        if values.dtype.kind == "O" and constant(shown, values):
            found[_free(f"event_{name}", found)] = (STIMULUS, values[shown.trials[:, 0]])
        else:
            found[_free(f"trial_{name}", found)] = spread(shown, values)
    return found


def numeric(column: Any) -> NDArray[Any] | None:
    """A column as int64, or as float64 where some are missing or broken; None where it is not of numbers."""
    cells = ["nan" if absent(one) else one for one in column]
    values: Any = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float64)
    missing = np.array([one == "nan" if isinstance(one, str) else False for one in cells])
    if missing.all() or (np.isnan(values) & ~missing).any():
        return None
    found: NDArray[Any] = values
    whole = not missing.any() and (np.abs(values) < 2**53).all() and (values == np.round(values)).all()
    return found.astype(np.int64) if whole else found


def _plain(cell: Any) -> str:
    """A cell as text; a whole number that a table turned into a float is again one."""
    if isinstance(cell, float | np.floating) and np.isfinite(cell) and cell == round(cell):
        return str(int(cell))
    return str(cell).strip()


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
