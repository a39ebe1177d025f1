"""Haxby et al. (2001): one subject's scans while seeing faces, houses and six other kinds of objects.

`bold.nii.gz` has one volume per row of `labels.txt` (columns `labels chunks`; PyMVPA's copy has no header
and is named attributes_literal.txt); `mask4_vt.nii.gz` and the like are regions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import REPEAT, STIMULUS
from stores.errors import InputError
from stores.readers.cubes import cube_of, texts
from stores.readers.files import find
from stores.readers.lazy import lazy, starts
from stores.readers.reader import Reader
from stores.readers.volumes import Times, masks_in, opened, voxel_labels
from stores.specs import FMRI

DATASET: Final = "haxby2001"
BOLD: Final = "bold.nii.gz"
LABELS: Final = "labels.txt"
OTHER_LABELS: Final = "attributes_literal.txt"
DTYPE: Final = "float32"


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`volumes`, every volume with its category and chunk, and `runs`, one mean per category and chunk.

    In `volumes` a stimulus is `face_c08_003`, category, chunk and how many before it there; in `runs` it is
    the category, and each chunk one repeat, NaN where a chunk lacks the category. No correction for the
    delay of the response is made. Cross-validate by chunk. Raises InputError.
    """
    bold, listing = find(path, BOLD), _labels_file(Path(path).expanduser())
    labels, chunks = _labels(listing)
    image = opened(bold)
    if len(image.shape) != 4 or image.shape[3] != len(labels):
        raise InputError(
            f"{bold} has {image.shape[3] if len(image.shape) == 4 else 1} volumes, {listing} labels of "
            f"{len(labels)}; wanted as many"
        )
    units, places = voxel_labels(image, masks_in(bold.parent, image, "mask*"))
    shape = (len(labels), len(units), 1, 1)
    volumes = lazy(Times(image, DTYPE), shape, DTYPE, split=0, source=bold)
    common = {
        "quantity": "BOLD signal",
        "units": "a.u.",
        "dataset": DATASET,
        "subject": bold.resolve().parent.name,
    }
    sources = [bold, listing]
    each = cube_of(
        volumes,
        FMRI,
        stimuli=_names(labels, chunks),
        units=units,
        sources=sources,
        attrs=common,
        coords={**places, "category": (STIMULUS, texts(labels)), "chunk": (STIMULUS, np.array(chunks))},
    )
    kinds, runs = sorted(set(labels)), sorted(set(chunks))
    means = cube_of(
        _means(volumes, labels, chunks, kinds, runs),
        FMRI,
        stimuli=kinds,
        units=units,
        sources=sources,
        attrs={**common, "quantity": "BOLD signal, mean over the volumes of a category in a run"},
        coords={**places, "category": (STIMULUS, texts(kinds)), "run": (REPEAT, np.array(runs))},
    )
    return {"volumes": each, "runs": means}


def _means(
    volumes: da.Array, labels: list[str], chunks: list[int], kinds: list[str], runs: list[int]
) -> da.Array:
    """Mean over the volumes of each category and run, (category, voxel, 1, run), by one matrix product."""
    weights = np.zeros((len(kinds) * len(runs), len(labels)), DTYPE)
    for row, (label, chunk) in enumerate(zip(labels, chunks, strict=True)):
        weights[kinds.index(label) * len(runs) + runs.index(chunk), row] = 1
    with np.errstate(invalid="ignore"):
        weights /= weights.sum(axis=1, keepdims=True)  # a category that a run lacks becomes NaN
    parts: list[Any] = []
    for start, stop in starts(volumes.chunks[0]):
        part = da.map_blocks(  # type: ignore[no-untyped-call]
            _product,
            volumes[start:stop, :, 0, 0],
            weights=weights[:, start:stop],
            dtype=DTYPE,
            chunks=((len(weights),), volumes.chunks[1]),
        )
        parts.append(part)
    total: Any = sum(parts[1:], parts[0])
    found: da.Array = total.reshape(len(kinds), len(runs), -1).transpose(0, 2, 1)[:, :, None, :]
    return found


def _product(block: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return weights @ block


def _names(labels: list[str], chunks: list[int]) -> list[str]:
    seen: dict[tuple[str, int], int] = {}
    names = []
    for pair in zip(labels, chunks, strict=True):
        names.append(f"{pair[0]}_c{pair[1]:02d}_{seen.get(pair, 0):03d}")
        seen[pair] = seen.get(pair, 0) + 1
    return names


def _labels_file(path: Path) -> Path:
    folder = path.parent if path.is_file() else path
    if (folder / OTHER_LABELS).is_file() and not (folder / LABELS).is_file():
        return folder / OTHER_LABELS
    return find(folder, LABELS)


def _labels(path: Path) -> tuple[list[str], list[int]]:
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text ({error}); wanted lines of `labels chunks`") from error
    if lines and lines[0] == ["labels", "chunks"]:
        lines = lines[1:]
    if wrong := next((n for n, one in enumerate(lines, 1) if len(one) != 2 or not one[1].isdecimal()), 0):
        raise InputError(f"{path}: row {wrong} is {' '.join(lines[wrong - 1])!r}; wanted a label and a chunk")
    if not lines:
        raise InputError(f"{path} holds no rows; wanted lines of `labels chunks`")
    return [one[0] for one in lines], [int(one[1]) for one in lines]


READER: Final = Reader(
    DATASET,
    "Faces, houses and six kinds of objects in ventral temporal cortex, one subject. Haxby et al. (2001).",
    (BOLD, LABELS),
    read,
)
