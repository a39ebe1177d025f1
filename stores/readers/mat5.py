"""The structure of a MATLAB 5 to 7 file, checked before SciPy reads it.

SciPy trusts what the file says of itself: a wrong type code or size in an array that is not compressed
can end the whole process (a segmentation fault), or give numbers that were never written.
"""

import mmap
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Final

HEADER: Final = 128
MATRIX: Final = 14
COMPRESSED: Final = 15
SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
CELL, STRUCT, OBJECT, CHAR, SPARSE = 1, 2, 3, 4, 5
NUMERIC: Final = range(6, 16)
COMPLEX: Final = 0x0800
DEEPEST: Final = 100
Bytes = bytes | mmap.mmap


class BrokenError(ValueError):
    """What the file says of itself cannot be."""


def check(path: Path) -> None:
    """Raise BrokenError, or zlib.error, where the elements of a version 5 file do not fit in each other.

    Checksums of compressed elements are verified. Files of other versions are left alone.
    """
    with path.open("rb") as file:
        head = file.read(HEADER)
        mark = head[126:128]
        if mark not in (b"IM", b"MI") or 2 in head[124:126]:  # 0x0200 is version 7.3, which is HDF5
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            order, at = "<" if mark == b"IM" else ">", HEADER
            while at < len(data):
                kind, start, stop, following = _tag(data, at, len(data), order)
                if kind == COMPRESSED:
                    zlib.decompress(data[start:stop])
                    following = stop
                elif kind == MATRIX:
                    _matrix(data, start, stop, order, 0)
                else:
                    raise BrokenError(f"an element of type {kind} at byte {at}, where an array should be")
                at = following


def _tag(data: Bytes, at: int, end: int, order: str) -> tuple[int, int, int, int]:
    """Type of the element at a byte, where its values start and stop, and where the next element starts."""
    if at + 8 > end:
        raise BrokenError(f"an element at byte {at} is cut off")
    (first, size) = struct.unpack(order + "II", data[at : at + 8])
    if first >> 16:
        kind, start, stop, following = first & 0xFFFF, at + 4, at + 4 + (first >> 16), at + 8
        if stop > following:
            raise BrokenError(f"a short element of {first >> 16} bytes at byte {at}")
    else:
        kind, start, stop = first, at + 8, at + 8 + size
        following = stop + -size % 8
    if stop > end:
        raise BrokenError(f"the element at byte {at} needs bytes up to {stop}; there are {end}")
    return kind, start, stop, following


def _matrix(data: Bytes, at: int, end: int, order: str, depth: int) -> None:
    if at == end:
        return  # an empty cell or field
    if depth > DEEPEST:
        raise BrokenError("arrays in arrays beyond any sense")
    kind, start, stop, at = _tag(data, at, end, order)
    if (kind, stop - start) != (6, 8):
        raise BrokenError(f"no flags of an array at byte {start}")
    (flags,) = struct.unpack(order + "I", data[start : start + 4])
    family = flags & 0xFF
    if family > NUMERIC[-1]:
        return  # functions and opaque objects, which SciPy gives as they are
    kind, start, stop, at = _tag(data, at, end, order)
    if kind != 5 or (stop - start) % 4 or stop - start < 8:
        raise BrokenError(f"no dims of an array at byte {start}")
    dims = struct.unpack(order + f"{(stop - start) // 4}i", data[start:stop])
    kind, _, _, at = _tag(data, at, end, order)
    if min(dims) < 0 or kind not in (1, 2, 16):
        raise BrokenError(f"dims {dims} of an array, or its name, are none")
    if family in (CELL, STRUCT, OBJECT):
        _inside(data, at, end, order, depth, family, prod(dims))
    elif family in (CHAR, *NUMERIC):
        for _ in range(2 if flags & COMPLEX and family != CHAR else 1):
            at = _values(data, at, end, order, prod(dims), family == CHAR)
    elif family == SPARSE:
        for _ in range(3):
            kind, _, _, at = _tag(data, at, end, order)
            if kind not in SIZES:
                raise BrokenError(f"values of type {kind} in a sparse array")
    else:
        raise BrokenError(f"an array of class {family}")


def _values(data: Bytes, at: int, end: int, order: str, count: int, text: bool) -> int:
    kind, start, stop, following = _tag(data, at, end, order)
    if kind not in SIZES:
        raise BrokenError(f"values of type {kind} at byte {at}")
    # Text of UTF-8 may hold fewer characters than bytes.
    if stop - start != count * SIZES[kind] and not (text and (kind == 16 or count == 0)):
        raise BrokenError(f"{stop - start} bytes for {count} values of type {kind} at byte {at}")
    return following


def _inside(data: Bytes, at: int, end: int, order: str, depth: int, family: int, count: int) -> None:
    """Elements of a cell, or fields of a struct's elements."""
    if family == OBJECT:
        *_, at = _tag(data, at, end, order)
    if family != CELL:
        kind, start, stop, at = _tag(data, at, end, order)
        if (kind, stop - start) != (5, 4):
            raise BrokenError(f"no length of field names at byte {start}")
        (length,) = struct.unpack(order + "i", data[start:stop])
        kind, start, stop, at = _tag(data, at, end, order)
        if kind not in (1, 2) or length < 1 or (stop - start) % length:
            raise BrokenError(f"no field names at byte {start}")
        count *= (stop - start) // length
    for _ in range(count):
        kind, start, stop, at = _tag(data, at, end, order)
        if kind != MATRIX:
            raise BrokenError(f"an element of type {kind} at byte {start}, where an array should be")
        _matrix(data, start, stop, order, depth + 1)
