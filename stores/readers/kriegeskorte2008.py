"""92 object images and the IT representations of them in humans (fMRI) and monkeys (single cells).

Kriegeskorte et al. (2008), Neuron 60:1126-1141. Dissimilarity is 1 - Pearson r of response patterns,
of 316 voxels of human IT in four people and two sessions each, and of 674 cells of monkey IT.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import PAIR, STIMULUS_A, STIMULUS_B, SUBJECT, TIME
from stores.errors import InputError
from stores.images import image_cube
from stores.provenance import file_record
from stores.readers.files import field, find, load_mat, text_of
from stores.readers.reader import Reader
from stores.specs import RDM_STACK
from stores.validate import validate

DATASET: Final = "kriegeskorte2008"
PICTURES_FILE: Final = "Kriegeskorte_Neuron2008_supplementalData.mat"
BRAIN_FILE: Final = "92_brainRDMs.mat"
PIXELS: Final = (175, 175, 3)
# The published order of the images; the RDMs carry no names, so it is all that joins them to the pictures.
BLOCKS: Final = (
    ("human bodypart", 12),
    ("human face", 12),
    ("nonhuman bodypart", 12),
    ("nonhuman face", 12),
    ("natural inanimate", 23),
    ("artificial inanimate", 21),
)
CATEGORY: Final = tuple(category for category, count in BLOCKS for _ in range(count))
IDS: Final = tuple(f"obj{n:02d}_{category.replace(' ', '_')}" for n, category in enumerate(CATEGORY, 1))
PAIRS: Final = len(IDS) * (len(IDS) - 1) // 2
_FLAGS: Final = {"animate": "animal", "human": "human", "face": "face", "natural": "natural"}
_SESSION: Final = re.compile(r"hIT \| (?P<participant>\w+) \| Session: (?P<session>\d)")


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """The three arrays of this dataset, from the folder that holds both files."""
    return {"images": images(path), "human-it": human_it(path), "monkey-it": monkey_it(path)}


def images(path: Path) -> xr.DataArray:
    """The 92 images on their grey ground, 175 x 175 x 3, with category, animate, human, face, natural.

    path : the supplemental file or its folder. Raises InputError where it is missing, broken or another file.
    """
    path = find(path, PICTURES_FILE)
    records = np.atleast_1d(load_mat(path, ["stimuli_92objs"])["stimuli_92objs"])
    _check_categories(path, records)
    pictures = np.stack([_picture(path, record, n) for n, record in enumerate(records, 1)])
    flags = {name: np.array([_flag(path, one, theirs) for one in records]) for name, theirs in _FLAGS.items()}
    coords = {"category": np.array(CATEGORY, object), **flags}
    return image_cube(pictures, IDS, dataset=DATASET, coords=coords).assign_attrs(sources=[file_record(path)])


def human_it(path: Path) -> xr.DataArray:
    """RDMs of human IT; subjects `BE-1`, `BE-2`, `KO-1` ... are a participant in a session.

    path : that file of brain RDMs or its folder. Raises InputError where it is missing, broken or another.
    """
    path = find(path, BRAIN_FILE)
    records = np.ravel(load_mat(path, ["RDMs"])["RDMs"])
    names = [
        _SESSION.fullmatch(text_of(path, field(path, one, "name", "RDMs"), "RDMs.name")) for one in records
    ]
    if None in names or len(records) != 8:
        raise InputError(
            f"{path}: RDMs holds {len(records)} entries, not all named like "
            "'hIT | BE | Session: 1'; wanted the 8 of 4 participants in 2 sessions"
        )
    people = [(name["participant"], int(name["session"])) for name in names if name]
    rdms = [
        _condensed(path, field(path, one, "RDM", "RDMs"), f"RDMs({n})") for n, one in enumerate(records, 1)
    ]
    stack = _stack(path, np.stack(rdms), [f"{participant}-{session}" for participant, session in people])
    return stack.assign_coords(
        participant=(SUBJECT, np.array([one for one, _ in people], object)),
        session=(SUBJECT, np.array([session for _, session in people])),
    )


def monkey_it(path: Path) -> xr.DataArray:
    """The one RDM of monkey IT, over all cells of both animals: subject `monkeys`.

    path : the supplemental file or its folder. Raises InputError where it is missing, broken or another file.
    """
    path = find(path, PICTURES_FILE)
    name = "RDMs_mIT_hIT_fig1"
    records = np.atleast_1d(load_mat(path, [name])[name])
    monkey = [one for one in records if "mIT" in str(field(path, one, "name", name))]
    if len(monkey) != 1:
        raise InputError(f"{path}: {name} has {len(monkey)} entries with 'mIT' in their names; wanted one")
    rdm = np.asarray(field(path, monkey[0], "RDM", name))
    if rdm.shape != (PAIRS,):
        raise InputError(
            f"{path}: {name}.RDM has shape {rdm.shape}; wanted {PAIRS} pairs of {len(IDS)} images"
        )
    return _stack(path, _checked(path, rdm, f"{name}.RDM")[None], ["monkeys"])


def _check_categories(path: Path, records: NDArray[Any]) -> None:
    """The ids rest on the published order; a file in another one must not get them."""
    found = [text_of(path, field(path, one, "category", "stimuli_92objs"), "category") for one in records]
    if tuple(found) != CATEGORY:
        alike = [got == want for got, want in zip(found, CATEGORY, strict=False)]
        first = (alike.index(False) if False in alike else len(alike)) + 1
        raise InputError(
            f"{path}: stimuli_92objs has {len(found)} images, whose categories first differ from the "
            f"published order at image {first}; wanted the {len(IDS)} images as published"
        )


def _picture(path: Path, record: Any, number: int) -> NDArray[np.uint8]:
    pixels = np.asarray(field(path, record, "image", "stimuli_92objs"))
    if pixels.shape != PIXELS or pixels.dtype != np.uint8:
        raise InputError(
            f"{path}: stimuli_92objs({number}).image is {pixels.dtype} {pixels.shape}; wanted uint8 {PIXELS}"
        )
    return pixels


def _flag(path: Path, record: Any, name: str) -> bool:
    value = np.asarray(field(path, record, name, "stimuli_92objs"))
    if value.shape != () or value.dtype.kind not in "biuf":
        raise InputError(f"{path}: stimuli_92objs.{name} is {value.dtype} {value.shape}; wanted 0 or 1")
    return bool(value)


def _condensed(path: Path, rdm: Any, where: str) -> NDArray[np.floating[Any]]:
    """Upper triangle of a square RDM, (pair,), row by row."""
    square = np.asarray(rdm)
    if square.shape != (len(IDS), len(IDS)):
        raise InputError(f"{path}: {where} has shape {square.shape}; wanted {len(IDS)} x {len(IDS)}")
    if not np.array_equal(square, square.T) or np.diag(square).any():
        raise InputError(f"{path}: {where} is no RDM: it is not symmetric with zeros on its diagonal")
    return _checked(path, square[np.triu_indices(len(IDS), 1)], where)


def _checked(path: Path, rdm: NDArray[Any], where: str) -> NDArray[np.floating[Any]]:
    if rdm.dtype.kind != "f" or not ((rdm >= 0) & (rdm <= 2)).all():
        raise InputError(
            f"{path}: {where} is {rdm.dtype} and not all in 0..2, where 1 - correlation must lie"
        )
    return rdm


def _stack(path: Path, rdms: NDArray[Any], subjects: list[str]) -> xr.DataArray:
    first, second = np.triu_indices(len(IDS), 1)
    ids = np.array(IDS, object)
    stack = xr.DataArray(
        rdms[:, None, :].astype(np.float64),
        dims=(SUBJECT, TIME, PAIR),
        coords={
            SUBJECT: np.array(subjects, object),
            TIME: np.zeros(1),
            STIMULUS_A: (PAIR, ids[first]),
            STIMULUS_B: (PAIR, ids[second]),
        },
        attrs={
            "modality": RDM_STACK.name,
            "metric": "correlation",
            "quantity": "dissimilarity",
            "units": "a.u.",
            "dataset": DATASET,
            "sources": [file_record(path)],
        },
    )
    return validate(stack)


READER: Final = Reader(
    "kriegeskorte2008",
    "92 object images; dissimilarities of human (fMRI) and monkey (cells) IT. Kriegeskorte et al. (2008).",
    (PICTURES_FILE, BRAIN_FILE),
    read,
)
