"""Joining cubes and pictures by stimulus id: one explicit order, and a report of everything that was dropped."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, Self

import numpy as np
import pandas as pd
import xarray as xr

from stores.dims import STIMULUS
from stores.errors import AlignError
from stores.validate import id_faults

How = Literal["inner", "exact", "left"]
HOWS: Final[Mapping[str, str]] = {
    "inner": "keep the stimuli that every cube has",
    "exact": "refuse unless every cube has the same stimuli",
    "left": "keep every stimulus of the first cube; refuse where another cube lacks one",
}
EXAMPLES: Final = 3

_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|gif|tiff?|webp|mp4|avi|mov|mkv|webm|wav|npy|mat)$", re.IGNORECASE)
# What may differ between two spellings of one stimulus; applied in this order.
_SPELLINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "Unicode normal form (NFC or NFD)": lambda text: unicodedata.normalize("NFC", text),
    "white space around it": str.strip,
    "folder prefix": lambda text: re.split(r"[/\\]", text)[-1],
    "file extension": lambda text: _EXTENSION.sub("", text),
    "upper and lower case": str.casefold,
}


class Pictures(Protocol):
    """A folder of images that was read (`stores.stimuli.read_folder`): its ids, and the way to some of them."""

    @property
    def ids(self) -> tuple[str, ...]:
        """One unique id per picture."""

    def select(self, at: Sequence[int]) -> Any:
        """The pictures at these places, in this order."""


@dataclass(frozen=True)
class Dropped:
    """`count` stimuli left `cube` because `absent_from` lack them; `hint` tells of near misses."""

    cube: str
    count: int
    absent_from: tuple[str, ...]
    examples: tuple[str, ...]
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.cube}: {self.count} dropped, absent from {' and '.join(self.absent_from)}"
        return f"{text}, such as {list(self.examples)}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True)
class AlignReport:
    """How many stimuli were kept, in whose order, and what was dropped; `str()` of it is for people."""

    kept: int
    order: str
    dropped: tuple[Dropped, ...] = ()

    def __str__(self) -> str:
        head = f"{self.kept} stimuli kept, in the order of {self.order}"
        return "\n  - ".join([head, *map(str, self.dropped)])


class Aligned(tuple[Any, ...]):
    """The joined cubes, to be unpacked; `.report` says what was dropped and why."""

    report: AlignReport

    def __new__(cls, cubes: Iterable[Any], report: AlignReport) -> Self:
        """Hold `cubes` and what their joining dropped."""
        aligned = super().__new__(cls, cubes)
        aligned.report = report
        return aligned

    def __getnewargs__(self) -> tuple[tuple[Any, ...], AlignReport]:
        return tuple(self), self.report


def align(*cubes: xr.DataArray | Pictures, how: How = "inner") -> Aligned:
    """Join cubes and folders of pictures by stimulus id; all come back with the first one's order of ids.

    how : "inner" keeps the stimuli that every cube has; "exact" refuses unless all have the same ones;
    "left" keeps every stimulus of the first cube and refuses where another cube lacks one.

    Positions are never matched, only ids. Lazy: reads ids, never values. A cube whose stimuli are right
    already comes back as it is. The result can be unpacked, and knows what was dropped:

    >>> joined = align(brain, network)
    >>> brain, network = joined
    >>> print(joined.report)

    Raises AlignError where ids are not unique strings, where no stimulus is common to all, or where the ids
    are not as `how` asks; it points out ids that differ only in extension, folder, case or Unicode form.
    """
    if how not in HOWS:
        raise ValueError(f"how={how!r}; choose one of " + "; ".join(f"{k!r}: {v}" for k, v in HOWS.items()))
    if not cubes:
        raise AlignError("no cubes were given; wanted at least one")
    labels = [_label(position, cube) for position, cube in enumerate(cubes)]
    ids = [_ids(label, cube) for label, cube in zip(labels, cubes, strict=True)]
    kept = _common(ids)
    dropped = tuple(_drops(labels, ids, set(kept)))
    _refuse(how, labels[0], kept, dropped)
    report = AlignReport(len(kept), labels[0], dropped)
    return Aligned((_take(cube, index, kept) for cube, index in zip(cubes, ids, strict=True)), report)


def _label(position: int, cube: xr.DataArray | Pictures) -> str:
    name = getattr(cube, "name", None)
    return f"cube {position + 1}" + (f" ({name})" if name else "")


def _ids(label: str, cube: xr.DataArray | Pictures) -> pd.Index:
    if not isinstance(cube, xr.DataArray):
        return pd.Index(cube.ids, dtype=object)
    if STIMULUS not in cube.dims:
        raise AlignError(
            f"{label} has dims {cube.dims}; only cubes with a {STIMULUS!r} axis are joined by id"
        )
    if found := id_faults(cube, STIMULUS):
        raise AlignError(f"{label} cannot be joined by id: " + "; ".join(found))
    return cube.indexes[STIMULUS]


def _common(ids: Sequence[pd.Index]) -> pd.Index:
    """The ids that all have, in the order of the first."""
    everywhere = np.logical_and.reduce([ids[0].isin(other) for other in ids])
    return ids[0][everywhere]


def _drops(labels: Sequence[str], ids: Sequence[pd.Index], kept: set[str]) -> Iterable[Dropped]:
    """One entry for each cube and each set of cubes that lack some of its stimuli."""
    sets = [set(index) for index in ids]
    for label, index in zip(labels, ids, strict=True):
        groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for stimulus in index[~index.isin(list(kept))]:
            groups[tuple(n for n, there in enumerate(sets) if stimulus not in there)].append(stimulus)
        for lacking, gone in sorted(groups.items()):
            hint = near_misses(gone, sorted(set().union(*(sets[n] for n in lacking)) - kept))
            yield Dropped(label, len(gone), tuple(labels[n] for n in lacking), tuple(gone[:EXAMPLES]), hint)


def _refuse(how: How, first: str, kept: pd.Index, dropped: Sequence[Dropped]) -> None:
    """Raise AlignError where the ids do not allow what `how` asks."""
    faults = [one for one in dropped if how == "exact" or (how == "left" and one.cube == first)]
    detail = "".join(f"\n  - {one}" for one in (faults or dropped))
    if not len(kept):
        raise AlignError(
            f"no stimulus is in every cube, so there is nothing to join:{detail or ' all are empty'}"
        )
    if faults:
        raise AlignError(
            f"how={how!r} means: {HOWS[how]}; but{detail}\n"
            "Correct the ids, or use how='inner' to go on without these stimuli."
        )


def _take(cube: xr.DataArray | Pictures, ids: pd.Index, kept: pd.Index) -> Any:
    at = ids.get_indexer(kept)
    if len(at) == len(ids) and (at == np.arange(len(ids))).all():
        return cube
    if not isinstance(cube, xr.DataArray):
        return cube.select(at.tolist())
    if (np.diff(at) == 1).all():  # neighbours stay a slice, which keeps whole blocks whole
        return cube.isel({STIMULUS: slice(int(at[0]), int(at[-1]) + 1)})
    return cube.isel({STIMULUS: at})


def near_misses(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """What sets near misses apart, with a count and one pair of ids; empty where there are none."""
    spelled = {_plain(text): text for text in reversed(theirs)}
    pairs = [(text, spelled[_plain(text)]) for text in ours if _plain(text) in spelled]
    if not pairs:
        return ""
    ways = [way for way in _SPELLINGS if any(_plain(a, way) != _plain(b, way) for a, b in pairs)]
    differ = f"{pairs[0][0]!r} and {pairs[0][1]!r} differ only in {' and '.join(ways) or 'spelling'}"
    return f"{len(pairs)} would match if spelled alike: {differ}"


def _plain(text: str, without: str = "") -> str:
    """`text` with every difference of spelling removed, except the one named `without`."""
    for way, simplify in _SPELLINGS.items():
        text = text if way == without else simplify(text)
    return text
