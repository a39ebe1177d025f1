"""The heaps in which HDF5 keeps what varies in length, such as text: a damaged one may hold its reader for ever.

A collection, `GCOL`, is a chain of objects, each with its size; number 0 is the free space. The HDF5 library
follows the chain without a check, so that an object of size 0 leads to itself. Look before it does.
"""

import mmap
from pathlib import Path
from typing import Final

from stores.errors import InputError

MARK: Final = (
    b"GCOL\x01\0\0\0"  # with its version and what is reserved, which do not occur in numbers by chance
)
HEADER: Final = 16
WIDTH: Final = 8


def check(path: Path) -> None:
    """Raise InputError where the chain of a collection does not end. Scans the bytes of the file once."""
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(MARK)
        while at >= 0:
            if not _ends(data, at):
                raise InputError(
                    f"{path} is damaged: the collection of texts at byte {at} leads nowhere. Fetch it again."
                )
            at = data.find(MARK, at + len(MARK))


def _ends(data: mmap.mmap, at: int) -> bool:
    """Whether the objects of the collection at a byte fill it."""
    end = at + _number(data, at + 8)
    if end > len(data) or end < at + HEADER:
        return True  # which the library finds by itself
    at += HEADER
    while at + HEADER <= end:
        size = _number(data, at + 8)
        free = data[at : at + 2] == b"\0\0"
        step = size if free else HEADER + size + -size % 8
        if not HEADER <= step <= end - at:
            return False
        at += step
    return True


def _number(data: mmap.mmap, at: int) -> int:
    return int.from_bytes(data[at : at + WIDTH], "little")
