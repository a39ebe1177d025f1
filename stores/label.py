"""Behaviour and labels as coordinates of another cube, joined by id."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from stores.align import near_misses
from stores.dims import REPEAT, STIMULUS, TIME, UNIT
from stores.errors import AlignError
from stores.validate import id_faults


def label(
    cube: xr.DataArray, source: xr.DataArray, *names: str, by: str = STIMULUS, missing: str = "NA"
) -> xr.DataArray:
    """`cube` with scores and labels of its stimuli as coordinates; no stimulus is dropped, none is reordered.

    source : a cube of scores, whose stimuli are those of `cube`; or concepts, with `by="concept"`.
    names : its measures (units) or coordinates along stimuli; without any, all measures and every such
    coordinate that `cube` does not have.
    by : the coordinate of `cube` that holds the ids of `source`.
    A stimulus without an entry gets `missing`, or NaN in place of a number; how many do is kept in
    `attrs["unmatched"]`, by name. Loads the values of `source`, never those of `cube`.
    Raises AlignError where ids repeat, where nothing matches, where a name is unknown or taken.
    """
    if by not in cube.coords or cube[by].dims != (STIMULUS,):
        raise AlignError(f"the cube has no coordinate {by!r} along its stimuli; it has {_along(cube)}")
    if found := id_faults(source, STIMULUS):
        raise AlignError("the source of labels cannot be joined by id: " + "; ".join(found))
    measures = [str(one) for one in source[UNIT].values] if UNIT in source.dims else []
    names = names or (*measures, *(one for one in _along(source) if one not in cube.coords))
    for name in names:
        if name not in measures and name not in _along(source):
            raise AlignError(
                f"the source has no {name!r}; it has the measures {measures[:8]} and coordinates {_along(source)}"
            )
        if name in cube.coords:
            raise AlignError(
                f"the cube has a coordinate {name!r} already; drop it first, or leave {name!r} out"
            )
    wanted = [str(one) for one in cube[by].values]
    at = source.indexes[STIMULUS].get_indexer(pd.Index(wanted, dtype=object))
    absent = int((at < 0).sum())
    if absent == len(at):
        ids = [str(one) for one in source[STIMULUS].values]
        hint = near_misses(wanted, ids)
        raise AlignError(
            f"no {by} of the cube, such as {wanted[:1]}, is among those of the source, such as {ids[:1]}"
            + (f": {hint}" if hint else "")
        )
    unmatched = dict(cube.attrs.get("unmatched", {})) | (dict.fromkeys(names, absent) if absent else {})
    columns = {name: (STIMULUS, _taken(_column(source, name), at, missing)) for name in names}
    attrs = {"unmatched": unmatched} if unmatched else {}
    return cube.assign_coords(columns).assign_attrs(attrs)


def _along(cube: xr.DataArray) -> Sequence[str]:
    """Names of the coordinates along stimuli, beside the ids."""
    return [str(name) for name, one in cube.coords.items() if one.dims == (STIMULUS,) and name != STIMULUS]


def _column(source: xr.DataArray, name: str) -> NDArray[Any]:
    """One value for each stimulus of `source`."""
    if name in source.coords:
        return source[name].values
    if source.sizes[TIME] * source.sizes[REPEAT] != 1:
        raise AlignError(
            f"the source has {source.sizes[TIME]} times and {source.sizes[REPEAT]} repeats of {name!r}; "
            "wanted one value for each stimulus: average it first"
        )
    return source.isel({UNIT: source.indexes[UNIT].get_loc(name)}).values.ravel()


def _taken(values: NDArray[Any], at: NDArray[np.int64], missing: str) -> NDArray[Any]:
    """`values[at]`; where `at` is negative, `missing` among texts and NaN among numbers."""
    if (at >= 0).all():
        return values[at]
    if values.dtype.kind in "OUT":
        return np.where(at < 0, missing, values.astype(object)[at])
    return np.where(at < 0, np.nan, values[at])
