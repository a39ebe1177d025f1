"""Spike times to counts: bins of any width, silent trials as 0, trials that were not presented as NaN."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.readers.cubes import Labels, cube_of
from stores.readers.lazy import BLOCK_BYTES, Region, from_blocks, starts
from stores.specs import SPIKES

DIGITS: Final = 9  # edges and times meet on a grid of nanoseconds, so 0.1 is 3 * 0.05 - 0.05


@dataclass(frozen=True)
class Trials:
    """Ragged spike trains, trial after trial, sorted by unit: the source of truth of every binning.

    times : (spike,), seconds from stimulus onset.    first : (trial + 1,), where each trial's spikes start.
    stimulus, unit, repeat : (trial,), places on the axes of the cube; a trial without spikes is here too.
    """

    times: NDArray[np.float64]
    first: NDArray[np.int64]
    stimulus: NDArray[np.int64]
    unit: NDArray[np.int64]
    repeat: NDArray[np.int64]

    @staticmethod
    def of(
        trains: Sequence[NDArray[np.float64]],
        stimulus: Sequence[int],
        unit: Sequence[int],
        repeat: Sequence[int],
    ) -> "Trials":
        """From one array of spike times per trial, in any order of trials."""
        order = np.argsort(np.asarray(unit, np.int64), kind="stable")
        lengths = [len(trains[at]) for at in order]
        places = (np.asarray(axis, np.int64)[order] for axis in (stimulus, unit, repeat))
        return Trials(
            np.concatenate([np.empty(0), *(trains[at] for at in order)]),
            np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            *places,
        )

    def part(self, start: int, stop: int) -> "Trials":
        """The trials of units `start` to `stop`, counted from the first of them."""
        low, high = (int(np.searchsorted(self.unit, edge)) for edge in (start, stop))
        spikes = slice(int(self.first[low]), int(self.first[high]))
        return Trials(
            self.times[spikes],
            self.first[low : high + 1] - self.first[low],
            self.stimulus[low:high],
            self.unit[low:high] - start,
            self.repeat[low:high],
        )


def bin_edges(start: float, stop: float, width: float) -> NDArray[np.float64]:
    """Edges of the half-open bins [start, start + width), ... up to `stop`, (bin + 1,).

    Raises ValueError where the window is not a whole number of bins.
    """
    if not (np.isfinite([start, stop, width]).all() and width > 0 and stop > start):
        raise ValueError(f"bins of {width} s from {start} to {stop} s: wanted width > 0 and stop > start")
    count = round((stop - start) / width)
    if count < 1 or abs(count * width - (stop - start)) > 1e-6 * width:
        raise ValueError(
            f"{start:g} to {stop:g} s are {(stop - start) / width:.4g} bins of {width:g} s; "
            f"wanted a whole number, such as stop={start + max(1, count) * width:g}"
        )
    return np.round(start + width * np.arange(count + 1), DIGITS)


def counts(
    trials: Trials, edges: NDArray[np.float64], shape: tuple[int, int, int], rate: bool = False
) -> NDArray[np.float32]:
    """Spikes per bin, ``n[k] = #{t : edges[k] <= t < edges[k + 1]}``; NaN where there was no trial.

    shape : stimuli, units, repeats.    rate : divide by the bins' widths, spikes/s.
    Returns (stimulus, unit, time, repeat), exact up to 2**24 spikes in a bin.
    """
    stimuli, units, repeats = shape
    bins = len(edges) - 1
    full = (stimuli, units, bins, repeats)
    trial = np.repeat(np.arange(len(trials.stimulus)), np.diff(trials.first))
    at = np.searchsorted(edges, _on_grid(trials.times), side="right") - 1
    inside = (at >= 0) & (at < bins)
    trial, at = trial[inside], at[inside]
    flat = np.ravel_multi_index((trials.stimulus[trial], trials.unit[trial], at, trials.repeat[trial]), full)
    found = np.bincount(flat, minlength=int(np.prod(full))).reshape(full).astype(np.float32)
    if rate:
        found /= np.diff(edges)[:, None].astype(np.float32)
    shown = np.zeros((stimuli, units, repeats), bool)
    shown[trials.stimulus, trials.unit, trials.repeat] = True
    found[~np.broadcast_to(shown[:, :, None, :], full)] = np.nan
    return found


def _on_grid(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times rounded to the grid on which the edges lie; absurd ones, beyond any edge, stay there as infinite."""
    with np.errstate(over="ignore"):
        return np.round(times, DIGITS)


@dataclass(frozen=True)
class Binned:
    """One block of units of a binned cube, with the spikes that it needs and no others."""

    trials: Trials
    edges: NDArray[np.float64]
    stimuli: int
    units: int
    repeats: int
    rate: bool

    def __call__(self, _: Region) -> NDArray[np.float32]:
        """Counts of all of this block."""
        return counts(self.trials, self.edges, (self.stimuli, self.units, self.repeats), self.rate)


def binned(
    trials: Trials,
    *,
    stimuli: Sequence[str],
    units: Sequence[str],
    start: float,
    stop: float,
    width: float,
    rate: bool,
    sources: Sequence[Path],
    attrs: Mapping[str, Any],
    coords: Labels | None = None,
    dropped: Mapping[str, int] | None = None,
) -> xr.DataArray:
    """Trials as a lazy cube of modality `spikes`; time is the centre of each bin.

    Spikes outside [start, stop) are counted in ``attrs["dropped"]``. Raises ValueError for bins that do not
    fit, InputError for ids that are not unique.
    """
    edges = bin_edges(start, stop, width)
    repeats = int(trials.repeat.max(initial=0)) + 1
    bins = len(edges) - 1
    step = max(1, BLOCK_BYTES // (4 * len(stimuli) * bins * repeats))
    sizes = tuple(min(step, len(units) - at) for at in range(0, len(units), step))
    blocks = [
        from_blocks(
            Binned(trials.part(low, high), edges, len(stimuli), high - low, repeats, rate),
            ((len(stimuli),), (high - low,), (bins,), (repeats,)),
            np.float32,
        )
        for low, high in starts(sizes)
    ]
    moments = _on_grid(trials.times)
    outside = int(((moments < edges[0]) | (moments >= edges[-1])).sum())
    return cube_of(
        da.concatenate(blocks, axis=1),  # type: ignore[no-untyped-call]
        SPIKES,
        stimuli=stimuli,
        units=units,
        time=np.round((edges[:-1] + edges[1:]) / 2, DIGITS),
        coords=coords,
        sources=sources,
        attrs={
            "quantity": "firing rate" if rate else "spike count",
            "units": "spikes/s" if rate else "spikes",
            "bin_width": width,
            **attrs,
        },
        dropped={**(dropped or {}), f"spikes outside {start:g} to {stop:g} s": outside},
    )
