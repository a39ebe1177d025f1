"""FIF files of MNE: chains of epochs that are opened but not read, and whether a file is whole."""

import gzip
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import mne
import numpy as np

from stores.errors import InputError
from stores.readers.files import readable
from stores.readers.slabs import single
from stores.readers.trials import PIECE_BYTES, Indices, Piece

READING: Final = threading.Lock()
"""MNE's open files have one place to read at."""
_HEAD: Final = re.compile(r"(?P<stem>.+[-_]epo)(?P<end>\.fif(?:\.gz)?)")
_SPLIT: Final = "_split-{:02d}_"
_TAG: Final = struct.Struct(">iiii")
_LAST: Final = -1
_FAR: Final = 2**62


def chain(head: Path) -> tuple[Path, ...]:
    """The head of a chain of epochs and the parts beside it that follow from it, in order.

    Parts go by either of MNE's names: `x-epo.fif`, `x-epo-1.fif`, ... or `x_split-01_epo.fif`, `x_split-02_...`.
    """
    found = [head]
    match = _HEAD.fullmatch(head.name)
    while match:
        bids, number = _SPLIT.format(1) in head.name, len(found)
        name = f"{match['stem']}-{number}{match['end']}"
        part = head.with_name(
            head.name.replace(_SPLIT.format(1), _SPLIT.format(number + 1)) if bids else name
        )
        if not part.exists():
            break
        found.append(part)
    return tuple(found)


def whole(path: Path) -> None:
    """Raise InputError where the tags of a FIF file do not lead from its first byte to its last."""
    packed = path.suffix == ".gz"
    with told(path, "a FIF file"), gzip.open(path) if packed else path.open("rb") as file:
        size = file.seek(_FAR) if packed else file.seek(0, 2)  # gzip reads up to its checksum then
        at, following = 0, 0
        if not size:
            raise InputError(f"{path} is empty; wanted a FIF file")
        while at < size and following != _LAST:
            file.seek(at)
            tag = file.read(_TAG.size)
            _, _, count, following = _TAG.unpack(tag) if len(tag) == _TAG.size else (0, 0, -1, 0)
            after = at + _TAG.size + count
            if count < 0 or after > size or following < _LAST or 0 < following < after or size < following:
                raise InputError(
                    f"{path} breaks off, or is spoilt, at byte {at} of {size}: is it a FIF file, and whole?"
                )
            at = following if following > 0 else after


@dataclass(frozen=True)
class FifTrials:
    """Epochs read trial by trial from the chain that starts at `head`; `picks` are the channels, else all."""

    head: Path
    parts: tuple[Path, ...]
    picks: tuple[int, ...] | None = None

    def __call__(self, trials: Indices, units: slice, times: slice) -> Iterator[Piece]:
        """Yield pieces; see `stores.readers.trials.Pieces`."""
        epochs = epochs_of(self.head, self.parts)
        wanted: Any = units if self.picks is None else list(self.picks[units])
        step = max(1, PIECE_BYTES // (8 * len(epochs.ch_names) * len(epochs.times)))
        for start in range(0, len(trials), step):
            with READING, told(self.head, "MNE epochs", self.parts):
                values = epochs.get_data(item=trials[start : start + step], copy=False, verbose="error")
            values = single(self.head, "its epochs", values[:, wanted, times])
            yield slice(start, start + len(values)), slice(None), slice(None), values


def epochs_of(head: Path, parts: Sequence[Path]) -> Any:
    """The chain, opened but not read; kept open, since its table of trials takes a second to parse."""
    for one in parts:
        if not one.exists():
            raise InputError(f"{one} is gone")
    stamps = tuple((one, one.stat().st_size, one.stat().st_mtime_ns) for one in parts)
    with READING:
        return _opened(head, stamps)


@lru_cache(maxsize=4)
def _opened(head: Path, stamps: tuple[tuple[Path, int, int], ...]) -> Any:
    with told(head, "MNE epochs", [one for one, _, _ in stamps]):
        epochs = mne.read_epochs(head, preload=False, proj=False, verbose="error")
        if not len(epochs):
            raise InputError(f"{head} holds no epochs")
        for first in sorted({0, len(epochs) - 1}):  # the last of the chain is there only if it is whole
            values = epochs.get_data(item=[first], copy=False, verbose="error")
        if np.iscomplexobj(values):
            raise InputError(f"{head} holds complex values; wanted real ones, such as their amplitude")
    return epochs


@contextmanager
def told(path: Path, what: str, parts: Sequence[Path] = ()) -> Iterator[None]:
    """MNE kept quiet; whatever it raises on broken bytes is an InputError that names the file, and its parts."""
    then = f"its parts are {', '.join(one.name for one in parts)}. Are all there, and whole?" if parts else ""
    with readable(path, what, then), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
