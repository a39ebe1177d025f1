"""THINGS-EEG2 (Gifford et al. 2022): 17 electrodes of the back of the head, 100 Hz, preprocessed.

Its files are pickled dicts, read only with allow_pickle=True (see `unpickle`). Row i of the data is image i
of `image_metadata.npy`, whose file stems are the names of THINGS. The data are whitened (MVNN) with the
covariance of training and test together, so they have no unit of voltage; repeats are in random order.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of, texts, unique
from stores.readers.files import find, nearest
from stores.readers.lazy import lazy
from stores.readers.npy import Stored, array, header
from stores.readers.reader import Reader
from stores.readers.unpickle import unpickled
from stores.specs import EEG

DATASET: Final = "things_eeg2"
FILES: Final = {"train": "preprocessed_eeg_training.npy", "test": "preprocessed_eeg_test.npy"}
METADATA: Final = "image_metadata.npy"
DTYPE: Final = "float32"


def read(
    path: Path, *, allow_pickle: bool = False, metadata: Path | None = None, scratch: Path | None = None
) -> Mapping[str, xr.DataArray]:
    """`train` and `test` of one subject, from its folder (`sub-01`).

    metadata : image_metadata.npy, else looked for in the folder, in the ones above, and in their image_set.
    scratch : where the arrays go that come out of the pickles. Raises InputError.
    """
    path = Path(path).expanduser()
    files = {split: find(path, name) for split, name in FILES.items()}
    listing = Path(metadata).expanduser() if metadata else _metadata(files["train"].parent)
    names = unpickled(listing, allow_pickle, scratch)
    return {split: _cube(file, split, listing, names, allow_pickle, scratch) for split, file in files.items()}


def _cube(
    path: Path, split: str, listing: Path, names: Mapping[str, Any], allow: bool, scratch: Path | None
) -> xr.DataArray:
    found = unpickled(path, allow, scratch)
    for name in ("preprocessed_eeg_data", "ch_names", "times"):
        if name not in found:
            raise InputError(f"{path} has no {name!r}; it has {', '.join(found) or 'nothing'}")
    data, times, channels = (found[name] for name in ("preprocessed_eeg_data", "times", "ch_names"))
    if not isinstance(data, Path) or not isinstance(times, Path) or not isinstance(channels, list):
        raise InputError(
            f"{path}: wanted arrays preprocessed_eeg_data and times, and the list ch_names, not others"
        )
    head, moments = header(data), np.round(array(times), 6)
    files = _names(listing, names, f"{split}_img_files")
    concepts = _names(listing, names, f"{split}_img_concepts")
    want = (len(files), head.shape[1] if len(head.shape) == 4 else 0, len(channels), len(moments))
    if head.shape != want or np.dtype(head.dtype).kind != "f" or len(concepts) != len(files):
        raise InputError(
            f"{path}: preprocessed_eeg_data is {head.dtype} {head.shape} beside {len(files)} images of "
            f"{listing.name}, {len(channels)} ch_names and {len(moments)} times; "
            "wanted (image, repeat, channel, time)"
        )
    images, repeats, _, _ = head.shape
    stems = [str(one).rsplit(".", 1)[0] for one in files]
    return cube_of(
        lazy(
            Stored(data, "", head, (0, 2, 3, 1), DTYPE),
            (images, len(channels), len(moments), repeats),
            DTYPE,
            split=0,
            source=path,
        ),
        EEG,
        stimuli=unique(listing, f"{split}_img_files", stems),
        units=unique(path, "ch_names", [str(one) for one in channels]),
        time=moments,
        sources=[path, listing],
        attrs={
            "quantity": "whitened potential",
            "units": "a.u.",
            "dataset": DATASET,
            "subject": path.resolve().parent.name,
        },
        coords={
            "channel": (UNIT, texts(channels)),
            "concept": (STIMULUS, texts(one.rsplit("_", 1)[0] for one in stems)),
            "things_concept_nr_ascii": (STIMULUS, [_number(listing, str(one)) for one in concepts]),
            "file": (STIMULUS, texts(files)),
            "split": (STIMULUS, texts([split] * images)),
        },
    )


def _names(path: Path, names: Mapping[str, Any], field: str) -> list[str]:
    found = names.get(field)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InputError(f"{path} has no list of names {field!r}; it has {', '.join(names) or 'nothing'}")
    return found


def _number(path: Path, concept: str) -> int:
    """Number of `00001_aardvark`."""
    digits = concept.split("_", 1)[0]
    if not digits.isdecimal():
        raise InputError(f"{path}: the concept {concept!r} has no number; wanted one like '00001_aardvark'")
    return int(digits)


def _metadata(folder: Path) -> Path:
    found = nearest((folder, *folder.resolve().parents[:3]), METADATA, f"image_set/{METADATA}")
    if found is None:
        raise InputError(f"{folder} and the folders above hold no {METADATA}, nor image_set/{METADATA}")
    return found


READER: Final = Reader(
    DATASET,
    "EEG of people who saw THINGS images in quick succession; pickled. Gifford et al. (2022).",
    (*FILES.values(), METADATA),
    read,
)
