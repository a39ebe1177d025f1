"""Generated malformations of a file, and what a reader may do with them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stores.errors import InputError
from stores.validate import validate

Read = Callable[[], Mapping[str, xr.DataArray]]


def malformations(whole: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """(what was done, bytes): bits flipped in the head and anywhere, cuts, holes, repeats, swapped parts."""
    for n in range(count):
        rng = np.random.default_rng([seed, n])
        at, other = sorted(rng.integers(0, len(whole), 2).tolist())
        broken = bytearray(whole)
        kind = ("head", "flip", "cut", "zeros", "repeat", "swap", "ff")[n % 7]
        if kind in ("head", "flip"):
            span = min(len(whole), 6000) if kind == "head" else len(whole)
            for place in rng.integers(0, span, 1 + n % 5):
                broken[place] ^= 1 << int(rng.integers(8))
        elif kind == "cut":
            del broken[at:]
        elif kind == "repeat":
            broken[at:at] = whole[at : at + 512]
        elif kind == "swap":
            broken[at : at + 64], broken[other : other + 64] = whole[other : other + 64], whole[at : at + 64]
        else:
            broken[at : at + 256] = (b"\0" if kind == "zeros" else b"\xff") * len(broken[at : at + 256])
        yield f"{kind} {n}", bytes(broken)


def stands(read: Read, blamed: str, done: str, compute: bool) -> bool:
    """Whether `read` gave cubes that pass their specs and compute; else it must blame the file, or fail."""
    fault = ""
    try:
        for cube in read().values():
            validate(cube)
            if compute:
                assert not np.isinf(cube.values).any(), done
    except InputError as error:
        fault = str(error)
    except Exception as error:
        pytest.fail(f"{done} of {blamed} ends in {type(error).__name__}: {error}")
    assert not fault or blamed in fault, f"{done}: {fault}"
    return not fault


def survive(
    read: Read, file: Path, count: int = 28, seed: int = 0, blamed: str = "", compute: bool = True
) -> int:
    """Spoil `file` in `count` ways, one at a time; returns how many were refused. The file is whole after.

    blamed : the name that an error must tell, if not the file's.    compute : whether values are read too.
    """
    whole = file.read_bytes()
    refused = 0
    for done, broken in malformations(whole, count, seed):
        file.write_bytes(broken)
        refused += not stands(read, blamed or file.name, done, compute)
    file.write_bytes(whole)
    return refused
