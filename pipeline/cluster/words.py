"""A cluster in words, for a dry run."""

from itertools import groupby

from dask.system import CPU_COUNT
from dask.utils import format_bytes

from pipeline.cluster.common import configured
from pipeline.cluster.config import ClusterConfig, Existing, Local
from pipeline.cluster.layout import WorkerPlan, plan_workers, spill_parent


def describe(config: ClusterConfig, profile: str | None = None) -> str:
    """What `start(config, profile)` would start on this machine, as a few lines; starts nothing.

    Raises ClusterError where it could not be started for lack of memory or cores, or for its `dask` blocks.
    """
    chosen = config.profile(profile)
    name = profile or config.default
    with configured(config, chosen):
        lines = _existing(name, chosen) if isinstance(chosen, Existing) else _local(name, chosen)
    return "\n".join([*lines, *_dask(config, chosen)])


def _local(name: str, profile: Local) -> list[str]:
    plans = plan_workers(profile)
    lines = [f"profile {name!r}: worker processes on this machine ({CPU_COUNT} cores), host {profile.host}"]
    for _, alike in groupby(plans, key=lambda plan: (plan.threads, plan.memory, plan.resources)):
        lines.append(f"  {_alike(list(alike))}")
    lines.append(f"  BLAS and torch threads in each worker thread: {profile.blas_threads}")
    lines.append(f"  dashboard: {profile.dashboard_address}, or the next free port")
    lines.append(f"  scratch files: under {spill_parent(profile)}, removed at the end")
    return lines


def _alike(plans: list[WorkerPlan]) -> str:
    one, count = plans[0], len(plans)
    offers = ", ".join(f"{name} {amount:g}" for name, amount in one.resources)
    return (
        f"{count} worker{'s' * (count > 1)}, {one.threads} thread{'s' * (one.threads > 1)} and "
        f"{format_bytes(one.memory)} each{f', offering {offers}' if offers else ''}"
    )


def _existing(name: str, profile: Existing) -> list[str]:
    secured = "TLS" if profile.security else "no encryption, this machine only"
    return [f"profile {name!r}: the Dask cluster running at {profile.address} ({secured})"]


def _dask(config: ClusterConfig, profile: Local | Existing) -> list[str]:
    keys = sorted({*config.dask, *profile.dask})
    return [f"  Dask config changed under: {', '.join(keys)}"] if keys else []
