"""From a `local` profile and this machine to the exact workers: number, threads, memory and resources."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dask
from dask.system import CPU_COUNT
from dask.utils import format_bytes, parse_bytes
from distributed.system import MEMORY_LIMIT

from pipeline.cluster.config import SMALLEST, ClusterError, Group, Local

ZARR_CONCURRENCY: Final = 4
"""Chunks Zarr reads or writes at once in one worker thread (its own advice under Dask; its default is 10)."""
LOGGING_KEYS: Final = ("logging", "logging-file-config")
"""Where Dask's config may say what is logged."""


@dataclass(frozen=True)
class WorkerPlan:
    """One worker process: name, threads, bytes of memory, and what it offers."""

    name: str
    threads: int
    memory: int
    resources: tuple[tuple[str, float], ...]


def plan_workers(profile: Local, *, cores: int = CPU_COUNT, memory: int = MEMORY_LIMIT) -> list[WorkerPlan]:
    """The workers of `profile` on a machine of `cores` and `memory` bytes.

    Workers without a `memory_limit` share evenly what the others leave. Raises ClusterError where memory does
    not suffice, or where worker threads x `blas_threads` exceeds the cores.
    """
    groups = profile.workers or {"worker": _only_group(profile, cores)}
    flat = [(f"{name}-{index}", group) for name, group in groups.items() for index in range(group.n_workers)]
    limits = [_limit(group, memory) for _, group in flat]
    asked, shares = sum(limit or 0 for limit in limits), limits.count(None)
    if asked > memory or (shares and asked == memory):
        raise ClusterError(
            f"the workers ask for {format_bytes(asked)} of the {format_bytes(memory)} there is"
            f"{f', with {shares} more to share the rest' if shares else ''}; lower memory_limit or n_workers"
        )
    rest = (memory - asked) // max(shares, 1)
    memories = [rest if limit is None else limit for limit in limits]
    if min(memories) < SMALLEST:
        raise ClusterError(
            f"a worker would have {format_bytes(min(memories))} of memory; raise memory_limit or lower n_workers"
        )
    _check_threads(sum(group.threads_per_worker for _, group in flat), profile.blas_threads, cores)
    return [
        WorkerPlan(name, group.threads_per_worker, limit, tuple(sorted(group.resources.items())))
        for (name, group), limit in zip(flat, memories, strict=True)
    ]


def _only_group(profile: Local, cores: int) -> Group:
    """The group that a profile without `workers` means: a number left out fills the cores."""
    n, threads = profile.n_workers, profile.threads_per_worker
    if threads is None:
        threads = max(1, cores // n) if n else 1
    return Group(
        n_workers=n or max(1, cores // threads),
        threads_per_worker=threads,
        memory_limit=profile.memory_limit,
        resources=profile.resources,
    )


def _limit(group: Group, memory: int) -> int | None:
    limit = group.memory_limit
    if limit is None or limit == "auto":
        return None
    if isinstance(limit, float) and limit <= 1:
        return int(limit * memory)  # a fraction of the machine, as Dask reads it
    return int(parse_bytes(limit))


def _check_threads(threads: int, blas: int, cores: int) -> None:
    # One BLAS thread per worker thread is always allowed: more workers than cores is a person's choice
    # (waiting for disks, a test), more BLAS threads than cores only slows everything down.
    if blas > 1 and threads * blas > cores:
        raise ClusterError(
            f"blas_threads: {threads} worker threads x {blas} exceed the {cores} cores; "
            f"use at most {max(1, cores // threads)}, or fewer workers"
        )


def max_spill(profile: Local, workers: int, folder: Path) -> int:
    """Most bytes one worker may spill into `folder`: the file's, else its share of half the free space."""
    if profile.max_spill not in (None, "auto"):
        return int(parse_bytes(profile.max_spill))
    return shutil.disk_usage(folder).free // 2 // workers


def spill_parent(profile: Local) -> Path:
    """The folder for scratch files: the file's `local_directory`, else Dask's, else the system's."""
    configured = dask.config.get("temporary-directory", None)
    if not isinstance(configured, str | None):
        raise ClusterError(f"dask.temporary-directory is {configured!r}; wanted the name of a folder")
    return Path(profile.local_directory or configured or tempfile.gettempdir())


def environment(profile: Local) -> dict[str, str]:
    """Variables each worker process must have before it starts: they are read when libraries are imported."""
    blas = str(profile.blas_threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return dict.fromkeys(names, blas) | {
        # Dask trims the heap at every free of 64 KB, so that each block is paged in anew: reading a cube then
        # takes twice the time. Blocks are kept up to these sizes instead.
        "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
        "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
        "ZARR_ASYNC__CONCURRENCY": str(ZARR_CONCURRENCY),
        "ZARR_THREADING__MAX_WORKERS": str(ZARR_CONCURRENCY),
        # An all-NaN chunk that is not stored would look like one that was never computed.
        "ZARR_ARRAY__WRITE_EMPTY_CHUNKS": "True",
        **_logging(),
    }


def _logging() -> dict[str, str]:
    """Workers log no failed tasks, which raise where they are waited for, unless Dask's config says otherwise."""
    config = dask.config.config
    if any(key in part for part in (config, config.get("distributed", {})) for key in LOGGING_KEYS):
        return {}
    return {"DASK_LOGGING": repr({"distributed.worker": "critical", "distributed.worker.memory": "warning"})}
