"""Spike counts as rates, in wider bins, and averaged over trials (PSTH).

A silent trial counts as zero, a trial that was not presented (NaN) not at all.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from pipeline import blocks
from pipeline.errors import VerbError
from pipeline.kernels import spikes as kernels
from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import SchemaError
from stores.specs import SPIKES

COUNTS: Final = "spikes"
RATES: Final = "spikes/s"
WIDTH: Final = "bin_width"
DIGITS: Final = 9
"""Times are on a grid of nanoseconds, as in `stores.readers.spikes`."""
AT_ONCE: Final = 2**24


def rates(cube: xr.DataArray) -> xr.DataArray:
    """Spikes a second, ``n / width``: a lazy cube of the same shape; one of rates is returned as it is.

    Raises SchemaError for another modality, VerbError where the width of the bins is unknown.
    """
    width = _width(cube)
    if cube.attrs["units"] == RATES:
        return cube
    return (cube / width).assign_attrs(cube.attrs | {"quantity": "firing rate", "units": RATES, WIDTH: width})


def rebin(cube: xr.DataArray, width: float) -> xr.DataArray:
    """Bins of `width` seconds, each of whole old ones: counts are added, rates averaged; a lazy cube.

    Every spike stays: nothing is cut at the end. Narrower bins, or others that do not fit, need the spike times:
    give the reader another width. Time is the centre of each bin. Raises as `rates`, and VerbError where the
    bins do not fit, with widths that do.
    """
    old = _width(cube)
    bins, factor = cube.sizes[TIME], round(width / old) if np.isfinite(width) else 0
    if factor < 1 or abs(factor * old - width) > 1e-6 * old or bins % factor:
        fitting = ", ".join(f"{n * old:g}" for n in range(1, bins + 1) if bins % n == 0)
        raise VerbError(
            f"{bins} bins of {old:g} s cannot be joined to bins of {width:g} s; these widths fit: {fitting}. For "
            "others bin the spike times anew, where the reader has them"
        )
    edge = cube[TIME].values.reshape(-1, factor)
    centre = np.round((edge[:, 0] + edge[:, -1]) / 2, DIGITS)
    mean = cube.attrs["units"] == RATES
    dtype = cube.dtype if cube.dtype.kind == "f" else np.dtype(np.float64 if mean else np.int64)
    data = _mapped("rebin", kernels.join_bins, cube, {TIME: len(centre)}, dtype, factor=factor, mean=mean)
    kept = {name: one.variable for name, one in cube.coords.items() if TIME not in one.dims}
    attrs = cube.attrs | {WIDTH: round(width, DIGITS)} | _dropped(cube, TIME, "bins")
    return xr.DataArray(data, dims=CUBE, coords=kept | {TIME: centre}, attrs=attrs, name=cube.name)


def psth(cube: xr.DataArray) -> xr.DataArray:
    """The peri-stimulus time histogram: spikes a second over all trials there were of each stimulus.

    A lazy cube with one repeat, ``sum_r n[r] / (R width)``; NaN where a unit has no trial (`presented` counts
    them). Labels of single trials are dropped and said. Raises as `rates`, and for a cube of rates.
    """
    width = _width(cube)
    if cube.attrs["units"] != COUNTS:
        raise VerbError(f"a PSTH is made of counts; the cube's units are {cube.attrs['units']!r}")
    data = _mapped("psth", kernels.mean_of_trials, cube, {REPEAT: 1}, np.dtype(np.float64), width=width)
    kept = {name: one.variable for name, one in cube.coords.items() if REPEAT not in one.dims}
    attrs = cube.attrs | {"quantity": "mean firing rate", "units": RATES, WIDTH: width}
    attrs |= _dropped(cube, REPEAT, "trials")
    return xr.DataArray(data, dims=CUBE, coords=kept | {REPEAT: [0]}, attrs=attrs, name=cube.name)


def presented(cube: xr.DataArray) -> xr.DataArray:
    """How many trials each unit has of each stimulus, silent ones included: lazy, (stimulus, unit)."""
    _width(cube)
    first = cube.isel({TIME: slice(0, 1)})
    values = blocks.blocks(first, _sizes(first))
    data = blocks.mapped(
        "presented",
        kernels.presented,
        [(values, CUBE)],
        {STIMULUS: None, UNIT: None},
        price=blocks.Price(peak=4 * _largest(values), reads=blocks.read_bytes(values)),
        dtype=np.int64,
    )
    kept = {name: one.variable for name, one in cube.coords.items() if set(one.dims) <= {STIMULUS, UNIT}}
    return xr.DataArray(
        data, dims=(STIMULUS, UNIT), coords=kept, attrs={"quantity": "trials"}, name="presented"
    )


def _width(cube: xr.DataArray) -> float:
    """Width of the bins in seconds, from `attrs` and times, which must agree."""
    if cube.dims != CUBE or cube.attrs.get("modality") != SPIKES.name:
        raise SchemaError(
            f"wanted a cube of {SPIKES.name} with dims {CUBE}; this is {cube.attrs.get('modality')!r} {cube.dims}"
        )
    if cube.attrs.get("units") not in (COUNTS, RATES):
        raise SchemaError(f"attrs['units'] is {cube.attrs.get('units')!r}; wanted {COUNTS!r} or {RATES!r}")
    steps = np.diff(cube[TIME].values)
    told = cube.attrs.get(WIDTH, round(float(steps[0]), DIGITS) if len(steps) else None)
    if told is None or not told > 0:
        raise VerbError(f"the width of the one bin is unknown; wanted attrs[{WIDTH!r}] in seconds")
    if len(steps) and np.abs(steps - told).max() > 1e-6 * told:
        raise VerbError(
            f"bins are {told:g} s wide, but their centres lie {steps.min():g} to {steps.max():g} s apart; wanted "
            "bins side by side, of one width"
        )
    return float(told)


def _mapped(
    label: str,
    kernel: Callable[..., Any],
    cube: xr.DataArray,
    new: Mapping[str, int],
    dtype: Any,
    **options: Any,
) -> Any:
    """`kernel` over blocks with whole trials; the result has `new` sizes along its changed dims."""
    values = blocks.blocks(cube, _sizes(cube))
    return blocks.mapped(
        label,
        blocks.task(kernel, **options),
        [(values, CUBE)],
        {dim: new.get(dim) for dim in CUBE},
        price=blocks.Price(peak=6 * _largest(values), reads=blocks.read_bytes(values)),
        dtype=dtype,
    )


def _sizes(cube: xr.DataArray) -> dict[str, int]:
    """Blocks of some 16 MB with all bins and trials of some units, of all stimuli if that fits."""
    one = 8 * cube.sizes[TIME] * cube.sizes[REPEAT]
    stimuli = max(1, min(cube.sizes[STIMULUS], AT_ONCE // one))
    return {STIMULUS: stimuli, UNIT: max(1, AT_ONCE // (one * stimuli)), TIME: -1, REPEAT: -1}


def _largest(values: Any) -> int:
    return 8 * math.prod(int(max(sizes)) for sizes in values.chunks)


def _dropped(cube: xr.DataArray, dim: str, what: str) -> dict[str, Any]:
    """attrs["dropped"] with the labels that lie on a dim that goes."""
    gone = [name for name, one in cube.coords.items() if dim in one.dims and name != dim]
    said = {f"label {name}, which is of single {what}": 1 for name in gone}
    return {"dropped": dict(cube.attrs.get("dropped", {})) | said} if gone else {}
