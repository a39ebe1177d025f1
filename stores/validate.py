"""The check of a cube against its spec and of what a store keeps: names every fault, reads no values of it."""

import numpy as np
import pandas as pd
import xarray as xr

from stores.dims import TIME
from stores.errors import SchemaError
from stores.specs import SPECS, Spec
from stores.storable import storing_faults

COMMON_ATTRS = ("modality", "quantity", "units")


def validate(cube: xr.DataArray, spec: Spec | None = None) -> xr.DataArray:
    """Return `cube` unchanged if it passes `spec` (its own by `attrs["modality"]`); else name all its faults.

    Reads coordinates, never values. Raises SchemaError.
    """
    spec = spec or spec_of(cube)
    if found := faults(cube, spec):
        raise SchemaError(f"not a valid {spec.name} array:\n  - " + "\n  - ".join(found))
    return cube


def spec_of(cube: xr.DataArray) -> Spec:
    """The spec that `cube.attrs["modality"]` names."""
    name = cube.attrs.get("modality")
    if not isinstance(name, str) or name not in SPECS:
        raise SchemaError(f"attrs['modality'] is {name!r}; it must be one of {sorted(SPECS)}")
    return SPECS[name]


def faults(cube: xr.DataArray, spec: Spec) -> list[str]:
    """Everything in which `cube` differs from `spec`, or that a store would change; one sentence each."""
    found = []
    if cube.dims != spec.dims:
        found.append(f"dims are {cube.dims}; wanted {spec.dims} in that order")
    if cube.dtype.kind not in spec.kinds:
        found.append(f"dtype is {cube.dtype}; wanted a kind of {', '.join(map(repr, spec.kinds))}")
    if not cube.dtype.isnative:
        found.append(f"dtype {cube.dtype} is not in native byte order; convert with `.astype`")
    found += _attr_faults(cube, spec) + _coord_faults(cube, spec) + _index_faults(cube, spec)
    return found + list(storing_faults(cube))


def _attr_faults(cube: xr.DataArray, spec: Spec) -> list[str]:
    required = {name: cube.attrs.get(name) for name in COMMON_ATTRS + spec.attrs}
    if arrays := [name for name, value in required.items() if isinstance(value, np.ndarray)]:
        return [f"attrs[{name!r}] is an array; wanted one text or number" for name in arrays]
    found = [f"attrs[{name!r}] is missing" for name, value in required.items() if value in (None, "")]
    if (modality := cube.attrs.get("modality", spec.name)) != spec.name:
        found.append(f"attrs['modality'] is {modality!r}; wanted {spec.name!r}")
    units = cube.attrs.get("units")
    if units and spec.units and units not in spec.units:
        found.append(f"attrs['units'] is {units!r}; wanted one of {spec.units}")
    return found


def _coord_faults(cube: xr.DataArray, spec: Spec) -> list[str]:
    found = [f"coordinate {name!r} is missing" for name in spec.coords if name not in cube.coords]
    for name, dims in {**spec.optional, **spec.coords}.items():
        if name in cube.coords and cube.coords[name].dims != dims:
            found.append(f"coordinate {name!r} lies on {cube.coords[name].dims}; wanted {dims}")
    for name in map(str, cube.coords):
        if name.startswith("roi_") and cube.coords[name].dtype.kind != "b":
            found.append(f"region mask {name!r} is {cube.coords[name].dtype}; wanted bool")
        if isinstance(cube.indexes.get(name), pd.MultiIndex):
            found.append(f"{name!r} is a MultiIndex, which Zarr cannot hold; use `.reset_index({name!r})`")
    return found


def _index_faults(cube: xr.DataArray, spec: Spec) -> list[str]:
    found = []
    for dim in spec.index:
        if dim in cube.dims:
            found += id_faults(cube, dim)
    if TIME in spec.dims and TIME in cube.dims:
        found += _time_faults(cube, spec)
    return found


def id_faults(cube: xr.DataArray, dim: str) -> list[str]:
    """What is wrong with the ids along `dim`: absent, not text, missing, repeated or empty."""
    if dim not in cube.coords:
        return [f"{dim!r} has no ids; wanted one unique string for each"]
    ids = cube.indexes[dim]
    # pandas guesses: an object index of str is "string", one with numbers among them is "mixed".
    if len(ids) and pd.api.types.infer_dtype(ids, skipna=False) != "string":
        return [f"ids of {dim!r} are {ids.inferred_type}; wanted strings, never numbers or positions"]
    if missing := int(ids.isna().sum()):  # pandas' own strings are "string" with some missing, too
        return [f"{missing} ids of {dim!r} are missing; wanted one unique string for each"]
    found = []
    if repeated := list(ids[ids.duplicated()].unique()[:3]):
        found.append(f"{int(ids.duplicated().sum())} ids of {dim!r} are not unique, such as {repeated}")
    if (ids == "").any():
        found.append(f"{int((ids == '').sum())} ids of {dim!r} are empty")
    return found


def _time_faults(cube: xr.DataArray, spec: Spec) -> list[str]:
    if TIME not in cube.coords:
        return ["'time' has no values; wanted seconds from stimulus onset"]
    time = cube.coords[TIME].values
    if time.dtype != np.float64:
        return [f"'time' is {time.dtype}; wanted float64 seconds"]
    if spec.timeless and (len(time) != 1 or time[0] != 0.0):
        return [f"'time' is {time[:3]} (n={len(time)}); a {spec.name} array has the single time 0.0"]
    if not (np.isfinite(time).all() and (np.diff(time) > 0).all()):
        return ["'time' is not finite and increasing"]
    return []
