"""The condensed triangle: pairs (i, j > i) row after row, `numpy.triu_indices(k=1)` order.

A range of rows is one contiguous run of it, so a large matrix is made in tiles of rows, and a tile in strips.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.kernels.patterns import Floats

Rows = tuple[int, int]
"""First row of a tile and the one after its last; `(0, stimuli)` is the whole matrix."""

PANEL: Final = 384
"""Rows of the product made at once: enough for BLAS to run at full speed."""
STRIP: Final = 32
"""Rows of a panel finished at once: few enough for the passes over them to stay in cache."""

HUGE_PAGE: Final = 2 * 2**20
KEPT: Final = 4 * HUGE_PAGE
"""Bytes at most of the scratch memory that a thread keeps between tasks."""
_kept = threading.local()


def pairs(stimuli: int, rows: Rows | None = None) -> int:
    """Number of pairs (i, j > i) of `stimuli` whose i lies in `rows` (all by default)."""
    first, stop = rows or (0, stimuli)
    return (stop - first) * (2 * stimuli - first - stop - 1) // 2


class Room(NamedTuple):
    """What the products of one time point are made of and in: patterns (stimulus, unit) in `parts`, of which the
    first holds the rows, and a `panel` of products at a time."""

    parts: Sequence[Floats]
    panel: Floats


def room(stimuli: int, units: int, height: int, dtype: npt.DTypeLike) -> tuple[Floats, Room]:
    """Place for the patterns of all stimuli, and the room in which the first `height` of them are the rows.

    One piece of memory for all times, in huge pages, and a small one for all tasks of a thread: first touching
    memory costs more than the arithmetic on it.
    """
    panel = min(height, PANEL) * stimuli
    piece = _scratch(panel + stimuli * units, dtype)
    y = piece[panel:].reshape(stimuli, units)
    return y, Room((y[:height], y[height:]), piece[:panel])


def beside(parts: Sequence[Floats]) -> Room:
    """Room for the products of patterns that are there."""
    width = sum(map(len, parts))
    return Room(parts, _scratch(min(len(parts[0]), PANEL) * width, parts[0].dtype))


def _scratch(count: int, dtype: npt.DTypeLike) -> Floats:
    """Memory that nobody else in this thread uses until the kernel that asked for it returns."""
    size = count * np.dtype(dtype).itemsize
    if size > KEPT:
        return np.empty(-(-size // HUGE_PAGE) * HUGE_PAGE, np.uint8).view(dtype)[:count]
    if not hasattr(_kept, "piece"):
        _kept.piece = np.empty(KEPT, np.uint8)  # untouched pages take no memory
    piece: npt.NDArray[np.uint8] = _kept.piece[:size]
    return piece.view(dtype)


def products(space: Room) -> Iterator[tuple[Floats, slice, slice, slice]]:
    """Yield y_i y_j in strips of the rows, from their diagonal on: strip, rows, columns, run.

    The caller may write to a strip; it is gone when the next comes. Panels of rows against the rows from
    there on: half the arithmetic of the square, which is never held whole. (One BLAS syrk does no less,
    holds the square, and SciPy's keeps Python's lock for as long as it runs.)
    """
    own, *others = space.parts
    whole = sum(map(len, space.parts))
    for start in range(0, len(own), PANEL):
        stop = min(start + PANEL, len(own))
        tall, width = own[start:stop], whole - start
        panel = space.panel[: len(tall) * width].reshape(len(tall), width)
        end = 0
        for wide in (tall, own[stop:], *others):
            begin, end = end, end + len(wide)
            np.matmul(tall, wide.T, out=panel[:, begin:end])
        for rows, columns, run in strips(whole, stop, start):
            yield panel[rows.start - start : rows.stop - start, rows.start - start :], rows, columns, run


def strips(width: int, stop: int, start: int = 0) -> Iterator[tuple[slice, slice, slice]]:
    """Runs of at most STRIP rows from `start` to `stop`: rows, columns, place of their pairs in the tile."""
    for first in range(start, stop, STRIP):
        last = min(first + STRIP, stop)
        run = slice(pairs(width, (0, first)), pairs(width, (0, last)))
        yield slice(first, last), slice(first, None), run


def tails(strip: Floats, out: Floats | None = None) -> Floats:
    """Condense a strip that begins at its first row's diagonal: right of the diagonal, row after row."""
    height, width = strip.shape
    if out is None:
        out = np.empty(pairs(width, (0, height)), strip.dtype)
    end = 0
    for i in range(height):
        begin, end = end, end + width - 1 - i
        out[begin:end] = strip[i, i + 1 :]
    return out
