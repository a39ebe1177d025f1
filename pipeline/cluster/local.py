"""Worker processes on this machine: what `LocalCluster` does, with groups of workers that may differ."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Final

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster

from pipeline.cluster.common import reason, security_of
from pipeline.cluster.config import LOOPBACK, ClusterError, Local, host_of
from pipeline.cluster.layout import WorkerPlan, environment, max_spill, plan_workers, spill_parent

START_TIMEOUT: Final = 120.0
"""Seconds all workers have to start; importing torch from a cold disk takes most of a minute."""


@contextlib.contextmanager
def running(profile: Local) -> Iterator[Client]:
    """A client of new worker processes on this machine; all of them have ended when the block is left."""
    plans, nanny = plan_workers(profile), logging.getLogger("distributed.nanny")
    with contextlib.ExitStack() as stack:
        stack.callback(nanny.setLevel, nanny.level)
        scratch = stack.enter_context(_scratch(profile))
        stack.enter_context(_environment(environment(profile)))
        spill = max_spill(profile, len(plans), scratch)
        dashboard = _free_address(profile.dashboard_address)
        stack.enter_context(dask.config.set(dict(_local_config(profile, spill, dashboard))))
        # The scheduler makes a scratch folder too, and takes no other word for where.
        stack.enter_context(dask.config.set({"temporary-directory": str(scratch)}))
        try:
            with _interrupts_held_back():
                cluster = stack.enter_context(_cluster(profile, plans, scratch, dashboard))
                client = stack.enter_context(Client(cluster, timeout=START_TIMEOUT))
            client.wait_for_workers(len(plans), timeout=START_TIMEOUT)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterError(
                f"the local cluster ({len(plans)} workers on {profile.host}) did not start: {reason(error)}. "
                'In a script, start it under `if __name__ == "__main__":`, as each worker imports the script'
            ) from error
        # That a worker is killed in the midst of a task nobody waits for is no news, once all are to end.
        stack.callback(nanny.setLevel, logging.ERROR)
        yield client


def _cluster(profile: Local, plans: list[WorkerPlan], scratch: Path, dashboard: str) -> SpecCluster:
    security = security_of(profile.security)
    protocol = "tls://" if profile.security else "tcp://"
    common = {"host": profile.host, "protocol": protocol, "security": security}
    scheduler: dict[str, Any] = common | {
        "port": profile.scheduler_port,
        "dashboard": True,
        "dashboard_address": dashboard,
    }
    worker = common | {
        # Workers serve health and metrics over HTTP: on loopback, whatever `host` is.
        "dashboard_address": f"{LOOPBACK}:0",
        "local_directory": str(scratch),
        "silence_logs": logging.WARNING,
    }
    workers = {plan.name: {"cls": Nanny, "options": worker | _options(plan)} for plan in plans}
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": scheduler},
        workers=workers,
        security=security,
        silence_logs=logging.WARNING,
    )


def _options(plan: WorkerPlan) -> dict[str, Any]:
    return {"nthreads": plan.threads, "memory_limit": plan.memory, "resources": dict(plan.resources)}


def _local_config(profile: Local, spill: int, dashboard: str) -> Iterator[tuple[str, object]]:
    # Forked workers deadlock once Zarr has started its own threads.
    yield "distributed.worker.multiprocessing-method", "spawn"
    if not dask.config.get("distributed.worker.memory.max-spill", False) or profile.max_spill is not None:
        yield "distributed.worker.memory.max-spill", spill
    origins = "distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin"
    if dask.config.get(origins, ["*"]) == ["*"]:
        # Else any page open in a browser here could read the dashboard.
        port = dashboard.rpartition(":")[2]
        yield origins, [f"{host_of(dashboard)}:{port}", f"localhost:{port}"]
    for name, value in environment(profile).items():
        yield f"distributed.nanny.pre-spawn-environ.{name}", value


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back from processes and threads started inside, for good; from this thread, until the end.

    A terminal sends it to workers too, which would each print a traceback; they are ours to end. And a cluster
    that is interrupted while it starts leaves what it has started behind.
    """
    resource_tracker.ensure_running()  # the first process brings it along, and it lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler, came = signal.getsignal(signal.SIGINT), []
    # Any other thread of this process may take the signal, and Python raises it in the main thread all the same.
    raises = callable(handler) and threading.current_thread() is threading.main_thread()
    if raises:
        signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if raises:
            signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """`wanted` in this process's environment: nannies prefer it to Dask's config, and write into it."""
    before = dict(os.environ)
    nanny = {*dask.config.get("distributed.nanny.pre-spawn-environ"), "PYTHONHASHSEED", "__DASK_PARENT_PID"}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in {*wanted, *nanny}:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


@contextlib.contextmanager
def _scratch(profile: Local) -> Iterator[Path]:
    """A folder for what workers spill: the file's, which Dask tidies, else a new one, removed at the end."""
    parent = spill_parent(profile)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = (
            parent if profile.local_directory else Path(tempfile.mkdtemp(prefix="neurocube-", dir=parent))
        )
    except OSError as error:
        raise ClusterError(f"workers cannot keep scratch files in {parent}: {error.strerror}") from error
    try:
        yield folder
    finally:
        if folder != parent:
            # A killed worker may still be letting go of its files: that must not fail a finished run.
            shutil.rmtree(folder, ignore_errors=True)


def _free_address(address: str) -> str:
    """`address`, or its host with a free port where that one is taken, which Dask would warn about."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"
