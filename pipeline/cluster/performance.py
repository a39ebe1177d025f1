"""Dask's own account of a run (task stream, memory, bandwidth), kept as one HTML page beside the results."""

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time
from typing import Any, Final

from distributed import Client
from distributed.comm.core import CommClosedError

log = logging.getLogger(__name__)

TIMEOUT: Final = 30.0
"""Seconds the scheduler has to write the page: a dying one must not hold up a finished run."""


@contextlib.contextmanager
def performance_report(
    client: Client, path: str | Path, *, wanted: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Record what the cluster does inside the block, and write it to `path` at its end, whole or not at all.

    wanted : asked at the end of the block, whether what it did is worth a page.
    The page opens without a network, and the page of a block that failed replaces none. A report that cannot be
    had or written is logged as a warning and fails nothing: an error of the block is the one that is raised.
    """
    path, begun, count = Path(path), time(), None
    with _only_logged(path):
        count = client.sync(_record, client, callback_timeout=TIMEOUT)
    done = False
    try:
        yield
        done = True
    finally:
        if count is not None and (wanted() if done else not path.exists()):
            with _only_logged(path):
                page = client.sync(_page, client, begun, count, callback_timeout=TIMEOUT)
                _write(path, page)


async def _record(client: Any) -> int:
    """Start recording tasks; return where the scheduler's own measurements stand now."""
    await client.get_task_stream(start=0, stop=0)
    return int(await client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.monitor.count))


async def _page(client: Any, begun: float, count: int) -> str:
    if client.status != "running":
        raise CommClosedError("the scheduler is gone")
    scheduler = client.scheduler
    return str(await scheduler.performance_report(start=begun, last_count=count, code="", mode="inline"))


def _write(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _only_logged(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, CommClosedError, RuntimeError, TimeoutError) as error:
        log.warning("no Dask performance report at %s: %s", path, error or type(error).__name__)
