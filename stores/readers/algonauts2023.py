"""Algonauts 2023: responses of the visual cortex, on fsaverage, to the training images of one NSD subject.

`{lh,rh}_training_fmri.npy` hold (image, vertex), float32: betas z-scored by session, averaged over an image's
repeats. Row i belongs to `train-<i + 1>_nsd-<nsdId from 0>.png`; the responses to `test-*.png` are withheld.
`{lh,rh}.<class>_challenge_space.npy` has a region's code for each vertex, 0 for none; the names of the codes lie
in `mapping_<class>.npy`, which are pickled dicts, read only with allow_pickle=True (see `unpickle`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.cubes import Labels, cube_of, texts, unique
from stores.readers.files import find
from stores.readers.lazy import Region, finite, from_blocks
from stores.readers.npy import Stored, array, header
from stores.readers.reader import Reader
from stores.readers.trials import blocks
from stores.readers.unpickle import unpickled
from stores.specs import FMRI

DATASET: Final = "algonauts2023"
HEMISPHERES: Final = {"lh": "left", "rh": "right"}
FMRI_FILE: Final = "{}_training_fmri.npy"
VERTICES_FILE: Final = "{}.all-vertices_fsaverage_space.npy"
SPACE: Final = "_challenge_space.npy"
IMAGE: Final = re.compile(r"(?P<split>train|test)-(?P<row>\d+)_nsd-(?P<nsd>\d+)\.png")
EXAMPLE: Final = "train-0001_nsd-00013.png"
DTYPE: Final = "float32"


@dataclass(frozen=True)
class Hemispheres:
    """Blocks (image, vertex, 1, 1) of arrays that lie side by side along the vertices."""

    parts: tuple[Stored, ...]

    def __call__(self, where: Region) -> NDArray[Any]:
        """Values there. Raises InputError."""
        found, first = [], 0
        for part in self.parts:
            size = part.header.shape[1]
            low, high = max(where[1].start - first, 0), min(where[1].stop - first, size)
            if low < high:
                found.append(part((where[0], slice(low, high), *where[2:])))
            first += size
        return np.concatenate(found, axis=1)


def read(
    path: Path, *, allow_pickle: bool = False, scratch: Path | None = None
) -> Mapping[str, xr.DataArray]:
    """`train`, both hemispheres of one subject, left first, from its folder (`subj01`).

    A stimulus is `nsd00013` by its nsdId from 0, as in the reader of NSD; `file` is its image's stem. A unit is
    a vertex of fsaverage. Regions overlap: they are `roi_<name>`, such as roi_V1v, with allow_pickle, else
    `roi_<class>_<code>`, and the names that were not read are counted as dropped. `noise_ceiling` (share of
    variance, of the test images) is there where its files are.
    scratch : where what comes out of the pickles goes. Raises InputError.
    """
    path = Path(path).expanduser()
    folder = path / "training_split" / "training_fmri"
    files = [find(folder if folder.is_dir() else path, FMRI_FILE.format(one)) for one in HEMISPHERES]
    names, withheld = _images(path)
    parts = tuple(_stored(one, len(names)) for one in files)
    masks = path / "roi_masks"
    vertices = [
        _vertices(find(masks if masks.is_dir() else path, VERTICES_FILE.format(hemisphere)), one)
        for hemisphere, one in zip(HEMISPHERES, parts, strict=True)
    ]
    rois, unnamed, used = _rois(masks, vertices, allow_pickle, scratch)
    sides = [side for side, one in zip(HEMISPHERES, vertices, strict=True) for _ in one]
    places = np.concatenate(vertices)
    ceilings, more = _ceilings(path / "test_split" / "noise_ceiling", parts)
    shape = (len(names), len(places), 1, 1)
    cube = cube_of(
        from_blocks(Hemispheres(parts), blocks(shape, DTYPE, whole=[UNIT], slow=STIMULUS), DTYPE),
        FMRI,
        stimuli=unique(path, "training_images", [f"nsd{nsd:05d}" for _, nsd in names]),
        units=[f"{side}_v{vertex:06d}" for side, vertex in zip(sides, places.tolist(), strict=True)],
        sources=[*files, *used, *more],
        attrs={
            "quantity": "GLM beta, z-scored by session, mean over repeats",
            "units": "z",
            "dataset": DATASET,
            "subject": path.resolve().name,
        },
        coords={
            "file": (STIMULUS, texts(stem for stem, _ in names)),
            "nsd_id": (STIMULUS, np.array([nsd for _, nsd in names])),
            "split": (STIMULUS, texts(["train"] * len(names))),
            "hemisphere": (UNIT, texts(HEMISPHERES[one] for one in sides)),
            "vertex": (UNIT, places),
            **rois,
            **ceilings,
        },
        dropped={
            "test images, whose responses are withheld": withheld,
            "names of regions, pickled (allow_pickle=True reads them)": unnamed,
        },
    )
    return {"train": cube}


def _images(path: Path) -> tuple[list[tuple[str, int]], int]:
    """(stem, nsdId) of the training images by row, and how many test images there are."""
    found: dict[str, dict[int, tuple[str, int]]] = {"train": {}, "test": {}}
    for file in sorted(path.rglob("*.png")):
        if not (match := IMAGE.fullmatch(file.name)):
            raise InputError(f"{file} is no image of this dataset; wanted a name like {EXAMPLE}")
        if int(match["row"]) in found[match["split"]]:
            raise InputError(f"{file} is a second image of row {int(match['row'])}")
        found[match["split"]][int(match["row"])] = file.stem, int(match["nsd"])
    train = found["train"]
    if sorted(train) != list(range(1, len(train) + 1)) or not train:
        gap = next((n for n in range(1, len(train) + 2) if n not in train), 1)
        raise InputError(
            f"{path} holds {len(train)} images like {EXAMPLE}, but none of row {gap}; wanted one for every row"
        )
    return [train[row] for row in sorted(train)], len(found["test"])


def _stored(path: Path, images: int) -> Stored:
    head = header(path)
    if len(head.shape) != 2 or np.dtype(head.dtype).kind != "f" or head.shape[0] != images:
        raise InputError(
            f"{path} is {head.dtype} {head.shape}; wanted (image, vertex) of the {images} training images"
        )
    return Stored(path, "", head, (0, 1, None, None), DTYPE)


def _vertices(path: Path, part: Stored) -> NDArray[np.int64]:
    """Which vertices of fsaverage the columns are."""
    inside = _whole(path, array(path))
    if not np.isin(inside, (0, 1)).all() or int(inside.sum()) != part.header.shape[1]:
        raise InputError(
            f"{path} marks {int((inside != 0).sum())} vertices; {part.path.name} has {part.header.shape[1]}. "
            "Is it of another subject?"
        )
    return np.flatnonzero(inside)


def _whole(path: Path, values: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers along one axis, from whatever dtype they have."""
    if values.ndim != 1 or values.dtype.kind not in "fiub" or (values != np.round(values)).any():
        raise InputError(f"{path} is {values.dtype} {values.shape}; wanted one whole number per vertex")
    if (np.abs(values.astype(np.float64)) > 2**31).any():
        raise InputError(f"{path} holds numbers beyond any code of a region")
    return values.astype(np.int64)


def _rois(
    folder: Path, vertices: list[NDArray[np.int64]], allow: bool, scratch: Path | None
) -> tuple[Labels, int, list[Path]]:
    """Masks over the vertices of both hemispheres, how many classes have no names, and the files read."""
    kinds = sorted({one.name[3 : -len(SPACE)] for one in folder.glob(f"[lr]h.*{SPACE}")})
    masks: dict[str, tuple[str, Any]] = {}
    used: list[Path] = []
    for kind in kinds:
        codes = [
            _codes(folder, hemisphere, kind, one)
            for hemisphere, one in zip(HEMISPHERES, vertices, strict=True)
        ]
        used += [folder / f"{hemisphere}.{kind}{SPACE}" for hemisphere in HEMISPHERES]
        mapping = folder / f"mapping_{kind}.npy"
        names = _names(mapping, unpickled(mapping, allow, scratch)) if allow else None
        used += [mapping] if allow else []
        flat = np.concatenate(codes)
        for code in np.unique(flat[flat > 0]).tolist():
            if names is not None and code not in names:
                raise InputError(
                    f"{mapping} has no name for the code {code} of {kind}{SPACE}; it has {names}"
                )
            name = f"roi_{kind}_{code}" if names is None else f"roi_{names[code]}"
            if name in masks:
                raise InputError(f"{mapping}: {name.removeprefix('roi_')!r} is the name of two regions")
            masks[name] = (UNIT, flat == code)
    return masks, 0 if allow else len(kinds), used


def _codes(folder: Path, hemisphere: str, kind: str, vertices: NDArray[np.int64]) -> NDArray[np.int64]:
    """A code per vertex, which must be that of the same vertex in fsaverage, where its file is there."""
    path = find(folder, f"{hemisphere}.{kind}{SPACE}")
    codes = _whole(path, array(path))
    if len(codes) != len(vertices):
        raise InputError(
            f"{path} has {len(codes)} vertices; {FMRI_FILE.format(hemisphere)} has {len(vertices)}"
        )
    other = folder / path.name.replace(SPACE, "_fsaverage_space.npy")
    if other.is_file():
        everywhere = _whole(other, array(other))
        if vertices[-1] >= len(everywhere) or (everywhere[vertices] != codes).any():
            raise InputError(f"{path} and {other.name} differ: one of them is of another subject")
    return codes


def _names(path: Path, found: Mapping[str, Any]) -> dict[int, str]:
    """Names by code."""
    if not all(
        re.fullmatch(r"-?\d+", code) and isinstance(name, str) and name for code, name in found.items()
    ):
        raise InputError(f"{path} is no mapping of codes to names; it has {dict(found)}")
    return {int(code): name for code, name in found.items()}


def _ceilings(folder: Path, parts: tuple[Stored, ...]) -> tuple[Labels, list[Path]]:
    files = [folder / f"{one}_noise_ceiling.npy" for one in HEMISPHERES]
    if not any(one.is_file() for one in files):
        return {}, []
    found = []
    for file, part in zip(files, parts, strict=True):
        values = array(find(folder, file.name))
        if values.shape != part.header.shape[1:] or values.dtype.kind != "f":
            raise InputError(f"{file} is {values.dtype} {values.shape}; wanted one number per vertex")
        found.append(finite(file, "its array", values).astype(np.float64))
    return {"noise_ceiling": (UNIT, np.concatenate(found))}, files


READER: Final = Reader(
    DATASET,
    "fMRI of NSD's subjects on fsaverage, as given to the Algonauts Challenge 2023. Gifford et al. (2023).",
    (*(FMRI_FILE.format(one) for one in HEMISPHERES), EXAMPLE, VERTICES_FILE.format("lh")),
    read,
)
