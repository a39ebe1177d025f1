"""Small cubes and RDM stacks for the tests of RSA."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pipeline import rsa
from stores.dims import CUBE, SUBJECT

REFERENCE = "reference/reference_vectors.npz"


def cube(values: npt.NDArray[Any], **attrs: str) -> xr.DataArray:
    """`values` (stimulus, unit, time, repeat) with ids."""
    stimuli, units, times, repeats = values.shape
    coords: dict[str, Any] = {
        "stimulus": np.array([f"s{i:02d}" for i in range(stimuli)], dtype=object),
        "unit": np.array([f"u{i:02d}" for i in range(units)], dtype=object),
        "time": np.arange(times) * 0.01,
        "repeat": np.arange(repeats),
    }
    common = {"modality": "meg_epochs", "quantity": "field", "units": "T", "dataset": "made up"}
    return xr.DataArray(values, dims=CUBE, coords=coords, attrs=common | attrs, name="made-up")


def patterns(seed: int, shape: tuple[int, int, int, int], *, missing: float = 0.0) -> npt.NDArray[np.float64]:
    """Random patterns; a fraction `missing` of the trials of a stimulus and unit is NaN."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    values[rng.random(shape) < missing] = np.nan
    return values


def stack(cubes: Sequence[xr.DataArray], **options: Any) -> xr.DataArray:
    """RDMs of several subjects, spec `rdm_stack`."""
    subjects = np.array([f"sub-{i}" for i in range(len(cubes))], dtype=object)
    rdms = [rsa.rdm(one, **options) for one in cubes]
    stacked = xr.concat(rdms, xr.Variable(SUBJECT, subjects), coords="minimal", compat="override")
    return stacked.assign_attrs(modality="rdm_stack")
