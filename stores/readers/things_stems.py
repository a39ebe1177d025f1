"""The names of THINGS images: one key for all data sets, and why it is never a number.

An image is `<concept>_<NN><b|s|n>`, its file's stem: `aardvark_01b`, `hot-air_balloon_03s`. Folders differ
between releases (and five of ds004192 are wrong), so only the last part of a path counts. Two numberings of
the 26,107 images are in use. "paper" (fMRI and MEG events) sorts concepts with "_" as a blank, "ascii"
(memorability scores, EEG2) as the character it is; they differ for 285 images and 20 concepts.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

import numpy as np
import xarray as xr

from stores.dims import STIMULUS
from stores.errors import InputError

STEM: Final = re.compile(r"(?P<concept>.*[^\s_].*)_\d{2}[bsn]", re.ASCII)
NUMBERINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "paper": lambda concept: concept.replace("_", " "),
    "ascii": lambda concept: concept,
}
"""How each numbering spells a concept before sorting."""

_EXTENSION = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)


def stem_of(spelling: str) -> str:
    r"""`dog\dog_12s.jpg`, `images_meg/dog/dog_12s.jpg`, `dog_12s` -> `dog_12s`. Raises InputError."""
    stem = _EXTENSION.sub("", re.split(r"[/\\]", spelling.strip())[-1])
    if not STEM.fullmatch(stem):
        raise InputError(
            f"{spelling!r} names no THINGS image; wanted <concept>_<two digits><b, s or n>, such as "
            "dog_12s.jpg, in whatever folder"
        )
    return stem


def concept_of(stem: str) -> str:
    """`hot-air_balloon_03s` -> `hot-air_balloon`: digits and hyphens belong to concepts (`bat1`, `yo-yo`)."""
    return stem.rsplit("_", 1)[0]


def image_numbers(stems: Iterable[str], numbering: str) -> dict[str, int]:
    """Number of each image, from 1, among `stems`, which must be the complete image database.

    numbering : "paper" or "ascii". Inside a concept images go by file name. Raises InputError, ValueError.
    """
    key = _key(numbering)
    return _ranks(stems, lambda stem: (key(concept_of(stem)), stem))


def concept_numbers(concepts: Iterable[str], numbering: str) -> dict[str, int]:
    """Number of each concept, from 1, among all of them; see `image_numbers`."""
    key = _key(numbering)
    return _ranks(concepts, lambda concept: (key(concept), concept))


def with_image_numbers(cube: xr.DataArray, database: Sequence[str]) -> xr.DataArray:
    """`cube` with both numbers of its images as plain coordinates, never to be joined by.

    database : the stems of all THINGS images. Raises InputError where an image is not among them.
    """
    found = {}
    for numbering in NUMBERINGS:
        numbers = image_numbers(database, numbering)
        ids = [str(one) for one in cube[STIMULUS].values]
        if absent := [one for one in ids if one not in numbers]:
            raise InputError(
                f"{len(absent)} stimuli are not in the image database, such as {absent[0]!r}"
                + (f"; is it {near[0]!r}?" if (near := get_close_matches(absent[0], numbers, n=1)) else "")
            )
        found[f"things_image_nr_{numbering}"] = (STIMULUS, np.array([numbers[one] for one in ids], np.int64))
    return cube.assign_coords(found)


def _key(numbering: str) -> Callable[[str], str]:
    if numbering not in NUMBERINGS:
        raise ValueError(f"unknown numbering {numbering!r}; choose one of {sorted(NUMBERINGS)}")
    return NUMBERINGS[numbering]


def _ranks(names: Iterable[str], key: Callable[[str], object]) -> dict[str, int]:
    listed = list(names)
    ranks = {name: n for n, name in enumerate(sorted(listed, key=key), start=1)}  # type: ignore[arg-type]
    if len(ranks) != len(listed):
        repeated = (
            sorted({name for name in ranks if listed.count(name) > 1})[:3] if len(listed) < 10**4 else ""
        )
        raise InputError(
            f"{len(listed) - len(ranks)} names occur more than once {repeated}; wanted each once"
        )
    return ranks
