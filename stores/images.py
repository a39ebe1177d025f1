"""Pictures as a cube: one unit per pixel and channel, rows first, channel fastest."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import SchemaError
from stores.specs import IMAGES
from stores.validate import validate

CHANNELS: Final[Mapping[int, tuple[str, ...]]] = {1: ("L",), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}


def image_cube(
    pixels: Any, ids: Sequence[str], *, dataset: str, coords: Mapping[str, Any] | None = None
) -> xr.DataArray:
    """Pictures of one size as a cube of modality `images`.

    pixels : (stimulus, row, col, channel), uint8, NumPy or Dask; 1, 3 or 4 channels.
    ids : (stimulus,), unique strings.    coords : further coordinates along the stimuli, such as category.
    Raises SchemaError where shape, dtype or ids are not so. Reads no values.
    """
    if pixels.ndim != 4 or pixels.shape[3] not in CHANNELS or len(ids) != pixels.shape[0]:
        raise SchemaError(
            f"pixels have shape {pixels.shape} for {len(ids)} ids; wanted (stimulus, row, col, channel) with "
            f"{sorted(CHANNELS)} channels and one id for each stimulus"
        )
    count, height, width, channels = pixels.shape
    row, col, channel = (axis.ravel() for axis in np.indices((height, width, channels)))
    letters = np.array(CHANNELS[channels], object)[channel]
    units = [f"r{r:03d}_c{c:03d}_{k}" for r, c, k in zip(row.tolist(), col.tolist(), letters, strict=True)]
    cube = xr.DataArray(
        pixels.reshape(count, -1, 1, 1),
        dims=CUBE,
        coords={
            STIMULUS: np.array(ids, object),
            UNIT: np.array(units, object),
            TIME: np.zeros(1),
            REPEAT: np.arange(1),
            "row": (UNIT, row.astype("int32")),
            "col": (UNIT, col.astype("int32")),
            "channel": (UNIT, letters),
            **{name: (STIMULUS, np.asarray(values)) for name, values in (coords or {}).items()},
        },
        attrs={
            "modality": IMAGES.name,
            "quantity": "pixel value",
            "units": "sRGB level",
            "dataset": dataset,
            "height": height,
            "width": width,
            "channels": channels,
        },
    )
    return validate(cube)


def pixels_of(cube: xr.DataArray) -> Any:
    """The pixels of an image cube, (stimulus, row, col, channel); lazy where the cube is.

    Raises SchemaError where its units are not whole pictures of the size that its attrs tell.
    """
    height, width, channels = (int(cube.attrs[name]) for name in ("height", "width", "channels"))
    if cube.sizes[UNIT] != height * width * channels:
        raise SchemaError(
            f"there are {cube.sizes[UNIT]} units; the attrs tell of {height} x {width} x {channels}. "
            "Select stimuli, not units, before asking for pictures."
        )
    return cube.data.reshape(cube.sizes[STIMULUS], height, width, channels)
