"""From `cluster.yaml` to a running Dask client.

    with cluster.start("cluster.yaml", profile="local") as client:
        ...

Everything listens on 127.0.0.1 unless the file configures TLS; who reaches a Dask scheduler can run any code.
"""

from pipeline.cluster.config import ClusterConfig, ClusterError
from pipeline.cluster.performance import performance_report
from pipeline.cluster.read import read
from pipeline.cluster.running import Limits, dashboard_link, expected, limits, start
from pipeline.cluster.words import describe

__all__ = [
    "ClusterConfig",
    "ClusterError",
    "Limits",
    "dashboard_link",
    "describe",
    "expected",
    "limits",
    "performance_report",
    "read",
    "start",
]
