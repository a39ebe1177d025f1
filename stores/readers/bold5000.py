"""BOLD5000, release 1 (Chang et al. 2019): responses of regions to nearly 5,000 photographs, four people.

`ROIs/CSI1/{h5,mat}/CSI1_ROIs_TR34.{h5,mat}` hold a matrix (trial, voxel) for each region and hemisphere, at one
time after onset: TR 1 to 5, of 2 s each, or the mean of 3 and 4. `ROIs/stim_lists/CSI01_stim_lists.txt` (mind the
0) names the image of each trial; 113 images came back, and do so as `rep_<name>`. A run has 37 trials.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.io
import xarray as xr
from numpy.typing import NDArray

from stores.dims import REPEAT, STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.cubes import Labels, cube_of, texts
from stores.readers.files import load_mat, nearest
from stores.readers.hdf5 import opened
from stores.readers.lazy import from_blocks, plausible
from stores.readers.presentations import labels
from stores.readers.reader import Reader
from stores.readers.slabs import Rows, single, stored
from stores.readers.tables import text_of
from stores.readers.trials import Indices, TrialReader, blocks, presented
from stores.specs import FMRI

DATASET: Final = "bold5000"
TIMES: Final[Mapping[str, str]] = {**{str(n): f"TR {n}" for n in range(1, 6)}, "34": "mean of TR 3 and 4"}
FILE: Final = re.compile(r"(?P<subject>CSI\d)_ROIs_TR(?P<tr>\d+)\.(h5|mat)")
LIST: Final = "CSI0{}_stim_lists.txt"
AGAIN: Final = "rep_"
RUN_TRIALS: Final = 37
NUMBERS: Final = ("double", "single")
SAME: Final[Mapping[str, str]] = {"LO": "LOC", "RRSC": "RSC"}
"""Regions that go by another name in some subjects."""
_ROI: Final = re.compile(r"(?P<side>[LR])H(?P<region>\w+)")
_IMAGENET: Final = re.compile(r"n\d{8}_")


def read(path: Path, *, tr: str = "34") -> Mapping[str, xr.DataArray]:
    """`CSI1` to `CSI4`, as far as their files are below the folder, or of one file; .h5 goes before .mat.

    tr : "1" to "5", or "34", which is the peak of the response. A stimulus is the stem of an image without
    `rep_`, a repeat one more of its trials, in order; a unit is a voxel of a region, as `LHPPA_0003`. It carries
    roi as the file names it, and hemisphere and region, whose names are the same for everybody (LOC for LO, RSC
    for RRSC). Presentations carry trial, trial_run (both through all sessions) and repeated. Raises InputError.
    """
    if tr not in TIMES:
        raise InputError(f"there is no tr {tr!r}; choose one of {', '.join(TIMES)}")
    found = {}
    for subject, file in _files(Path(path).expanduser(), tr).items():
        match = FILE.fullmatch(file.name)
        found[subject] = _cube(file, subject, match["tr"] if match else tr)
    return found


def image_names(path: Path) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """Stimulus of each trial from a list of files, one a line, and what is known of trials. Raises InputError.

    trial counts from 0, trial_run from 1, where all runs are whole; image_type is coco, imagenet or scenes, by
    the name.
    """
    lines = [line.strip() for line in text_of(path).splitlines()]
    if not all(lines):
        raise InputError(f"{path}: line {lines.index('') + 1} is empty; wanted the file of an image")
    files = [line.replace("\\", "/").rsplit("/", 1)[-1].removeprefix(AGAIN) for line in lines]
    stems = [one.rsplit(".", 1)[0] for one in files]
    by_stem = dict(zip(stems, files, strict=True))
    if other := next((one for one, stem in zip(files, stems, strict=True) if by_stem[stem] != one), None):
        raise InputError(f"{path}: {other} and {by_stem[other.rsplit('.', 1)[0]]} would be one stimulus")
    trial, counts = np.arange(len(lines)), Counter(stems)
    runs = {"trial_run": trial // RUN_TRIALS + 1} if len(lines) % RUN_TRIALS == 0 else {}
    return stems, {
        "trial": trial,
        **runs,
        "file": texts(files),
        "image_type": texts(_type(one) for one in files),
        "repeated": np.array([counts[one] > 1 for one in stems]),
    }


def _type(name: str) -> str:
    return "coco" if name.startswith("COCO_") else "imagenet" if _IMAGENET.match(name) else "scenes"


def region_of(roi: str) -> tuple[str, str]:
    """Hemisphere and region of `LHPPA`; no hemisphere where the name tells none.

    >>> region_of("RHRRSC")
    ('right', 'RSC')
    """
    if match := _ROI.fullmatch(roi):
        return {"L": "left", "R": "right"}[match["side"]], SAME.get(match["region"], match["region"])
    return "", roi


@dataclass(frozen=True)
class Matrix:
    """One variable (trial, voxel) of a MATLAB file of version 5, which is read whole."""

    path: Path
    name: str
    shape: tuple[int, ...]

    def __call__(
        self,
        trials: Indices,
        units: slice,
        times: slice,  # noqa: ARG002 - there is one time
    ) -> Iterator[tuple[slice, slice, slice, NDArray[Any]]]:
        """Yield one piece; see `stores.readers.trials.Pieces`."""
        values = np.asarray(load_mat(self.path, [self.name])[self.name]).reshape(self.shape)[trials, units]
        yield slice(None), slice(None), slice(0, 1), single(self.path, self.name, values)[:, :, None]


@dataclass(frozen=True)
class Regions:
    """Matrices side by side along the voxels; first : where each starts, and the total."""

    parts: tuple[Rows | Matrix, ...]
    first: tuple[int, ...]

    def __call__(
        self, trials: Indices, units: slice, times: slice
    ) -> Iterator[tuple[slice, slice, slice, NDArray[Any]]]:
        """Yield pieces of one matrix each; see `stores.readers.trials.Pieces`."""
        for part, start, stop in zip(self.parts, self.first, self.first[1:], strict=False):
            low, high = max(units.start, start), min(units.stop, stop)
            if low < high:
                for rows, _, moments, values in part(trials, slice(low - start, high - start), times):
                    yield rows, slice(low - units.start, high - units.start), moments, values


def _cube(path: Path, subject: str, tr: str) -> xr.DataArray:
    listing = _listing(path, subject)
    stems, columns = image_names(listing)
    shapes = _shapes(path)
    for roi, shape in shapes.items():
        if shape[0] != len(stems):
            raise InputError(f"{path}: {roi} has {shape[0]} trials; {listing.name} has {len(stems)}")
    shown = presented(stems, range(len(stems)))
    first = (0, *np.cumsum([shape[1] for shape in shapes.values()]).tolist())
    parts = (
        Rows(path, roi) if path.suffix == ".h5" else Matrix(path, roi, one) for roi, one in shapes.items()
    )
    shape = (len(shown.stimuli), first[-1], 1, shown.trials.shape[1])
    chunks = blocks(shape, np.float32, whole=[STIMULUS, REPEAT], slow=UNIT)
    return cube_of(
        from_blocks(TrialReader(Regions(tuple(parts), first), shown.trials), chunks, np.float32),
        FMRI,
        stimuli=shown.stimuli,
        units=[f"{roi}_{n:04d}" for roi, shape in shapes.items() for n in range(shape[1])],
        sources=[path, listing],
        attrs={
            "quantity": f"BOLD signal after onset, {TIMES.get(tr, f'TR {tr}')}",
            "units": "a.u.",
            "dataset": DATASET,
            "subject": subject,
        },
        coords={**labels(shown, columns), **_places(shapes)},
    )


def _places(shapes: Mapping[str, tuple[int, ...]]) -> Labels:
    voxels = [(roi, *region_of(roi)) for roi, shape in shapes.items() for _ in range(shape[1])]
    names = ("roi", "hemisphere", "region")
    return {name: (UNIT, texts(one)) for name, one in zip(names, zip(*voxels, strict=True), strict=True)}


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """(trial, voxel) of every region by name. Raises InputError."""
    found: dict[str, tuple[int, ...]] = {}
    if path.suffix == ".h5":
        with opened(path) as file:
            found = {name: stored(path, file, name, ndim=2).shape for name in sorted(file)}
    else:
        load_mat(path, [])
        listed = sorted(scipy.io.whosmat(path))
        if odd := [name for name, _, kind in listed if kind not in NUMBERS]:
            raise InputError(f"{path}: {odd[0]} holds no numbers; wanted (trial, voxel)")
        found = {name: shape for name, shape, _ in listed}
    for name, shape in found.items():
        if len(shape) != 2 or min(shape) < 1:
            raise InputError(f"{path}: {name} has the shape {shape}; wanted (trial, voxel)")
        plausible(path, name, shape, 8, loaded=True)
    if not found:
        raise InputError(f"{path} holds no regions; wanted matrices such as LHPPA")
    return found


def _files(path: Path, tr: str) -> dict[str, Path]:
    """The file of each subject, by name."""
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted the folder ROIs, with CSI1/h5/CSI1_ROIs_TR{tr}.h5")
    if path.is_file():
        match = FILE.fullmatch(path.name)
        if not match:
            raise InputError(f"{path} is not named like CSI1_ROIs_TR{tr}.h5, which tells the subject")
        return {match["subject"]: path}
    found: dict[str, Path] = {}
    for suffix in ("mat", "h5"):
        for file in sorted(path.rglob(f"CSI?_ROIs_TR{tr}.{suffix}")):
            found[file.name[:4]] = file
    if not found:
        raise InputError(f"{path} holds no files CSI*_ROIs_TR{tr}.h5 (or .mat), at whatever depth")
    return dict(sorted(found.items()))


def _listing(path: Path, subject: str) -> Path:
    """The list of images beside a file or above it."""
    name = LIST.format(subject.removeprefix("CSI"))
    found = nearest(path.absolute().parents[:4], name, f"stim_lists/{name}")
    if found is None:
        raise InputError(f"{path}: there is no stim_lists/{name} beside it or above, which names its images")
    return found


READER: Final = Reader(
    DATASET,
    "fMRI of the visual regions of four people, who saw 5,000 photographs; release 1. Chang et al. (2019).",
    ("CSI*_ROIs_TR34.h5", "CSI0*_stim_lists.txt"),
    read,
)
