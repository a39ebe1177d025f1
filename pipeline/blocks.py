"""The few ways of mapping a kernel over labelled Dask blocks.

Every graph is written out here, task by task, so that three things hold for all verbs: the order of every
sum is fixed by the graph alone, BLAS runs one thread inside a task, and each layer carries its price
(`Price`) for the plan.
"""

import itertools
import math
import operator
import threading
import uuid
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from typing import Any, Final

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.linalg  # noqa: F401 - its BLAS must be loaded to be held to one thread
import xarray as xr
from dask.array.core import normalize_chunks, slices_from_chunks
from dask.base import tokenize
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.utils import key_split
from threadpoolctl import ThreadpoolController

from pipeline.errors import PlanError
from stores import reblock

TASK_BYTES: Final = 256 * 2**20
"""What one task may hold at its peak unless the verb is told otherwise: four fit a worker of 2 GB with room
to spare."""
TASKS_AT_MOST: Final = 50_000
FAN_IN: Final = 4
"""Partial sums that one task adds."""
PRICE: Final = "neurocube_price"
"""The annotation that holds a layer's price; plain numbers, since schedulers may see it."""
MOVES: Final = frozenset(("rechunk-merge", "rechunk-split", "getitem", "transpose", "concatenate", "stack"))
"""Dask's layers that only cut and join blocks."""

Key = tuple[Any, ...]
Kernel = Callable[..., Any]


@dataclass(frozen=True)
class Price:
    """peak : bytes that the hungriest task of a layer holds at once.  reads : bytes that the layer reads."""

    peak: int
    reads: int = 0


def blocks(cube: xr.DataArray, sizes: Mapping[str, int]) -> da.Array:
    """The values of `cube` in Dask blocks of `sizes` (-1: whole); dims not named keep theirs.

    Computes nothing, and copies nothing: values in memory are those that are there when the result is computed.
    """
    if cube.chunks is not None:  # without coordinates, which would be cut as well, at a cost
        bare = reblock(cube.drop_vars(list(cube.coords)), sizes).variable
    else:
        name = f"in-memory-{uuid.uuid4().hex}"  # no fingerprint, for which all values would be read
        if cube.variable._in_memory:  # else a file opened without blocks, which asking for values would read
            return _views(name, cube.values, tuple(sizes.get(str(dim), -1) for dim in cube.dims))
        bare = cube.variable.chunk(dict(sizes), name=name)
    data: da.Array = bare.data
    return data


def _views(name: str, values: npt.NDArray[Any], sizes: tuple[int, ...]) -> da.Array:
    """Views of `values` as blocks; Dask's own way copies all of them."""
    chunks = normalize_chunks(sizes, values.shape, dtype=values.dtype)  # type: ignore[no-untyped-call]
    keys = itertools.product([name], *(range(len(chunk)) for chunk in chunks))
    slices = slices_from_chunks(chunks)  # type: ignore[no-untyped-call]
    tasks = {key: values[at] for key, at in zip(keys, slices, strict=True)}
    return da.Array(tasks, name, chunks, dtype=values.dtype)  # type: ignore[no-untyped-call]


def task(kernel: Kernel, **options: Any) -> Kernel:
    """`kernel` with its options, to run as a task: with one BLAS thread."""
    return partial(_alone, partial(kernel, **options) if options else kernel)


def tree(name: str, parts: Sequence[Key], *, out: Key, merge: Kernel, finish: Kernel) -> dict[Key, Any]:
    """Tasks that bring `parts` together in a fixed order and leave `finish(last few)` under the key `out`.

    merge, finish : from a list of parts, to a part and to the result.
    """
    tasks: dict[Key, Any] = {}
    level = 0
    while len(parts) > FAN_IN:
        merged = []
        for i, few in enumerate(_few(parts)):
            key = (f"{name}-merge-{out[0].rpartition('-')[2]}", level, i, *out[1:])
            tasks[key] = (merge, list(few))
            merged.append(key)
        parts, level = merged, level + 1
    tasks[out] = (finish, list(parts))
    return tasks


def array(
    name: str,
    tasks: Mapping[Key, Any],
    sources: Sequence[da.Array],
    *,
    chunks: tuple[tuple[int, ...], ...],
    price: Price,
    dtype: npt.DTypeLike = np.float64,
) -> da.Array:
    """A lazy array from tasks whose results lie under `(name, *block index)`. Raises PlanError for too
    many."""
    if len(tasks) > TASKS_AT_MOST:
        raise PlanError(
            f"{name.rpartition('-')[0]} would take {len(tasks):,} tasks; a scheduler bears about "
            f"{TASKS_AT_MOST:,}. Give each task more memory (`task_bytes`), or ask of fewer times, units or "
            "stimuli."
        )
    layer = MaterializedLayer(dict(tasks), annotations={PRICE: asdict(price)})
    graph = HighLevelGraph.from_collections(name, layer, dependencies=sources)  # type: ignore[arg-type]
    return da.Array(graph, name, chunks=chunks, dtype=dtype)  # type: ignore[no-untyped-call]


def mapped(
    label: str,
    kernel: Kernel,
    inputs: Sequence[tuple[da.Array, Sequence[Hashable]]],
    out: Mapping[Hashable, int | None],
    *,
    price: Price,
    dtype: npt.DTypeLike = np.float64,
) -> da.Array:
    """One task per block of the result, as `dask.array.blockwise`; dims absent from `out` are one block each.

    inputs : arrays with the names of their dims.  out : the result's dims in order; a size where the dim is
    new (made whole by every task), None where blocks follow the inputs.
    """
    along = {dim: chunk for x, dims in inputs for dim, chunk in zip(dims, x.chunks, strict=True)}
    chunks = tuple(along[dim] if size is None else (size,) for dim, size in out.items())
    name = f"{label}-{tokenize(kernel, [x.name for x, _ in inputs], list(out.items()))}"
    tasks: dict[Key, Any] = {}
    for index in itertools.product(*(range(len(chunk)) for chunk in chunks)):
        at = dict(zip(out, index, strict=True))
        tasks[name, *index] = (kernel, *((x.name, *(at.get(dim, 0) for dim in dims)) for x, dims in inputs))
    return array(name, tasks, [x for x, _ in inputs], chunks=chunks, price=price, dtype=dtype)


def priced(*arrays: da.Array) -> list[Price]:
    """The prices of all layers of lazy arrays that have one; a layer that several share counts once."""
    layers = {name: layer for x in arrays for name, layer in x.dask.layers.items()}
    return [Price(**layer.annotations[PRICE]) for layer in layers.values() if _has_price(layer)]


def unpriced(*arrays: da.Array) -> list[tuple[int, int]]:
    """Of each layer without a price: bytes of its largest block, and of all that one of its tasks takes and
    gives (0 where it reads, cuts or joins blocks, and works on none)."""
    found: dict[str, tuple[int, int]] = {}
    for x in arrays:
        layers = x.dask.layers
        for name in layers.keys() - found.keys():
            if (own := _block_bytes(layers[name])) and not _has_price(layers[name]):
                taken = sum(_block_bytes(layers[before]) for before in x.dask.dependencies[name])
                found[name] = own, own + taken if taken and key_split(name) not in MOVES else 0
    return list(found.values())


def read_bytes(*sources: da.Array) -> int:
    """Bytes of the blocks at the roots of the graphs of `sources`, which must be read to have these; none for
    what priced layers make, which count their own."""
    return sum(_root_bytes(x) for x in sources)


def _root_bytes(x: da.Array) -> int:
    layers, before = x.dask.layers, x.dask.dependencies
    roots, left = set(), {x.name}
    seen: set[str] = set()
    while left:
        seen.add(name := left.pop())
        if _has_price(layers[name]):
            continue
        if made_from := {other for other in before[name] if _block_bytes(layers[other])}:
            left |= made_from - seen
        else:
            roots.add(name)
    if roots <= {x.name}:
        return int(x.nbytes) * len(roots)
    needed = x.dask.cull(set(flatten(x.__dask_keys__()))).get_all_external_keys()  # type: ignore[no-untyped-call]
    return sum(_block_bytes(layers[key[0]], key[1:]) for key in needed if key[0] in roots)


def _has_price(layer: Layer) -> bool:
    return PRICE in (layer.annotations or {})


def _block_bytes(layer: Layer, index: tuple[int, ...] | None = None) -> int:
    """Bytes of one block of the array that a layer makes, by default the largest; 0 where it makes none."""
    made = layer.collection_annotations or {}  # Dask's own notes on the array
    if "chunks" not in made:
        return 0
    shape = made["chunksize"] if index is None else map(operator.getitem, made["chunks"], index)
    return int(math.prod(shape) * np.dtype(made["dtype"]).itemsize)


def _few(parts: Sequence[Key]) -> Iterator[Sequence[Key]]:
    return (parts[i : i + FAN_IN] for i in range(0, len(parts), FAN_IN))


def _alone(kernel: Kernel, *values: Any) -> Any:
    with one_blas_thread():
        return kernel(*values)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, BLAS uses one thread: Dask fills the cores, and sums come out the same bit for bit on any of them.

    Double-precision products differ in their last bits between one BLAS thread and two. The setting is the
    process's own, so it is taken by the first task that runs and given back by the last.
    """
    with _held.lock:
        if not _held.tasks:
            _held.before = [(library, library.get_num_threads()) for library in _blas()]
            _set_threads([(library, 1) for library, _ in _held.before])
        _held.tasks += 1
    try:
        yield
    finally:
        with _held.lock:
            _held.tasks -= 1
            if not _held.tasks:
                _set_threads(_held.before)


@dataclass
class _Held:
    """How many tasks of this process hold BLAS to one thread, and what it had before the first."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    tasks: int = 0
    before: list[tuple[Any, int]] = field(default_factory=list)


_held = _Held()


@cache
def _blas() -> list[Any]:
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_threads(threads: Sequence[tuple[Any, int]]) -> None:
    for library, count in threads:
        # threadpoolctl obeys one Python thread of a process and ignores all others without a word; tasks run
        # in any thread, and the count above is what keeps them from fighting.
        getattr(library, "_real_set_num_threads", library.set_num_threads)(count)
