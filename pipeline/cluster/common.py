"""What both ways of having a cluster need: credentials, Dask's config and the reason of a failure."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import dask
from distributed import Security

from pipeline.cluster.config import ClusterConfig, ClusterError, Profile, Tls
from pipeline.cluster.layout import LOGGING_KEYS


def security_of(tls: Tls | None) -> Security | None:
    """Dask's own record of the TLS files, with encryption required; None without them."""
    if tls is None:
        return None
    files = tls.model_dump(exclude_none=True)
    return Security(require_encryption=True, **files)


def reason(error: BaseException) -> str:
    """The first line of what went wrong underneath, or the name of the error where it says nothing."""
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__


@contextlib.contextmanager
def configured(config: ClusterConfig, profile: Profile) -> Iterator[None]:
    """Dask's config with the `dask` blocks of the file and of `profile` merged in.

    Raises ClusterError where one of them gives a value for what has settings of its own, or the other way round.
    """
    with contextlib.ExitStack() as stack:
        # Leaf by leaf: setting a nested mapping would replace its siblings.
        for key, value in [*_leaves(config.dask), *_leaves(profile.dask)]:
            _check(key, value)
            stack.enter_context(dask.config.set({key: value}))
        yield


def _leaves(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in block.items():
        # The names of loggers have points of their own.
        if isinstance(value, Mapping) and key not in LOGGING_KEYS:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check(key: str, value: object) -> None:
    known: Any = dask.config.config
    for part in key.split("."):
        if not isinstance(known, dict):
            raise ClusterError(f"dask.{key} of the cluster file: Dask has one value above it, {known!r}")
        name = dask.config.canonical_name(part, known)
        if name not in known:
            return
        known = known[name]
    if isinstance(known, dict) and not isinstance(value, dict):
        keys = ", ".join(map(str, known))
        raise ClusterError(f"dask.{key} of the cluster file is {value!r}; wanted keys ({keys})")
