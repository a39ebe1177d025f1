"""What a lazy result will cost, known before any of it runs."""

from dataclasses import dataclass
from typing import Final

import xarray as xr
from dask.base import is_dask_collection, optimize

from pipeline.blocks import priced, read_bytes, unpriced
from pipeline.errors import PlanError

IDLE_BYTES: Final = 370 * 10**6
"""What a worker holds that has loaded all it needs and runs nothing. 376 MB were measured: 155 of its own, the
rest pages of libraries, of which a machine may have mapped 100 fewer. Python and Dask alone are 69; Numba, which
`dask.array` loads wherever `sparse` is installed, is 116."""
COPIES: Final = 4
"""How many times its blocks work without a price may hold; reductions make about that many copies."""


@dataclass(frozen=True)
class Plan:
    """The price of a lazy result: `tasks`, bytes read and written, and the peak bytes of its hungriest task.

    bounded : whether no task holds more than that. Work of Dask's own, such as a mean of the cube before a
    verb, has no price: its largest block is counted, and where verbs promise less it may hold several.
    """

    tasks: int
    bytes_in: int
    bytes_out: int
    peak_bytes: int
    bounded: bool = True

    def text(self) -> str:
        """One line for people."""
        peak = size(self.peak_bytes)
        most = f"{peak} at most per task" if self.bounded else f"at least {peak} in the largest task"
        return f"{self.tasks:,} tasks; reads {size(self.bytes_in)}, writes {size(self.bytes_out)}; {most}"

    def worker_bytes(self, threads: int = 1) -> int:
        """Peak bytes of one worker that runs `threads` tasks at a time."""
        return IDLE_BYTES + threads * self.peak_bytes

    def check(self, limit_bytes: int, *, threads: int = 1) -> "Plan":
        """Return the plan if a worker of `limit_bytes` can run it with `threads` threads; else raise
        PlanError."""
        if self.worker_bytes(threads) > limit_bytes:
            room = (limit_bytes - IDLE_BYTES) // threads
            less = f" or fewer threads, or build the result with `task_bytes={room}`" if room > 0 else ""
            raise PlanError(
                f"the largest task needs {size(self.peak_bytes)}; with {threads} at a time and "
                f"{size(IDLE_BYTES)} for an idle worker that is {size(self.worker_bytes(threads))}, and a worker "
                f"has {size(limit_bytes)}. Give workers more memory{less}."
            )
        return self


def plan(lazy: xr.DataArray) -> Plan:
    """The price of computing `lazy`; computes nothing. Zero tasks where it is computed already."""
    names = [name for name, coord in lazy.coords.items() if coord.chunks is not None]
    arrays = [lazy.data, *(lazy.coords[name].data for name in names)]
    arrays = [x for x in arrays if is_dask_collection(x)]
    if not arrays:
        return Plan(0, 0, lazy.nbytes, 0)
    (optimised,) = optimize(lazy)  # type: ignore[no-untyped-call]
    prices, others = priced(*arrays), unpriced(*arrays)
    promised = max((price.peak for price in prices), default=0)
    return Plan(
        tasks=len(dict(optimised.__dask_graph__())),
        bytes_in=sum(price.reads for price in prices) + read_bytes(*arrays),
        bytes_out=sum(x.nbytes for x in arrays),
        peak_bytes=max([promised, *(block for block, _ in others)]),
        bounded=all(max(block, COPIES * held) <= promised for block, held in others),
    )


def size(count: float) -> str:
    """Bytes for people: `610 MB`, `1.9 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return (
                f"{count:.0f} {unit}" if unit in ("B", "kB", "MB") or count >= 99.5 else f"{count:.1f} {unit}"
            )
        count /= 1000
    return f"{count:.1f} TB"
