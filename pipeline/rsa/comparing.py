"""Scores of RDMs against each other: labels and laziness over `kernels.comparison`."""

import math
from collections.abc import Hashable, Iterator, Sequence

import dask.array as da
import xarray as xr

from pipeline import blocks
from pipeline.errors import PlanError
from pipeline.kernels import comparison as kernels
from pipeline.plan import size
from pipeline.rsa.pairing import on_pairs_of, require_pairs
from pipeline.rsa.words import choose
from stores.dims import PAIR, TIME
from stores.errors import SchemaError

NAMES = ("the first RDM", "the second RDM")


def compare(
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    method: kernels.Method = "corr",
    task_bytes: int = blocks.TASK_BYTES,
) -> xr.DataArray:
    """Score of every RDM of `a` with every one of `b`, lazily: all their dims but `pair`.

    a, b : dims `pair` and any others. A dim of both, such as `time`, is walked together and must have the
    same values; a single time on one side stands for every time of the other. Dims of one side alone are
    combined with all of the other's: (candidate, time, pair) and (subject, time, pair) give (candidate,
    time, subject). method : "corr", "spearman", "cosine", "rho-a" or "tau-a", rsatoolbox's definitions
    (`kernels.comparison`).

    Pairs are matched by the names of their stimuli, in any order. Pairs that are NaN must be so everywhere
    and are left out; computing raises ValueError where they are not, and where distances are infinite. A
    coordinate that both sides have stays where they agree. Raises ValueError for an unknown method, other
    pairs or other values of a shared dim, SchemaError for what is no RDM or empty, PlanError where a task is
    too big.
    """
    choose("method", method, kernels.METHODS)
    for x, which in zip((a, b), NAMES, strict=True):
        require_pairs(x, which)
        if 0 in x.sizes.values():
            raise SchemaError(f"{which} is empty: it has {dict(x.sizes)}; wanted one distance at least")
    b = on_pairs_of(b, a, named=NAMES)
    order = list(dict.fromkeys(dim for dim in (*a.dims, *b.dims) if dim != PAIR))
    a, b = _one_time_for_all(a, b)
    shared = [dim for dim in a.dims if dim in b.dims and dim != PAIR]
    for dim in shared:
        _require_same(a, b, dim)
    own = [[dim for dim in x.dims if dim not in (*shared, PAIR)] for x in (a, b)]
    sides = [
        _prepared(x, sizes, shared, method) for x, sizes in _cut((a, b), shared, own, method, task_bytes)
    ]
    data = _scored(sides, shared, own, method)
    attrs = {"method": method, "quantity": "similarity", "units": "a.u."}
    dims = [*shared, *own[0], *own[1]]
    scores = xr.DataArray(data, _coords(a, b), dims, attrs=attrs, name=f"compare-{method}")
    return scores.transpose(*order)


def _one_time_for_all(a: xr.DataArray, b: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Both, where a single time of one stands for every time of the other: without that single one."""
    if TIME in a.dims and TIME in b.dims:
        if b.sizes[TIME] == 1:
            return a, b.isel({TIME: 0}, drop=True)
        if a.sizes[TIME] == 1:
            return a.isel({TIME: 0}, drop=True), b
    return a, b


def _coords(a: xr.DataArray, b: xr.DataArray) -> dict[Hashable, xr.DataArray]:
    """Of both, as xarray joins them: of different ones of one name a dim's own stays, any other goes."""
    one, other = (x.drop_vars([n for n, c in x.coords.items() if PAIR in c.dims]).coords for x in (a, b))
    dims = {*a.dims, *b.dims}
    return {n: c for n, c in one.merge(other).coords.items() if n not in dims or c.dims == (n,)}


def _require_same(a: xr.DataArray, b: xr.DataArray, dim: Hashable) -> None:
    labels = [list(x.indexes[dim]) if dim in x.indexes else list(range(x.sizes[dim])) for x in (a, b)]
    if labels[0] == labels[1]:
        return
    counts = " and ".join(f"{len(own)} beginning {own[:3]}" for own in labels)
    raise ValueError(
        f"both RDMs have {dim!r}, with different values: {counts}. Select the same ones to compare one with one, "
        "or rename the dim of one side to compare all with all."
    )


def _cut(
    sides: Sequence[xr.DataArray],
    shared: Sequence[Hashable],
    own: Sequence[Sequence[Hashable]],
    method: kernels.Method,
    task_bytes: int,
) -> Iterator[tuple[xr.DataArray, dict[Hashable, int]]]:
    """Each side with the sizes of its blocks: as many whole vectors as a task may hold; shared dims are cut
    alike."""
    rooms, cuts = [], []
    for x, dims in zip(sides, own, strict=True):
        room, cut = _room(x, method, task_bytes), {}
        for dim in dims:
            cut[dim] = max(1, min(x.sizes[dim], room))
            room //= cut[dim]
        rooms.append(room)
        cuts.append(cut)
    room, common = min(rooms), {}
    for dim in shared:
        common[dim] = max(1, min(sides[0].sizes[dim], room))
        room //= common[dim]
    return ((x, {**common, **cut}) for x, cut in zip(sides, cuts, strict=True))


def _room(x: xr.DataArray, method: kernels.Method, task_bytes: int) -> int:
    """How many vectors of `x` a task may prepare, and score with as many others."""
    pairs = x.sizes[PAIR]
    needs = [
        [kernels.prepare_bytes(n, pairs, x.dtype.itemsize, method=method) for n in (0, 1)],
        [kernels.score_bytes(n, n, pairs, method=method) for n in (0, 1)],
    ]
    if (most := max(one for _, one in needs)) > task_bytes:
        raise PlanError(
            f"RDMs of {pairs:,} pairs need {size(most)} each to be compared, and a task may hold "
            f"{size(task_bytes)}. Raise `task_bytes`, or compare fewer stimuli."
        )
    return min((task_bytes - none) // (one - none) for none, one in needs)


def _prepared(
    x: xr.DataArray, sizes: dict[Hashable, int], shared: Sequence[Hashable], method: kernels.Method
) -> da.Array:
    """Blocks of vectors made ready for products: what they hold is `kernels.Prepared`."""
    dims = [*shared, *(dim for dim in x.dims if dim not in (*shared, PAIR)), PAIR]
    values = blocks.blocks(x.transpose(*dims), {str(dim): n for dim, n in sizes.items()} | {PAIR: -1})
    peak = kernels.prepare_bytes(math.prod(sizes.values()), x.sizes[PAIR], x.dtype.itemsize, method=method)
    return blocks.mapped(
        f"compare-{method}-prepare",
        blocks.task(kernels.prepare, method=method, shared=len(shared)),
        [(values, dims)],
        dict.fromkeys(dims),
        price=blocks.Price(peak, blocks.read_bytes(values)),
    )


def _scored(
    sides: Sequence[da.Array],
    shared: Sequence[Hashable],
    own: Sequence[Sequence[Hashable]],
    method: kernels.Method,
) -> da.Array:
    """Scores of every block of one side with every block of the other that has the same shared values."""
    largest = [[max(sizes) for sizes in x.chunks[:-1]] for x in sides]
    a, b, groups = map(math.prod, (*largest, largest[0][: len(shared)]))
    peak = kernels.score_bytes(a, b, sides[0].shape[-1], groups=groups, method=method)
    return blocks.mapped(
        f"compare-{method}",
        blocks.task(kernels.score, method=method),
        [(x, [*shared, *dims, PAIR]) for x, dims in zip(sides, own, strict=True)],
        dict.fromkeys([*shared, *own[0], *own[1]]),
        price=blocks.Price(peak),
    )
