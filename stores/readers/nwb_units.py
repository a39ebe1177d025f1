"""Sorted units in NWB 2 files (HDF5), one for each session, counted around the presentations of stimuli.

`/units` is a table: `spike_times` of all units one after another, in seconds of the session, and
`spike_times_index`, where each unit's end. What was shown and when is a table in `/intervals` or
`/stimulus/presentation` (`trials`, `natural_scenes_presentations`, ...), or an IndexSeries in the latter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import CUBE, UNIT
from stores.errors import InputError
from stores.readers import hdf5_heaps
from stores.readers.cubes import Labels, cube_of, unique
from stores.readers.events import event_coords, stimulus_ids
from stores.readers.hdf5 import dataset, opened
from stores.readers.lazy import Region, lazy
from stores.readers.nwb_shown import Shown, shown_in
from stores.readers.nwb_tables import columns, electrodes, ends, group, recorded
from stores.readers.reader import Reader
from stores.readers.spikes import DIGITS, Trials, bin_edges, counts
from stores.readers.trials import Indices, presented
from stores.specs import SPIKES

PATTERN: Final = "*.nwb"
SUBJECT: Final = "general/subject/subject_id"
MOST_SPIKES: Final = 10**10
MARGIN: Final = 10.0**-DIGITS
Times = NDArray[np.float64]


class Units(NamedTuple):
    """The table of units: where each one's spikes start in the file, when it was recorded, what is known of it.

    first : (unit + 1,).    intervals : None where the file does not say.    left : columns not in `coords`.
    """

    ids: Sequence[str]
    first: Indices
    intervals: Sequence[NDArray[Any]] | None
    coords: Labels
    left: Sequence[str]


@dataclass(frozen=True)
class Counts:
    """Blocks (stimulus, unit, time, repeat) of spike counts, read from the file for some units at a time.

    first : where each unit's spikes start in the file, and the end.    onsets : (trial,), seconds.
    trials : (stimulus, repeat) -> trial, or -1.    observed : (unit, trial), whether the unit was recorded.
    """

    path: Path
    first: Indices
    onsets: Times
    trials: Indices
    observed: NDArray[np.bool_]
    edges: Times
    rate: bool

    def __call__(self, where: Region) -> NDArray[np.float32]:
        """Counts there; NaN where there was no presentation, or the unit was not recorded. Raises InputError."""
        table = self.trials[where[0], where[3]]
        row, repeat = np.nonzero(table >= 0)
        trial = table[row, repeat]
        edges = self.edges[where[2].start : where[2].stop + 1]
        units = range(where[1].start, where[1].stop)
        found: list[Times] = []
        lengths, places = [np.zeros(1, np.int64)], [np.zeros((3, 0), np.int64)]
        with opened(self.path) as file:
            for n, unit in enumerate(units):
                seen = np.flatnonzero(self.observed[unit, trial])
                times, sizes = around(self._spikes(file, unit), self.onsets[trial[seen]], edges)
                found.append(times)
                lengths.append(sizes)
                places.append(np.stack([row[seen], np.full(len(seen), n), repeat[seen]]))
        spikes, first = np.concatenate([np.zeros(0), *found]), np.cumsum(np.concatenate(lengths))
        shape = (table.shape[0], len(units), table.shape[1])
        return counts(Trials(spikes, first, *np.concatenate(places, axis=1)), edges, shape, self.rate)

    def _spikes(self, file: h5py.File, unit: int) -> Times:
        times = file["units/spike_times"][self.first[unit] : self.first[unit + 1]].astype(np.float64)
        if not np.isfinite(times).all():
            raise InputError(f"{self.path}: units/spike_times of row {unit} holds times that are no numbers")
        return np.sort(times)


def around(times: Times, onsets: Times, edges: Times) -> tuple[Times, NDArray[np.int64]]:
    """Times from each onset, of at least all spikes between the first edge and the last, and how many for each.

    times : ascending. Windows may overlap: a spike is then in several.
    """
    low = np.searchsorted(times, onsets + edges[0] - MARGIN)
    sizes = np.searchsorted(times, onsets + edges[-1] + MARGIN) - low
    places = np.arange(sizes.sum()) + np.repeat(low - np.cumsum(sizes) + sizes, sizes)
    return times[places] - np.repeat(onsets, sizes), sizes.astype(np.int64)


def read(
    path: Path,
    *,
    start: float = -0.05,
    stop: float = 0.3,
    width: float = 0.05,
    rate: bool = False,
    table: str | None = None,
    stimulus: str | None = None,
    onset: str = "start_time",
) -> Mapping[str, xr.DataArray]:
    """Spike counts, one cube for each table of presentations of a session, by its name.

    path : the .nwb file, or a folder with one of them.    start, stop, width : the bins, seconds from onset.
    table, stimulus, onset : one of the tables, and its columns; else every table with one that is usual.
    A stimulus is its file without ending, or `frame_12` where it is a number; repeats are in order of onset.
    0 is a silent trial. NaN is none, or one that is not wholly within a unit's `obs_intervals`. Units carry their
    table's columns, spikes_in_file and, of the electrodes they name, region, electrodes, and the mean x, y, z.
    Presentations carry their table's columns, as `events.event_coords` names them. Raises InputError.
    """
    path = _one_file(Path(path).expanduser())
    try:
        edges = bin_edges(start, stop, width)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    hdf5_heaps.check(path)
    with opened(path) as file:
        who = _who(path, file)
        units = _units(path, file)
        found, others = shown_in(path, file, table, stimulus, onset)
    attrs = {
        "quantity": "firing rate" if rate else "spike count",
        "units": "spikes/s" if rate else "spikes",
        "bin_width": width,
        **who,
    }
    left = [*units.left, *(f"table {one}, without stimuli" for one in others)]
    return {name: _cube(path, units, one, edges, rate, attrs, left) for name, one in found.items()}


def _units(path: Path, file: h5py.File) -> Units:
    about, left = columns(path, group(path, file, "units"), but="spike_times")
    ids = [f"u{one}" for one in about.pop("id", np.zeros(0)).tolist()]
    if not ids:
        raise InputError(f"{path}: units has no rows, or no column 'id'; it has {', '.join(file['units'])}")
    dataset(path, file, "units/spike_times", ndim=1, kinds="f", longest=MOST_SPIKES)
    first = ends(path, file["units"], "spike_times", len(ids))
    intervals = recorded(path, file["units"], len(ids))
    places = electrodes(path, file, len(ids))
    about.pop("electrodes", None)
    used = ("spike_times", "electrodes", "obs_intervals")
    return Units(
        ids,
        first,
        intervals,
        {**_free(about, places), **places, "spikes_in_file": (UNIT, np.diff(first))},
        [f"column {one} of units" for one in left if one not in used],
    )


def _cube(
    path: Path,
    units: Units,
    shown: Shown,
    edges: Times,
    rate: bool,
    attrs: Mapping[str, Any],
    left: Sequence[str],
) -> xr.DataArray:
    """The cube of one table of presentations; left : what of the session is in no cube."""
    block, stimuli, labels, none = _trials(path, shown, units, edges, rate)
    shape = (len(stimuli), len(units.ids), len(edges) - 1, block.trials.shape[1])
    left = [*left, *(f"column {one} of {shown.where}" for one in shown.left)]
    return cube_of(
        lazy(block, shape, np.float32, split=1, source=path),
        SPIKES,
        stimuli=stimuli,
        units=unique(path, "units/id", units.ids),
        time=np.round((edges[:-1] + edges[1:]) / 2, DIGITS),
        sources=[path],
        attrs=attrs,
        coords={**labels, **units.coords},
        dropped={**dict.fromkeys(left, 1), "presentations without a stimulus or an onset": none},
    )


def _trials(
    path: Path, shown: Shown, units: Units, edges: Times, rate: bool
) -> tuple[Counts, tuple[str, ...], Labels, int]:
    """The blocks of one table, its stimuli, what is known of them, and how many rows name none."""
    stems = stimulus_ids(path, shown.where, shown.stimuli)
    kept = [
        n
        for n in np.argsort(shown.onsets, kind="stable").tolist()
        if stems[n] and np.isfinite(shown.onsets[n])
    ]
    if not kept:
        raise InputError(f"{path}: {shown.where} names no stimulus with an onset")
    order = presented([stems[n] for n in kept], kept)
    inside = np.ones((len(units.ids), len(stems)), bool)
    for unit, spans in enumerate(units.intervals or ()):
        begin, end = (shown.onsets + edge for edge in (edges[0] + MARGIN, edges[-1] - MARGIN))
        inside[unit] = ((spans[:, :1] <= begin) & (end <= spans[:, 1:])).any(axis=0)
    block = Counts(path, units.first, shown.onsets, order.trials, inside, edges, rate)
    return block, order.stimuli, event_coords(order, shown.table), len(stems) - len(kept)


def _free(about: Mapping[str, NDArray[Any]], taken: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Columns of units under their names, or `unit_<name>` where a cube means something else by these."""
    other = {name for name, dims in SPIKES.optional.items() if dims != (UNIT,)} | set(CUBE) | set(taken)
    return {
        f"unit_{name}" if name in other or name.startswith(("roi_", "trial_", "event_")) else name: (
            UNIT,
            one,
        )
        for name, one in about.items()
    }


def _who(path: Path, file: h5py.File) -> dict[str, str]:
    """Dataset, subject and session. Raises InputError where the file is not of NWB 2."""
    version = file.attrs.get("nwb_version")
    if not str(version).startswith("2"):
        raise InputError(f"{path} has nwb_version {version}; wanted an NWB file of version 2")
    said = file.get(SUBJECT)
    subject = said.asstr()[()] if isinstance(said, h5py.Dataset) and said.shape == () else ""
    return {"dataset": "nwb", "subject": str(subject) or path.stem, "session": path.stem}


def _one_file(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a file {PATTERN}, or the folder that holds it")
    found = [path] if path.is_file() else sorted(path.glob(PATTERN))
    if len(found) != 1:
        raise InputError(
            f"{path} holds {len(found)} files {PATTERN}; wanted one" + (": name it" if found else "")
        )
    return found[0]


READER: Final = Reader(
    "nwb_units",
    "Spikes of sorted units around what was shown, from NWB 2 files (HDF5).",
    (PATTERN,),
    read,
)
