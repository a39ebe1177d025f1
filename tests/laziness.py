"""Proof that building a lazy result computes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import dask


class ComputedError(AssertionError):
    """Something was computed where only a graph should have been built."""


def _refuse(graph: Any, keys: Any, **_: Any) -> NoReturn:
    raise ComputedError(f"computed {keys!r} while only a graph should have been built")


@contextmanager
def computing_forbidden() -> Iterator[None]:
    """Inside this block any Dask computation, on whatever scheduler, raises ComputedError."""
    with dask.config.set(scheduler=_refuse):
        yield
