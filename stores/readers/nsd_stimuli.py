"""The 73,000 pictures of NSD, `nsd_stimuli.hdf5`: `imgBrick`, uint8 (picture, row, col, 3), by nsdId from 0."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.errors import InputError
from stores.images import CHANNELS, image_cube
from stores.readers.files import find, source_record
from stores.readers.hdf5 import opened
from stores.readers.lazy import Region, lazy
from stores.readers.nsd import DATASET
from stores.readers.reader import Reader
from stores.readers.slabs import stored

FILE: Final = "nsd_stimuli.hdf5"
BRICK: Final = "imgBrick"


@dataclass(frozen=True)
class Brick:
    """Blocks (picture, row, col, channel)."""

    path: Path

    def __call__(self, where: Region) -> NDArray[Any]:
        """Pixels there. Raises InputError."""
        with opened(self.path) as file:
            return np.asarray(file[BRICK][where])


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`images`, every picture; a stimulus is `nsd00012`, as in the reader `nsd`. Raises InputError."""
    path = find(path, FILE)
    with opened(path) as file:
        found = stored(path, file, BRICK, ndim=4, kinds="u")
        if found.dtype != np.uint8 or found.shape[3] not in CHANNELS or min(found.shape) < 1:
            raise InputError(
                f"{path}: {BRICK} is {found.dtype} {found.shape}; wanted uint8 (picture, row, col, channel) with "
                f"{' or '.join(map(str, CHANNELS))} channels"
            )
        shape = tuple(map(int, found.shape))
    pixels = lazy(Brick(path), shape, np.uint8, split=0, source=path)
    ids = [f"nsd{one:05d}" for one in range(shape[0])]
    coords = {"nsd_id": np.arange(shape[0]), "file": np.array(ids, object)}
    return {
        "images": image_cube(pixels, ids, dataset=DATASET, coords=coords).assign_attrs(
            sources=[source_record(path)]
        )
    }


READER: Final = Reader(
    "nsd-stimuli", "The 73,000 pictures of NSD, as a cube of images. Allen et al. (2022).", (FILE,), read
)
