"""Averages (evoked) that MNE saved: one cube per type of channel; a stimulus is a condition, presented once.

Values are as stored: no projector is applied that was not, and no baseline is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Final

import mne
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS
from stores.errors import InputError
from stores.readers.cubes import cube_of, unique
from stores.readers.fif import told, whole
from stores.readers.lazy import BLOCK_BYTES, Region, from_blocks
from stores.readers.mne_files import DATASET, files_like, named
from stores.readers.reader import Reader
from stores.readers.sensors import sensors
from stores.readers.slabs import single

PATTERNS: Final = ("*-ave.fif", "*_ave.fif", "*-ave.fif.gz", "*_ave.fif.gz")


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`<file>/mag`, ... of every file of averages, and `<file>/standard_error/mag`. Raises InputError."""
    files = files_like(path, PATTERNS)
    return {f"{name}/{kind}": cube for name, one in named(files) for kind, cube in evoked(one).items()}


@dataclass(frozen=True)
class Averages:
    """Some averages of one file as blocks (stimulus = average, channel, time, 1)."""

    path: Path
    numbers: tuple[int, ...]
    picks: tuple[int, ...]

    def __call__(self, where: Region) -> NDArray[np.float32]:
        """Values there. Raises InputError."""
        picks = list(self.picks[where[1]])
        rows = [_average(self.path, number).data[picks, where[2]] for number in self.numbers[where[0]]]
        return single(self.path, "its averages", np.stack(rows))[..., None]


def evoked(path: Path) -> dict[str, xr.DataArray]:
    """One file of averages as cubes (condition, channel, time, 1) by type of channel; `averaged` counts trials.

    Raises InputError.
    """
    whole(path)
    heads = _averages(path)
    first = heads[0]
    for one in heads:
        if one.ch_names != first.ch_names or not np.array_equal(one.times, first.times):
            raise InputError(f"{path}: {one.comment!r} has other channels or times than {first.comment!r}")
    kinds, left = sensors(path, first.info)
    found = {}
    for measure in sorted({one.kind for one in heads}):
        numbers = tuple(n for n, one in enumerate(heads) if one.kind == measure)
        names = unique(path, f"its {measure}s", [str(heads[n].comment) for n in numbers])
        baselines = [heads[n].baseline or (np.nan, np.nan) for n in numbers]
        coords = {
            "averaged": (STIMULUS, np.array([heads[n].nave for n in numbers], np.int64)),
            "baseline_from": (STIMULUS, np.array([float(one[0]) for one in baselines])),
            "baseline_to": (STIMULUS, np.array([float(one[1]) for one in baselines])),
        }
        for one in kinds:
            shape = (len(numbers), len(one.names), len(first.times), 1)
            step = max(1, BLOCK_BYTES // (4 * prod(shape[1:])))
            cut = tuple(min(step, shape[0] - start) for start in range(0, shape[0], step))
            values = from_blocks(
                Averages(path, numbers, one.picks), (cut, *((n,) for n in shape[1:])), np.float32
            )
            name = one.kind if measure == "average" else f"{measure}/{one.kind}"
            found[name] = cube_of(
                values,
                one.spec,
                stimuli=names,
                units=one.names,
                time=first.times,
                sources=[path],
                coords={**coords, **one.coords},
                attrs={**one.attrs, "dataset": DATASET, "measure": measure},
                dropped=left,
            )
    return found


def _averages(path: Path) -> list[Any]:
    """Every average of a file, without its values. Raises InputError."""
    found: list[Any] = []
    while (one := _average(path, len(found))) is not None:
        if np.iscomplexobj(one.data):
            raise InputError(f"{path}: {one.comment!r} has complex values; wanted real ones")
        head = one.copy()
        head.data = one.data[:0]
        found.append(head)
    if not found:
        raise InputError(f"{path} holds no averages")
    return found


def _average(path: Path, number: int) -> Any:
    """One average, or None where the file has no more. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path} is gone")
    return _kept(path, path.stat().st_size, path.stat().st_mtime_ns, number)


@lru_cache(maxsize=8)
def _kept(path: Path, size: int, changed: int, number: int) -> Any:  # noqa: ARG001 - another file, another entry
    """Some averages stay, since types of channels lie in the same ones and a packed file is slow to search."""
    with told(path, "MNE averages"):
        try:
            return mne.Evoked(path, condition=number, proj=False, verbose="error")
        except ValueError as error:
            if number and "out of range" in str(error):
                return None
            raise


READER: Final = Reader(
    "mne-evoked", "Averages (evoked) of MEG or EEG that MNE saved, by condition.", PATTERNS[:1], read
)
