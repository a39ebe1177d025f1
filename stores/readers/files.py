"""Finding and opening source files, with faults that name file and field."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from stores.errors import InputError, StoreError
from stores.provenance import file_record
from stores.readers import mat5

LISTED = 8
HASHED_AT_MOST = 10**9
ENDS = 2**20


def source_record(path: Path, hash_at_most: int = HASHED_AT_MOST) -> dict[str, Any]:
    """Name, size and SHA-256 of one source file; beyond 1 GB the hash is of its first and last MB alone.

    Hashing all of a big file would read it twice. What the hash covers is then told as `hashed`.
    """
    stat = path.stat()
    return dict(_record(path, stat.st_size, stat.st_mtime_ns, hash_at_most))


@lru_cache(maxsize=4096)
def _record(path: Path, size: int, changed: int, hash_at_most: int) -> dict[str, Any]:  # noqa: ARG001
    """Kept, for several cubes are often made of one file."""
    if size <= hash_at_most:
        return file_record(path)
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(ENDS))
        file.seek(-ENDS, os.SEEK_END)
        digest.update(file.read(ENDS))
    hashed = f"the first and last {ENDS} bytes"
    return {"file": path.name, "bytes": size, "sha256": digest.hexdigest(), "hashed": hashed}


def find(path: Path, name: str) -> Path:
    """The file `name` in the folder `path`, or `path` itself where that is this file. Raises InputError."""
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted the file {name}, or the folder that holds it")
    if path.is_file():
        return path
    if not (path / name).is_file():
        there = sorted(one.name for one in path.iterdir())
        near = get_close_matches(name, there, n=1)
        listing = ", ".join(there[:LISTED]) + (", ..." if len(there) > LISTED else "")
        raise InputError(
            f"{path} holds no file {name}; it holds {listing or 'nothing'}"
            + (f". Is {near[0]} the same under another name?" if near else "")
        )
    return path / name


def nearest(folders: Iterable[Path], *names: str) -> Path | None:
    """The first file that has one of these names in a folder, one folder after another; None if there is none."""
    return next((one for folder in folders for name in names if (one := folder / name).is_file()), None)


@contextmanager
def readable(path: Path, what: str, then: str = "") -> Iterator[None]:
    """Whatever a library raises inside is an InputError: `path` cannot be read as `what`, and what to do `then`.

    Libraries raise nearly anything on broken bytes. Our own errors pass unchanged.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        then = then or f"it has {path.stat().st_size} bytes. Is it whole? Fetch it again."
        raise InputError(
            f"{path} cannot be read as {what} ({type(error).__name__}: {str(error)[:200]}); {then}"
        ) from error


def load_mat(path: Path, variables: Sequence[str]) -> dict[str, Any]:
    """Named variables of a MATLAB file of version 4 to 7, structs as record arrays, single elements squeezed.

    Raises InputError where the file is none, is broken, or lacks a variable.
    """
    with readable(path, "a MATLAB file"):
        try:
            mat5.check(path)
            there = [name for name, _, _ in scipy.io.whosmat(path)]
            found = scipy.io.loadmat(path, variable_names=list(variables), squeeze_me=True)
        except NotImplementedError as error:
            raise InputError(
                f"{path} is a MATLAB 7.3 (HDF5) file; wanted version 7 or older, as published"
            ) from error
    if missing := [name for name in variables if name not in found]:
        raise InputError(
            f"{path} has no variable {' or '.join(map(repr, missing))}; it has {', '.join(there) or 'none'}"
        )
    return {name: found[name] for name in variables}


def field(path: Path, record: Any, name: str, where: str) -> Any:
    """Field `name` of one element of a MATLAB struct; InputError names file, struct and field."""
    names = getattr(getattr(record, "dtype", None), "names", None) or ()
    if name not in names:
        raise InputError(f"{path}: {where} has no field {name!r}; it has {', '.join(names) or 'no fields'}")
    return record[name]


def text_of(path: Path, value: Any, where: str) -> str:
    """A MATLAB char as str; InputError where it is something else."""
    if isinstance(value, str) or (
        isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind == "U"
    ):
        return str(value)
    raise InputError(f"{path}: {where} is not text but {type(value).__name__}")
