"""Multivariate noise normalisation: channels made independent and equally noisy, from training stimuli alone."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
import xarray as xr
from dask.base import tokenize

from pipeline import blocks
from pipeline.errors import VerbError
from pipeline.kernels import whitening as kernels
from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import SchemaError

FROM: Final = "from_unit"
"""The channel that goes in, where UNIT is the one that comes out."""


def whitener(
    cube: xr.DataArray,
    *,
    train: Iterable[str] | Literal["all"],
    noise: kernels.Noise = "trials",
    shrinkage: kernels.Shrinkage = "shrinkage_diag",
    task_bytes: int = blocks.TASK_BYTES,
) -> xr.DataArray:
    """sigma^(-1/2), a lazy (unit, from_unit) array, sigma being the noise covariance between channels.

    sigma = mean over times of the shrunk covariance at each (Guggenmos et al. 2018, "epoch"), of
    noise : "trials": what is left of trials after the mean of their stimulus is taken out, pooled over stimuli;
    needs stimuli seen twice. "baseline": all trials before 0 s, less their mean.
    shrinkage : "shrinkage_diag", "shrinkage_eye", "diag" or "full", as in rsatoolbox.
    train : ids of the stimuli it may learn from; the others are not read. "all" only where nothing is tested.
    Raises VerbError for unknown or no stimuli and a cube without baseline; ValueError, when computing, where no
    complete trials are left.
    """
    _check(cube)
    for word, known in ((noise, kernels.Noise), (shrinkage, kernels.Shrinkage)):
        if word not in get_args(known):
            raise ValueError(f"unknown word {word!r}; choose one of {', '.join(get_args(known))}")
    used = cube.sel({STIMULUS: _train(cube, train)})
    if noise == "baseline":
        used = used.isel({TIME: used[TIME].values < 0})
        if not used.sizes[TIME]:
            raise VerbError(f"the cube begins at {cube[TIME].values[0]:g} s; a baseline needs times before 0")
    elif used.sizes[REPEAT] < 2:
        raise VerbError(
            'stimuli were seen once; noise between trials needs repeats, or take noise="baseline"'
        )
    units = used.sizes[UNIT]
    at_once = 8 * used.sizes[STIMULUS] * units * used.sizes[REPEAT]
    fixed = 3 * at_once + 48 * units**2
    values = blocks.blocks(
        used,
        {STIMULUS: -1, UNIT: -1, TIME: max(1, (task_bytes - fixed) // at_once), REPEAT: -1},
    )
    name = f"whitener-{tokenize(values.name, noise, shrinkage)}"
    label, token = name.split("-")
    kernel = blocks.task(kernels.covariances, noise=noise, shrinkage=shrinkage)
    tasks: dict[blocks.Key, Any] = {
        (f"{label}-covariance-{token}", t): (kernel, (values.name, 0, 0, t, 0))
        for t in range(len(values.chunks[2]))
    }
    tasks |= blocks.tree(label, list(tasks), out=(name, 0, 0), merge=_merge, finish=blocks.task(_finish))
    peak = fixed + at_once * max(values.chunks[2])
    price = blocks.Price(peak=peak, reads=blocks.read_bytes(values))
    data = blocks.array(name, tasks, [values], chunks=((units,), (units,)), price=price)
    ids = cube[UNIT].values
    attrs = {"noise": noise, "shrinkage": shrinkage, "train_stimuli": used.sizes[STIMULUS]}
    return xr.DataArray(data, dims=(UNIT, FROM), coords={UNIT: ids, FROM: ids}, attrs=attrs, name="whitener")


def whiten(cube: xr.DataArray, by: xr.DataArray) -> xr.DataArray:
    """sum_v W_uv x_v for every trial and time: a lazy cube, in units of the noise.

    by : what `whitener` gave, of this cube or of a sibling with the same channels, in any order.
    A trial with a NaN in any channel is NaN. Raises VerbError where channels differ.
    """
    _check(cube)
    ids = cube[UNIT].values
    if odd := sorted(set(ids) ^ set(by[UNIT].values)):
        raise VerbError(f"the cube and the whitener differ in {len(odd)} channels, such as {odd[0]!r}")
    weights = by.sel({UNIT: ids, FROM: ids})
    one = 8 * cube.sizes[UNIT] * cube.sizes[TIME]
    values = blocks.blocks(cube, {STIMULUS: max(1, 2**25 // one), UNIT: -1, REPEAT: 1})
    matrix = blocks.blocks(weights, {UNIT: -1, FROM: -1})
    block = 8 * math.prod(max(sizes) for sizes in values.chunks)
    data = blocks.mapped(
        "whiten",
        blocks.task(kernels.whitened),
        [(values, CUBE), (matrix, ("out", FROM))],
        dict.fromkeys(CUBE),
        price=blocks.Price(peak=4 * block + 8 * matrix.size, reads=blocks.read_bytes(values)),
        dtype=cube.dtype if cube.dtype.kind == "f" else np.float64,
    )
    quantity = f"whitened {cube.attrs.get('quantity', 'signal')}"
    made = {"quantity": quantity, "units": "a.u.", "whitened_with": dict(by.attrs)}
    return cube.copy(data=data).assign_attrs(made)


def _train(cube: xr.DataArray, train: Iterable[str] | Literal["all"]) -> Sequence[str]:
    ids = list(cube[STIMULUS].values)
    if isinstance(train, str):
        if train != "all":
            raise VerbError(f'train is {train!r}; wanted the ids of the training stimuli, or "all"')
        return ids
    wanted = {str(one) for one in np.asarray(list(train), object)}
    if odd := sorted(wanted - set(ids)):
        raise VerbError(f"{len(odd)} training stimuli are not in the cube, such as {odd[0]!r}")
    if not wanted:
        raise VerbError("no training stimuli were given")
    return [one for one in ids if one in wanted]


def _check(cube: xr.DataArray) -> None:
    if cube.dims != CUBE or cube.dtype.kind not in "fiu":
        raise SchemaError(f"wanted a cube of numbers with dims {CUBE}; this is {cube.dtype} {cube.dims}")


def _merge(parts: Sequence[kernels.Covariances]) -> kernels.Covariances:
    total = parts[0].total.copy()
    for one in parts[1:]:
        total += one.total
    return kernels.Covariances(total, sum(one.times for one in parts))


def _finish(parts: Sequence[kernels.Covariances]) -> kernels.Doubles:
    return kernels.whitener(_merge(parts))
