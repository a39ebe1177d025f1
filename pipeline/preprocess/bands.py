"""Band envelopes of cubes."""

import math
from collections.abc import Hashable, Mapping
from typing import Any, Final, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from pipeline import blocks
from pipeline.errors import VerbError
from pipeline.kernels import envelope as kernels
from pipeline.preprocess.mne_errors import silence
from pipeline.preprocess.settings import BANDS
from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import SchemaError

EVEN: Final = 1e-3
"""By what fraction of a step times may differ from evenly spaced ones."""
Edges = Literal["whole", "distorted"]
AT_ONCE: Final = 2**24


def band_envelopes(
    cube: xr.DataArray,
    bands: Mapping[str, tuple[float, float]] = BANDS,
    *,
    edges: Edges = "whole",
) -> xr.DataArray:
    """The envelope of every unit in every band: a lazy cube, its units `<unit>@<band>`, band by band.

    |x_b + i H(x_b)| of the band-passed signals, see `pipeline.kernels.envelope`. The signals must be signed:
    sensors, or source estimates before orientations are pooled. Units carry `band` and keep their labels.
    edges : a filter is longer than most trials (3.3 s, for transitions of 1 Hz), so that little of a short trial
    is free of what is assumed beyond its ends. "whole" refuses such a cube; "distorted" takes it nonetheless.
    For trials without that fault filter the recording: `EpochSettings(band=)`.

    Raises VerbError for magnitudes, uneven times, short trials; ValueError for a band that does not fit (also
    when computing, where no value is negative).
    """
    sfreq = sampling_rate(cube, edges)
    values = blocks.blocks(cube, _sizes(cube))
    block = 8 * math.prod(max(sizes) for sizes in values.chunks)
    parts = [
        blocks.mapped(
            f"envelope-{name}",
            blocks.task(_quietly, sfreq=sfreq, band=band, axis=CUBE.index(TIME)),
            [(values, CUBE)],
            dict.fromkeys(CUBE),
            price=blocks.Price(peak=6 * block, reads=blocks.read_bytes(values)),
            dtype=cube.dtype if cube.dtype.kind == "f" else np.float64,
        )
        for name, band in bands.items()
    ]
    whole = da.concatenate(parts, axis=CUBE.index(UNIT))  # type: ignore[no-untyped-call]
    return _labelled(cube, whole, list(bands))


def _quietly(values: npt.NDArray[Any], **how: Any) -> npt.NDArray[Any]:
    with silence():
        return kernels.envelope(values, **how)


def _sizes(cube: xr.DataArray) -> dict[str, int]:
    """Blocks with whole trials, of all stimuli if that fits: filters work on some 16 MB at a time."""
    stimuli = max(1, min(cube.sizes[STIMULUS], AT_ONCE // (8 * cube.sizes[TIME])))
    units = max(1, AT_ONCE // (8 * cube.sizes[TIME] * stimuli))
    return {STIMULUS: stimuli, UNIT: units, TIME: -1, REPEAT: 1}


def sampling_rate(cube: xr.DataArray, edges: Edges) -> float:
    """Samples a second of signed signals that a band filter fits; raises as `band_envelopes`."""
    if cube.dims != CUBE:
        raise SchemaError(f"envelopes are made of a cube with dims {CUBE}; this array has {cube.dims}")
    if edges not in ("whole", "distorted"):
        raise ValueError(f"edges is {edges!r}; choose 'whole' or 'distorted'")
    quantity = str(cube.attrs.get("quantity", ""))
    if "envelope" in quantity or "magnitude" in quantity:
        raise VerbError(
            f"the cube holds {quantity!r}, which is not signed: its oscillations have twice their frequency. "
            "Take envelopes of the signed signals, before orientations are pooled"
        )
    times = cube[TIME].values
    steps = np.diff(times)
    if not len(steps) or np.ptp(steps) > EVEN * steps.mean():
        raise VerbError(
            f"the cube has {len(times)} times, unevenly spaced; wanted samples at a constant rate"
        )
    sfreq = round(float(1 / steps.mean()), 3)
    needed = kernels.filter_samples(sfreq)
    if edges == "whole" and len(times) <= needed:
        raise VerbError(
            f"a band filter is {needed / sfreq:.1f} s long and trials are {len(times) / sfreq:.1f} s: their "
            "envelopes would be made of what lies beyond their ends. Take envelopes of the recording, "
            'EpochSettings(band=), cut longer trials, or accept that: edges="distorted"'
        )
    return sfreq


def _labelled(cube: xr.DataArray, data: da.Array, bands: list[str]) -> xr.DataArray:
    names = [f"{unit}@{band}" for band in bands for unit in cube[UNIT].values]
    coords: dict[Hashable, Any] = {}
    for name, one in cube.coords.items():
        times = len(bands) if UNIT in one.dims else 1
        several = [one.variable] * times
        coords[name] = xr.Variable.concat(several, UNIT) if times > 1 else one.variable  # type: ignore[no-untyped-call]
    coords[UNIT] = (UNIT, np.array(names, object))
    coords["band"] = (UNIT, np.repeat(np.array(bands, object), cube.sizes[UNIT]))
    attrs = cube.attrs | {"quantity": f"envelope of the {cube.attrs.get('quantity', 'signal')}"}
    return xr.DataArray(data, dims=CUBE, coords=coords, attrs=attrs, name=cube.name)
