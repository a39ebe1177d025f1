"""A running Dask client from a cluster file, as a context manager: nothing of it remains afterwards."""

import contextlib
import multiprocessing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

from pipeline.cluster import local
from pipeline.cluster.common import configured, reason, security_of
from pipeline.cluster.config import LOOPBACK, ClusterConfig, ClusterError, Existing, Local
from pipeline.cluster.layout import plan_workers
from pipeline.cluster.read import read


@dataclass(frozen=True)
class Limits:
    """What a cluster can hold: workers, all their threads, and the memory in bytes of the smallest worker.

    memory : None where a worker has no limit.    resources : summed over workers, such as `{"GPU": 1.0}`.
    """

    workers: int
    threads: int
    memory: int | None
    resources: Mapping[str, float]


@contextlib.contextmanager
def start(path: str | Path | ClusterConfig | None = None, profile: str | None = None) -> Iterator[Client]:
    """A `distributed.Client` of the cluster that `profile` in the file at `path` describes.

    Without a path: this machine, one worker per core. Without a profile: the file's default. Worker processes
    are spawned, so a script that calls this needs its work under `if __name__ == "__main__":`. On exit the
    client is closed, local workers have ended, their scratch files are gone and Dask's config is as before; a
    `local_directory` stays, with the empty lock files by which Dask tells runs apart that share it.
    Raises ClusterError where the file is at fault, or the cluster does not start or answer.
    """
    _refuse_in_spawned_child()
    config = path if isinstance(path, ClusterConfig) else read(path)
    chosen = config.profile(profile)
    with configured(config, chosen):
        match chosen:
            case Local():
                running = local.running(chosen)
            case Existing():
                running = _existing(chosen)
        with running as client:
            yield client


def limits(client: Client) -> Limits:
    """What the workers of `client` offer together."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    resources: dict[str, float] = {}
    for worker in workers:
        for name, amount in worker["resources"].items():
            resources[name] = resources.get(name, 0.0) + amount
    memory: list[int] = [worker["memory_limit"] or 0 for worker in workers]
    smallest = min(memory, default=None) if all(memory) else None
    return Limits(len(memory), sum(worker["nthreads"] for worker in workers), smallest, resources)


def expected(config: ClusterConfig, profile: str | None = None) -> Limits | None:
    """What the workers of `start(config, profile)` will offer; None for a cluster that runs already."""
    chosen = config.profile(profile)
    if not isinstance(chosen, Local):
        return None
    plans = plan_workers(chosen)
    resources: dict[str, float] = {}
    for name, amount in (offer for plan in plans for offer in plan.resources):
        resources[name] = resources.get(name, 0.0) + amount
    return Limits(
        len(plans), sum(plan.threads for plan in plans), min(plan.memory for plan in plans), resources
    )


def dashboard_link(client: Client) -> str | None:
    """The address of the dashboard; None where the cluster has none."""
    services = client.scheduler_info(n_workers=0)["services"]
    return client.dashboard_link if "dashboard" in services else None


@contextlib.contextmanager
def _existing(profile: Existing) -> Iterator[Client]:
    with contextlib.ExitStack() as stack:
        security = security_of(profile.security)
        try:
            connected = Client(profile.address, security=security, timeout=profile.timeout)
            client = stack.enter_context(connected)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {profile.address} within {profile.timeout:g} s "
                f"({reason(error)}); start one with `dask scheduler --host {LOOPBACK}` and `dask worker`, "
                "or use the profile `local`"
            ) from error
        try:
            client.wait_for_workers(1, timeout=profile.timeout)
        except TimeoutError as error:
            raise ClusterError(
                f"the Dask scheduler at {profile.address} has no workers after {profile.timeout:g} s; "
                f"start one with `dask worker {profile.address}`"
            ) from error
        yield client


def _refuse_in_spawned_child() -> None:
    # Set by multiprocessing while a child runs the parent's script again.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ClusterError(
            "a worker process that imported the script which started it came upon pipeline.cluster.start "
            'again; put the work of the script under `if __name__ == "__main__":`'
        )
