"""Clusters of a few workers on the loopback, at ports that nobody else has."""

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster


@contextmanager
def workers(count: int, *, memory: str | int = "2GB") -> Iterator[Client]:
    """The client of `count` worker processes of one thread each."""
    where = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=count, threads_per_worker=1, memory_limit=memory, **where) as cluster,
        Client(cluster) as client,
    ):
        yield client
