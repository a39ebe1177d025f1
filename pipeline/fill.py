"""The one writer of big cubes: missing shards become tasks, a bounded window runs, receipts come back.

A killed run leaves whole shards behind; the same call again computes the rest. With a Dask client the tasks
run on its workers, on those that offer the resource `GPU` where asked for and offered; without one they run
here, one after the other.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import dask
import dask.array as da
import distributed
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.core import flatten

from stores.target import Receipt, Region, Target
from stores.write import finish, write_region

GPU: Final = "GPU"
WINDOW_PER_THREAD: Final = 2


@dataclass(frozen=True)
class Block:
    """What one task makes: for each cube, by its name, a region of whole shards."""

    regions: Mapping[str, Region]


class Source(Protocol):
    """A pure, picklable function from a block to its values, cube by cube, so that one at a time is held."""

    def __call__(self, block: Block) -> Iterable[tuple[str, npt.NDArray[Any]]]:
        """Yield (cube name, values of its region) for every region of `block`."""


Client = distributed.Client
"""For annotations elsewhere: only this module and the top speak to a client."""

Progress = Callable[[str, int, int, int], None]
"""Called with (label, tasks done, tasks in all, bytes written) at the start and after every task."""


def fill(
    targets: Mapping[str, Target],
    blocks: Sequence[Block],
    source: Source,
    *,
    label: str = "fill",
    client: Client | None = None,
    gpu: bool = False,
    progress: Progress | None = None,
) -> int:
    """Compute what is missing of `targets` and complete them; returns how many tasks ran.

    targets : created cubes by name (`stores.writing`).  blocks : together they cover every target.
    label : the tasks' name on the dashboard.  gpu : run on workers with the resource `GPU`, if any.
    """
    open_targets = {name: target for name, target in targets.items() if not target.complete}
    todo = missing(open_targets, blocks)
    receipts: dict[str, list[Receipt]] = {name: [] for name in open_targets}
    written = 0
    if progress:
        progress(label, 0, len(todo), 0)
    for done, batch in enumerate(_run(open_targets, todo, source, label, client, gpu), start=1):
        for receipt in batch:
            receipts[receipt.cube].append(receipt)
            written += receipt.bytes
        if progress:
            progress(label, done, len(todo), written)
    for name, target in open_targets.items():
        finish(target, receipts[name])
    return len(todo)


def missing(targets: Mapping[str, Target], blocks: Sequence[Block]) -> list[Block]:
    """The blocks that are still to do, each with only the regions whose shards are not all there."""
    there = {name: target.written() for name, target in targets.items()}
    left = []
    for block in blocks:
        regions = {
            name: region
            for name, region in block.regions.items()
            if name in targets and not there[name].issuperset(targets[name].shards_of(region))
        }
        if regions:
            left.append(replace(block, regions=regions))
    return left


def shard_blocks(target: Target) -> list[Block]:
    """One block per shard of a single cube."""
    return [Block({target.name: region}) for region in target.regions()]


def on_gpu_worker() -> bool:
    """Whether this code runs in a task on a worker that offers the resource `GPU`."""
    try:
        return bool(distributed.get_worker().state.total_resources.get(GPU, 0))
    except ValueError:  # no worker: the code runs in the process that fills
        return False


def lazy_source(cube: xr.DataArray, name: str) -> "LazySource":
    """The source that computes a lazy cube region by region, each inside its own task."""
    return LazySource(cube.data, name)


@dataclass(frozen=True)
class LazySource:
    """Values of a lazy cube; only the part of its graph that a region needs is computed, in the task."""

    values: Any
    name: str

    def __call__(self, block: Block) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the one region."""
        for name, region in block.regions.items():
            yield name, _computed(self.values[region])


def _computed(values: Any) -> npt.NDArray[Any]:
    """The values of a NumPy or Dask array. Dask would copy what is one block, though nobody else holds it."""
    if not isinstance(values, da.Array):
        return np.asarray(values)
    if values.npartitions > 1:
        return np.asarray(values.compute(scheduler="synchronous"))  # type: ignore[no-untyped-call]
    (part,) = dask.optimize(values)  # type: ignore[attr-defined, no-untyped-call]
    (key,) = flatten(part.__dask_keys__())  # type: ignore[no-untyped-call]
    return np.asarray(dask.get(part.__dask_graph__(), key))  # type: ignore[attr-defined]


def _run(
    targets: Mapping[str, Target],
    todo: Sequence[Block],
    source: Source,
    label: str,
    client: Client | None,
    gpu: bool,
) -> Iterator[list[Receipt]]:
    if client is None:
        for block in todo:
            yield _task(source, targets, block)
        return
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    resources = {GPU: 1} if gpu and any(w["resources"].get(GPU) for w in workers) else None
    usable = [w for w in workers if resources is None or w["resources"].get(GPU)]
    window = WINDOW_PER_THREAD * max(1, sum(w["nthreads"] for w in usable))
    yield from _windowed(client, targets, todo, source, label, resources, window)


def _windowed(
    client: Client,
    targets: Mapping[str, Target],
    todo: Sequence[Block],
    source: Source,
    label: str,
    resources: dict[str, int] | None,
    window: int,
) -> Iterator[list[Receipt]]:
    """Keep `window` tasks on the cluster: more would only queue inputs and outputs in memory."""
    run, waiting = uuid.uuid4().hex[:8], iter(enumerate(todo))
    # A task's result travels once per worker and, unlike scattered data, is made again if its worker dies.
    shared = client.submit(
        _share, source, dict(targets), key=f"share-{label}-{run}", resources=resources, pure=False
    )

    def submit(number: int, block: Block) -> Any:
        return client.submit(
            _shared_task, shared, block, key=f"{label}-{run}-{number}", resources=resources, pure=False
        )

    first = [submit(*item) for _, item in zip(range(window), waiting, strict=False)]
    futures = distributed.as_completed(first)
    try:
        for future in futures:
            yield future.result()
            for item in waiting:
                futures.add(submit(*item))
                break
    finally:
        client.cancel(list(futures.futures))


def _share(source: Source, targets: Mapping[str, Target]) -> tuple[Source, Mapping[str, Target]]:
    return source, targets


def _shared_task(shared: tuple[Source, Mapping[str, Target]], block: Block) -> list[Receipt]:
    source, targets = shared
    return _task(source, targets, block)


def _task(source: Source, targets: Mapping[str, Target], block: Block) -> list[Receipt]:
    return [write_region(targets[name], block.regions[name], values) for name, values in source(block)]
