"""Trials of several runs as one labelled cube."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.preprocess.epochs import KEPT, Epoched
from pipeline.preprocess.raw import of_kind
from pipeline.preprocess.settings import BANDS, CleanSettings, EpochSettings, Kind
from pipeline.preprocess.slots import ABSENT, Repeats, RunValues, Slots, placed, slots, states
from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import InputError, SchemaError
from stores.validate import validate

STATE: Final = "trial_state"
_QUANTITY: Final[Mapping[Kind, tuple[str, str, str]]] = {
    "mag": ("meg_epochs", "magnetic field", "T"),
    "grad": ("meg_epochs", "magnetic field gradient", "T/m"),
    "eeg": ("eeg_epochs", "potential", "V"),
}


def epochs_cube(
    runs: Sequence[Epoched], *, kind: Kind, subject: str, dataset: str, repeats: Repeats = "by run"
) -> xr.DataArray:
    """The cube (stimulus, channel, time, repeat) of the trials of one person, in memory.

    Repeats carry `run` and `session` if they go by run, else `trial_run` and `trial_session` say it for each
    stimulus and repeat. `trial_state` is "kept", "absent" or why a trial was dropped: its values are NaN then.
    `attrs["dropped"]` counts events that were no trials and dropped trials, by reason.
    Raises InputError where runs differ in channels or times, or have no channel of this kind.
    """
    if not runs:
        raise InputError("no runs were given; wanted one at least")
    places = slots([one.trials.stimuli for one in runs], [(one.run, one.session) for one in runs], repeats)
    axes = same_axes([Axes.of(one.epochs, one.times, kind, f"run {one.run}") for one in runs])
    results = [RunValues({kind: one.values(kind)}, one.states) for one in runs]
    shape = (len(places.stimuli), len(axes.channels), len(axes.times), places.count)
    parts = places.parts(slice(0, shape[0]), slice(0, shape[3]))
    results = [results[part.run] for part in parts]
    cube = labelled(
        placed(results, parts, kind, shape),
        states(results, parts, (shape[0], shape[3])),
        places,
        axes,
        {"subject": subject, "dataset": dataset, "dropped": left_out([one.trials.left_out for one in runs])},
        runs[0].band,
    )
    return count_dropped(cube)


def count_dropped(cube: xr.DataArray) -> xr.DataArray:
    """The cube with dropped trials counted by reason in `attrs["dropped"]`; `trial_state` must be computed."""
    if STATE not in cube.coords or cube[STATE].chunks is not None:
        raise SchemaError(
            f"the cube has no computed {STATE!r}; wanted what `epochs_cube` or `.compute()` gives"
        )
    found = Counter(one for one in cube[STATE].values.ravel().tolist() if one not in (KEPT, ABSENT))
    known = {why: count for why, count in cube.attrs.get("dropped", {}).items() if why not in found}
    return cube.assign_attrs(dropped=known | dict(sorted(found.items())))


@dataclass(frozen=True)
class Axes:
    """Channels of one kind, where they are (in metres), and times, of one run."""

    kind: Kind
    channels: tuple[str, ...]
    places: NDArray[np.float64]
    times: NDArray[np.float64]
    name: str

    @classmethod
    def of(cls, recording: Any, times: NDArray[np.float64], kind: Kind, name: str) -> "Axes":
        """Those of a recording or of epochs; bad channels included."""
        names = of_kind(recording, kind, bads=True)
        if not names:
            raise InputError(f"{name} has no channels of the kind {kind!r}")
        places = [recording.info["chs"][recording.ch_names.index(one)]["loc"][:3] for one in names]
        return cls(kind, tuple(names), np.array(places, np.float64), times, name)


def same_axes(runs: Sequence[Axes]) -> Axes:
    """The axes that all runs share. Raises InputError naming the first run that differs, and in what."""
    first = runs[0]
    for one in runs[1:]:
        if one.channels != first.channels:
            odd = sorted(set(one.channels) ^ set(first.channels))
            what = f"such as {odd[0]!r} in one of them alone" if odd else "in another order"
            raise InputError(
                f"{first.name} has {len(first.channels)} {first.kind} channels and {one.name} "
                f"{len(one.channels)}, {what}; wanted the same"
            )
        if not np.array_equal(one.times, first.times):
            raise InputError(
                f"{first.name} has {len(first.times)} times and {one.name} {len(one.times)}, or others; wanted "
                "the same sampling rate in all runs, or EpochSettings(resample=)"
            )
    return first


def labelled(
    values: Any, state: Any, places: Slots, axes: Axes, attrs: Mapping[str, Any], band: str = ""
) -> xr.DataArray:
    """The cube with its labels, checked."""
    modality, quantity, units = _QUANTITY[axes.kind]
    if band:
        quantity = f"envelope of the {quantity}, {band} {BANDS[band][0]:g}-{BANDS[band][1]:g} Hz"
    names = _texts(axes.channels)
    coords: dict[str, Any] = {
        STIMULUS: _texts(places.stimuli),
        UNIT: names,
        TIME: axes.times,
        REPEAT: np.arange(values.shape[3]),
        "channel": (UNIT, names),
        "channel_type": (UNIT, _texts([axes.kind] * len(names))),
        STATE: ((STIMULUS, REPEAT), state),
        **_runs_of(places, values.shape[0], values.shape[3]),
    }
    if np.isfinite(axes.places).all() and axes.places.any():
        coords |= {name: (UNIT, axes.places[:, n]) for n, name in enumerate("xyz")}
    made = {"modality": modality, "quantity": quantity, "units": units, **attrs}
    return validate(xr.DataArray(values, dims=CUBE, coords=coords, attrs=made))


def left_out(found: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Counts of several runs, together."""
    total: Counter[str] = Counter()
    for one in found:
        total.update(one)
    return dict(sorted(total.items()))


def settings_of(clean: CleanSettings, epoch: EpochSettings) -> dict[str, Any]:
    """The settings as plain data, for attributes and content keys."""
    return {"clean": asdict(clean), "epoch": asdict(epoch)}


def _runs_of(places: Slots, stimuli: int, repeats: int) -> dict[str, Any]:
    if places.per_run is not None:
        named = [run for run, size in zip(places.runs, places.per_run, strict=True) for _ in range(size)]
        return {
            name: (REPEAT, _texts([one[n] for one in named])) for n, name in enumerate(("run", "session"))
        }
    found = {}
    for n, name in enumerate(("trial_run", "trial_session")):
        table = np.full((stimuli, repeats), "", object)
        for rows, at, run in zip(places.rows, places.repeats, places.runs, strict=True):
            table[rows, at] = run[n]
        found[name] = ((STIMULUS, REPEAT), table)
    return found


def _texts(values: Sequence[str]) -> NDArray[np.object_]:
    found = np.empty(len(values), object)
    found[:] = list(values)
    return found
