"""Functions that run on workers: in a module, as a function of a test file would be pickled whole."""

import os
from collections.abc import Mapping

from distributed import get_worker


def where() -> str:
    """The name of the worker that runs this."""
    return str(get_worker().name)


def environment() -> Mapping[str, str]:
    return dict(os.environ)


def library_threads() -> tuple[int, list[int]]:
    """Threads that torch, and every BLAS and OpenMP library in this process, would use."""
    import numpy as np
    import threadpoolctl
    import torch

    np.ones((2, 2)) @ np.ones((2, 2))
    return torch.get_num_threads(), [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]


def zarr_settings() -> tuple[object, object]:
    import zarr

    return zarr.config.get("async.concurrency"), zarr.config.get("array.write_empty_chunks")


def dask_setting(key: str) -> object:
    import dask

    return dask.config.get(key)
