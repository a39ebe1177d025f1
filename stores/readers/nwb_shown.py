"""What an NWB 2 file says was shown, and when: tables of presentations, and series of indices into images."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stores.errors import InputError
from stores.readers.cubes import texts
from stores.readers.nwb_tables import LISTED, columns, group, values

PLACES: Final = ("intervals", "stimulus/presentation")
STIMULI: Final = (
    "image_name", "stimulus_name", "stim_name", "image", "stimulus", "stimulus_id", "image_id", "image_index",
    "filename", "stimulus_file", "frame",
)  # fmt: skip
"""Columns that name a stimulus; the first is taken that is there and has more than one value."""


@dataclass(frozen=True)
class Shown:
    """Presentations in the order of the file: a stimulus's name, "" for none, onset in s, all columns.

    where : what names the stimuli, for messages.    left : columns that are not among `table`.
    """

    where: str
    stimuli: NDArray[np.object_]
    onsets: NDArray[np.float64]
    table: pd.DataFrame
    left: tuple[str, ...]


def shown_in(
    path: Path, file: h5py.File, table: str | None, stimulus: str | None, onset: str
) -> tuple[dict[str, Shown], list[str]]:
    """Presentations by the name of their table or series, and the tables that name no stimulus.

    table, stimulus, onset : the one table, and the columns, that are wanted. Raises InputError.
    """
    found: dict[str, Shown] = {}
    seen: dict[str, list[str]] = {}
    for place in PLACES:
        if place not in file:
            continue
        for name, one in group(path, file, place).items():
            if not isinstance(one, h5py.Group) or table not in (None, name):
                continue
            series = _text(one.attrs.get("neurodata_type")) == "IndexSeries"
            if series and stimulus is None:
                shown: Shown | None = _series(path, file, one)
            else:
                shown = _table(path, one, stimulus, onset)
            seen[f"{place}/{name}"] = list(one)
            if shown is not None:
                free = re.sub(r"[^\w-]+", "_", name)
                found[free if free not in found else f"{free}_presentation"] = shown
    if not found:
        told = "; ".join(f"{name}: {', '.join(there[:LISTED])}" for name, there in seen.items())
        raise InputError(
            f"{path} has no table {table or 'in ' + ' or '.join(PLACES)} with the columns {onset} and "
            f"{stimulus or 'one of ' + ', '.join(STIMULI)}; it has {told or 'none'}"
        )
    wheres = [one.where for one in found.values()]
    return found, [name for name in seen if not any(f"/{name}/" in where for where in wheres)]


def _table(path: Path, table: h5py.Group, stimulus: str | None, onset: str) -> Shown | None:
    """The presentations of a table; None where it lacks one of the columns."""
    wanted = STIMULI if stimulus is None else (stimulus,)
    if onset not in table or not any(name in table for name in wanted):
        return None
    found, left = columns(path, table)
    if onset not in found or found[onset].dtype.kind not in "fi":
        raise InputError(
            f"{path}: {table.name} has no column {onset!r} of numbers; it has {', '.join(found)}"
        )
    there = [name for name in wanted if name in found]
    if not there:
        raise InputError(f"{path}: {table.name}/{' or '.join(wanted)} is ragged; wanted one stimulus a row")
    name = next((one for one in there if len(set(found[one].tolist())) > 1), there[0])
    return Shown(
        f"{table.name}/{name}",
        _names(name, found[name]),
        found[onset].astype(np.float64),
        pd.DataFrame(dict(found)),
        tuple(left),
    )


def _names(column: str, cells: NDArray[Any]) -> NDArray[np.object_]:
    """Text as it is; numbers as `frame_12`, so that no id is a number."""
    if cells.dtype.kind == "O":
        return texts(cells)
    return texts("" if np.isnan(float(one)) else f"{column}_{float(one):.12g}" for one in cells.tolist())


def _series(path: Path, file: h5py.File, series: h5py.Group) -> Shown:
    """The presentations of an IndexSeries; images are named by `order_of_images`, else by their index."""
    where = f"{series.name}/data"
    if not isinstance(series.get("data"), h5py.Dataset) or series["data"].ndim != 1:
        raise InputError(f"{path}: {series.name} has no column 'data' of indices; it has {', '.join(series)}")
    index = values(path, series["data"])
    if index.dtype.kind != "i":
        raise InputError(f"{path}: {where} is {series['data'].dtype}; wanted indices of images")
    names = _images(path, file, series)
    if names is None:
        stimuli = texts(f"{str(series.name).rsplit('/', 1)[-1]}_{one}" for one in index.tolist())
    elif len(index) and not 0 <= index.min() <= index.max() < len(names):
        raise InputError(f"{path}: {where} counts to {index.max()}; order_of_images has {len(names)}")
    else:
        stimuli = names[index]
    onsets = _onsets(path, series, len(index))
    return Shown(where, stimuli, onsets, pd.DataFrame({"index": index, "start_time": onsets}), ())


def _images(path: Path, file: h5py.File, series: h5py.Group) -> NDArray[np.object_] | None:
    """Names of the images that the series counts, if it tells them."""
    order = series.get("indexed_images/order_of_images")
    if not isinstance(order, h5py.Dataset):
        return None
    if order.ndim != 1 or order.dtype != h5py.ref_dtype:
        raise InputError(f"{path}: {order.name} is {order.dtype} {order.shape}; wanted references to images")
    return texts(str(file[ref].name).rsplit("/", 1)[-1] for ref in order[()])


def _onsets(path: Path, series: h5py.Group, count: int) -> NDArray[np.float64]:
    if isinstance(times := series.get("timestamps"), h5py.Dataset) and times.shape == (count,):
        return values(path, times).astype(np.float64)
    start = series.get("starting_time")
    rate = start.attrs.get("rate", 0) if isinstance(start, h5py.Dataset) and start.shape == () else 0
    if np.size(rate) != 1 or not float(np.ravel(rate)[0]) > 0:
        raise InputError(
            f"{path}: {series.name} has no timestamps for {count} presentations, nor a starting_time"
        )
    return np.arange(count) / float(np.ravel(rate)[0]) + float(start[()])


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
