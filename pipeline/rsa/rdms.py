"""RDMs of a cube: one per time point, lazily, in tiles of pairs, blocks of time and stripes of units."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import tokenize

from pipeline import blocks
from pipeline.kernels import moments
from pipeline.kernels import rdm as kernels
from pipeline.kernels.triangle import Rows, pairs
from pipeline.rsa.layout import layout
from pipeline.rsa.words import choose
from stores.dims import CUBE, PAIR, REPEAT, STIMULUS, STIMULUS_A, STIMULUS_B, TIME, UNIT
from stores.errors import SchemaError


def rdm(
    cube: xr.DataArray, *, metric: kernels.Metric = "correlation", task_bytes: int = blocks.TASK_BYTES
) -> xr.DataArray:
    """Dissimilarity of every pair of stimuli at every time point: a lazy (time, pair) array, spec `rdm`.

    metric : "correlation" (1 - Pearson r), "euclidean" (squared, over the number of units) or "cosine" (1 -
    cosine), rsatoolbox's definitions. Repeats are averaged first, without NaN. A stimulus with a NaN left in
    any unit, or without a direction (constant; all zero), has NaN distances.
    task_bytes : what one task may hold; the cube is read in blocks that fit.

    Pairs are in `numpy.triu_indices(k=1)` order of the cube's own stimuli (rsatoolbox sorts them), named by
    `stimulus_a` and `stimulus_b`. Float32 values are multiplied in single precision where rounding costs
    least, and have distances in single precision; all else in double. In single precision distances are right
    to about 1e-7 of what is usual between these stimuli: of a pair that is a million times nearer than others
    nothing is known but that; doubles (`cube.astype(float)`) tell. A cube in memory is not copied, and read
    when the result is computed. Raises ValueError for an unknown metric, SchemaError for what is no cube,
    PlanError where not even the smallest task fits.
    """
    choose("metric", metric, kernels.METRICS)
    _require_cube(cube)
    plan = layout(cube, task_bytes)
    values = blocks.blocks(cube, {STIMULUS: -1, UNIT: plan.units, TIME: plan.times, REPEAT: -1})
    label = f"rdm-{metric}"
    name = f"{label}-{tokenize(values.name, metric, plan)}"
    tasks: dict[blocks.Key, Any] = {}
    for t in range(len(values.chunks[2])):
        if plan.prepared:
            tasks |= _tiles_of_prepared(name, values, t, metric, plan.rows)
        else:
            for k, rows in enumerate(plan.rows):
                tasks |= _tile(name, values, t, k, {"metric": metric, "rows": rows})
    times_read = 1 if plan.prepared else len(plan.rows)
    price = blocks.Price(peak=plan.peak, reads=blocks.read_bytes(values) * times_read)
    chunks = (values.chunks[2], tuple(pairs(cube.sizes[STIMULUS], rows) for rows in plan.rows))
    dtype = kernels.working_dtype(cube.dtype)
    data = blocks.array(name, tasks, [values], chunks=chunks, price=price, dtype=dtype)
    return _labelled(cube, data, metric)


def _tile(name: str, values: da.Array, t: int, k: int, options: dict[str, Any]) -> dict[blocks.Key, Any]:
    """Tasks of one tile at one block of times: whole at once, or a stripe of units at a time and their
    sum."""
    source = [(values.name, 0, u, t, 0) for u in range(len(values.chunks[1]))]
    if len(source) == 1:
        return {(name, t, k): (blocks.task(kernels.rdm, **options), source[0])}
    label, _, token = name.rpartition("-")
    stripe = blocks.task(moments.moments, **options)
    parts: dict[blocks.Key, Any] = {
        (f"{label}-stripe-{token}", u, t, k): (stripe, key) for u, key in enumerate(source)
    }
    return parts | blocks.tree(
        label,
        list(parts),
        out=(name, t, k),
        merge=blocks.task(moments.merge, rows=options["rows"]),
        finish=blocks.task(moments.merged_rdm, dtype=kernels.working_dtype(values.dtype), **options),
    )


def _tiles_of_prepared(
    name: str, values: da.Array, t: int, metric: str, tiles: Sequence[Rows]
) -> dict[blocks.Key, Any]:
    """Tasks of all tiles at one time, which share the patterns that tasks before them have prepared."""
    label, _, token = name.rpartition("-")
    parts: dict[blocks.Key, Any] = {
        (f"{label}-patterns-{token}", t, k): (
            blocks.task(kernels.prepare, metric=metric, rows=rows),
            (values.name, 0, 0, t, 0),
        )
        for k, rows in enumerate(tiles)
    }
    keys, made = list(parts), blocks.task(kernels.prepared_rdm)
    return parts | {(name, t, k): (made, keys[k:]) for k in range(len(tiles))}


def _require_cube(cube: xr.DataArray) -> None:
    if not isinstance(cube, xr.DataArray):
        raise SchemaError(
            f"an RDM is made from a cube, an xarray.DataArray with dims {CUBE}; this is a {type(cube).__name__}"
        )
    if cube.dims != CUBE:
        raise SchemaError(f"an RDM is made from a cube with dims {CUBE}; this array has {cube.dims}")
    if cube.dtype.kind not in "fiub":
        raise SchemaError(f"an RDM is made from real numbers; this cube holds {cube.dtype}")
    if STIMULUS not in cube.coords:
        raise SchemaError(
            "the cube has no stimulus ids, by which RDMs are compared; give it a `stimulus` coordinate"
        )
    if not (ids := cube.indexes[STIMULUS]).is_unique:
        twice = ids[ids.duplicated()].unique()
        raise SchemaError(
            f"the cube has stimuli more than once, such as {list(twice[:3])}; make repeats of them"
        )
    empty = [dim for dim in (UNIT, TIME, REPEAT) if cube.sizes[dim] == 0]
    if empty or cube.sizes[STIMULUS] < 2:
        what = f"no {' and no '.join(empty)}" if empty else f"{cube.sizes[STIMULUS]} stimuli"
        raise SchemaError(
            f"the cube has {what}; an RDM needs two stimuli, a unit, a time and a repeat at least"
        )


def _labelled(cube: xr.DataArray, data: da.Array, metric: str) -> xr.DataArray:
    a, b = pair_ids(cube.indexes[STIMULUS].tolist())
    time = cube.coords[TIME] if TIME in cube.coords else (TIME, np.zeros(cube.sizes[TIME]))
    kept = {name: cube.attrs[name] for name in _ORIGINS if name in cube.attrs}
    attrs = {"modality": "rdm", "metric": metric, "quantity": "dissimilarity", "units": "a.u."} | kept
    if "modality" in cube.attrs:
        attrs["measured"] = cube.attrs["modality"]
    rdms = xr.DataArray(data, dims=(TIME, PAIR), coords={TIME: time}, attrs=attrs, name=f"rdm-{metric}")
    # Millions of names: the usual way in would copy and inspect each of them.
    names = {name: xr.Variable(PAIR, ids, fastpath=True) for name, ids in ((STIMULUS_A, a), (STIMULUS_B, b))}
    return rdms.assign_coords(xr.Coordinates(names, indexes={}))


Ids = npt.NDArray[np.object_]
_ORIGINS = ("network", "layer", "dataset", "subject", "region")


def pair_ids(ids: Iterable[str]) -> tuple[Ids, Ids]:
    """First and second stimulus of every pair, in `numpy.triu_indices(k=1)` order; read-only."""
    return _pair_ids(tuple(ids))


@lru_cache(maxsize=1)
def _pair_ids(ids: tuple[str, ...]) -> tuple[Ids, Ids]:
    # Layers, subjects and times share their stimuli, and so these millions of names: of the last ones only, for
    # they are held as long as the process lives.
    names = np.empty(len(ids), dtype=object)
    names[:] = ids
    first = np.repeat(names, np.arange(len(names))[::-1])
    second = np.concatenate([names[i:] for i in range(1, len(names) + 1)])
    for side in (first, second):
        side.flags.writeable = False
    return first, second
