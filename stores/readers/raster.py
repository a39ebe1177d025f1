"""Spikes in raster format: one .mat file per neuron, trials x milliseconds (Neural Decoding Toolbox).

`raster_data` holds counts, one column per millisecond; `raster_labels` has one label per trial in each
field; `raster_site_info` tells of the recording, and `alignment_event_time` is the column (from 1) of onset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.cubes import Labels, texts
from stores.readers.files import load_mat
from stores.readers.reader import Reader
from stores.readers.spikes import DIGITS, Trials, binned

ENDING: Final = "raster_data.mat"
VARIABLES: Final = ("raster_data", "raster_labels", "raster_site_info")
ONSET: Final = "alignment_event_time"
SITE_NAMES: Final = {"recording_channel": "channel", "session_ID": "recording_session", "unit": "sorted_unit"}
MILLISECOND: Final = 0.001


@dataclass(frozen=True)
class Site:
    """One neuron's file: counts (trial, millisecond), labels of the trials, facts, first and last edge in s."""

    path: Path
    counts: NDArray[Any]
    labels: dict[str, list[str]]
    info: dict[str, str]
    start: float
    stop: float


def read(
    path: Path,
    *,
    label: str | None = None,
    start: float | None = None,
    stop: float | None = None,
    width: float = 0.05,
    rate: bool = False,
    region: str = "",
) -> Mapping[str, xr.DataArray]:
    """Spike counts of every neuron in a folder; each trial of a stimulus is one repeat, in file order.

    label : the field that names the stimulus, else the one with most values; fields that are one
    value for each stimulus become coordinates, others are counted in ``attrs["dropped"]``.
    start, stop, width : bins in seconds from onset, else the whole trial in bins of 50 ms.
    Neurons were recorded one after another: repeats of two units are different trials. Raises InputError.
    """
    sites = [_site(one) for one in _files(Path(path).expanduser())]
    first = sites[0]
    for one in sites:
        if start is None and stop is None and (one.start, one.stop) != (first.start, first.stop):
            raise InputError(
                f"{one.path}: trials last from {one.start:g} to {one.stop:g} s, those of {first.path.name} "
                f"from {first.start:g} to {first.stop:g}; give start and stop within both"
            )
    start, stop = (first.start if start is None else start), (first.stop if stop is None else stop)
    for one in sites:
        if start < one.start or stop > one.stop:
            raise InputError(
                f"{one.path}: trials last from {one.start:g} to {one.stop:g} s; bins need {start:g} to {stop:g}"
            )
    label = _label(sites, label)
    stimuli = sorted({value for one in sites for value in one.labels[label]})
    coords, mixed = _stimulus_coords(sites, label, stimuli)
    cube = binned(
        _trials(sites, label, stimuli),
        stimuli=stimuli,
        units=[one.path.name.removesuffix(ENDING).rstrip("_") or one.path.stem for one in sites],
        start=start,
        stop=stop,
        width=width,
        rate=rate,
        sources=[one.path for one in sites],
        attrs={"dataset": first.path.parent.name or "raster", "subject": "pooled", "label": label},
        coords={
            **coords,
            **_site_coords(sites),
            **({"region": (UNIT, [region] * len(sites))} if region else {}),
        },
        dropped={f"label {name}, which varies within stimuli": 1 for name in mixed},
    )
    return {"spikes": cube}


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(path.glob(f"*{ENDING}")) if path.is_dir() else []
    if not found:
        raise InputError(f"{path} holds no files *{ENDING}; wanted a folder with one for each neuron")
    return found


def _site(path: Path) -> Site:
    found = load_mat(path, VARIABLES)
    values, record = np.atleast_2d(np.asarray(found["raster_data"])), found["raster_site_info"]
    if values.dtype.kind not in "fiub" or values.ndim != 2 or not values.size:
        raise InputError(
            f"{path}: raster_data is {values.dtype} {values.shape}; wanted counts, trials x milliseconds"
        )
    if not np.isfinite(values).all() or (values < 0).any() or (values != np.floor(values)).any():
        raise InputError(f"{path}: raster_data is no spike count: it has fractions, negative numbers or NaN")
    info = _fields(path, record, "raster_site_info")
    scalar = {name: _text(value) for name, value in info.items() if np.size(value) == 1}
    try:
        onset = int(float(scalar[ONSET]))
    except (KeyError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: raster_site_info.{ONSET} is not one number; it has {', '.join(info) or 'no fields'}"
        ) from error
    labels = {
        name: [_text(one) for one in np.atleast_1d(value)]
        for name, value in _fields(path, found["raster_labels"], "raster_labels").items()
    }
    for name, one in labels.items():
        if len(one) != len(values):
            raise InputError(f"{path}: raster_labels.{name} has {len(one)} labels for {len(values)} trials")
    edges = [round((edge - onset) * MILLISECOND, DIGITS) for edge in (1, values.shape[1] + 1)]
    return Site(path, values.astype(np.int64), labels, scalar, edges[0], edges[1])


def _fields(path: Path, record: Any, where: str) -> dict[str, Any]:
    record = np.asarray(record)
    if not record.dtype.names or record.size != 1:
        raise InputError(f"{path}: {where} is no struct; wanted one with fields")
    return {name: _inner(record[name]) for name in record.dtype.names}


def _inner(value: Any) -> Any:
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1 and value.ndim == 0:
        value = value.item()
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    number = np.asarray(value)
    if number.dtype == object and number.size == 1:
        return _text(number.item()) if number.ndim or number.item() is not value else str(value)
    if number.dtype.kind == "f" and number.size == 1 and np.isfinite(number).all():
        return f"{float(number.ravel()[0]):g}"
    return str(number.ravel()[0]) if number.size == 1 else str(value)


def _label(sites: list[Site], label: str | None) -> str:
    """The asked label, or the one with most values; InputError where a file lacks it."""
    shared = [name for name in sites[0].labels if all(name in one.labels for one in sites)]
    if label is None:
        if not shared:
            raise InputError(f"{sites[0].path}: raster_labels has no field that all files share")
        label = max(shared, key=lambda name: len({value for one in sites for value in one.labels[name]}))
    for one in sites:
        if label not in one.labels:
            raise InputError(f"{one.path}: raster_labels has no {label!r}; it has {', '.join(one.labels)}")
    return label


def _stimulus_coords(sites: list[Site], label: str, stimuli: list[str]) -> tuple[Labels, list[str]]:
    """Labels that are one value for each stimulus, as coordinates, and the names of the others."""
    kept: dict[str, tuple[str, Any]] = {}
    mixed = []
    for name in sorted({name for one in sites for name in one.labels} - {label}):
        pairs = {
            pair
            for one in sites
            for pair in zip(one.labels[label], one.labels.get(name, [""] * len(one.counts)), strict=True)
        }
        if len(pairs) == len(stimuli):
            kept[name] = (STIMULUS, texts(dict(pairs)[stimulus] for stimulus in stimuli))
        else:
            mixed.append(name)
    return kept, mixed


def _site_coords(sites: list[Site]) -> Labels:
    names = sorted({name for one in sites for name in one.info})
    return {
        SITE_NAMES.get(name, f"site_{name}"): (UNIT, texts(one.info.get(name, "") for one in sites))
        for name in names
    }


def _trials(sites: list[Site], label: str, stimuli: list[str]) -> Trials:
    """Every trial of every neuron; a spike of a column lies at its start."""
    place = {name: n for n, name in enumerate(stimuli)}
    trains: list[NDArray[np.float64]] = []
    axes: list[tuple[int, int, int]] = []
    for unit, one in enumerate(sites):
        seen = dict.fromkeys(stimuli, 0)
        row, column = np.nonzero(one.counts)
        times = np.repeat(one.start + column * MILLISECOND, one.counts[row, column])
        trains += np.split(times, np.cumsum(one.counts.sum(axis=1))[:-1])
        for stimulus in one.labels[label]:
            axes.append((place[stimulus], unit, seen[stimulus]))
            seen[stimulus] += 1
    stimulus_at, unit_at, repeat_at = zip(*axes, strict=True)
    return Trials.of(trains, stimulus_at, unit_at, repeat_at)


READER: Final = Reader(
    "raster",
    "Spikes in raster format, one file per neuron: trials x milliseconds with labels (Zhang et al. 2011).",
    (f"*{ENDING}",),
    read,
)
