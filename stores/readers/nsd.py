"""Natural Scenes Dataset (Allen et al. 2022): betas of one subject, session files of 750 trials.

`betas_session01.hdf5` holds `betas`, int16 (trial, z, y, x), 300 times percent signal change; the NIfTI of the
same name holds (x, y, z, trial). `nsd_expdesign.mat` tells which image each trial showed: `masterordering`
(from 1) picks from the subject's row of `subjectim`, whose nsdIds count from 1; here they count from 0, as in
`nsd_stim_info_merged.csv` and `nsd_stimuli.hdf5`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of, texts
from stores.readers.files import load_mat
from stores.readers.hdf5 import dataset, opened
from stores.readers.lazy import Region, lazy
from stores.readers.reader import Reader
from stores.readers.volumes import opened as image
from stores.readers.volumes import stem, values_of
from stores.specs import FMRI

DATASET: Final = "nsd"
DESIGN: Final = "nsd_expdesign.mat"
SESSION: Final = "betas_session*.hdf5"
SCALE: Final = 300
SUBJECT: Final = re.compile(r"subj0?(\d+)")
DTYPE: Final = "float32"


@dataclass(frozen=True)
class Betas:
    """Blocks (stimulus, unit = voxel, 1, repeat) from session files; each is read once for a block of units.

    files : one per session.    grid : (z, y, x).    trials : trial of (stimulus, repeat) over all sessions,
    from 0, or -1.    first : the first trial of each session, and the total.
    """

    files: tuple[Path, ...]
    grid: tuple[int, int, int]
    first: tuple[int, ...]
    trials: tuple[tuple[int, ...], ...]

    def __call__(self, where: Region) -> NDArray[Any]:
        """Percent signal change there. Raises InputError."""
        units = where[1]
        trials = np.array(self.trials, np.int64)[where[0], where[3]]
        found = np.full((*trials.shape, units.stop - units.start), np.nan, DTYPE)
        for file, start, stop in zip(self.files, self.first, self.first[1:], strict=False):
            here = (trials >= start) & (trials < stop)
            if here.any():
                found[here] = self._session(file, units)[trials[here] - start] / SCALE
        return np.ascontiguousarray(found.transpose(0, 2, 1)[:, :, None, :])

    def _session(self, file: Path, units: slice) -> NDArray[np.float32]:
        """(trial, unit): whole rows of voxels around `units`, then those."""
        _, height, width = self.grid
        low, high = units.start // width, -(-units.stop // width)  # rows, over z and y together
        with opened(file) as source:
            betas = source["betas"]
            rows = [(row // height, row % height) for row in (low, high - 1)]
            if rows[0][0] == rows[1][0]:
                part = betas[:, rows[0][0], rows[0][1] : rows[1][1] + 1]
                skipped = low * width
            else:
                part = betas[:, rows[0][0] : rows[1][0] + 1]
                skipped = rows[0][0] * height * width
            flat = part.reshape(len(part), -1)
        return np.asarray(flat[:, units.start - skipped : units.stop - skipped], np.float32)


def read(path: Path, *, design: Path | None = None, subject: int | None = None) -> Mapping[str, xr.DataArray]:
    """`betas`, every voxel in percent signal change, of the folder with the session files.

    design : nsd_expdesign.mat, else looked for there and above.    subject : 1 to 8, else from the path.
    A stimulus is `nsd00012` by its nsdId from 0; `shared1000` marks those everybody saw. ROI images in a
    folder `roi` become `roi_<name>_<code>` (code > 0), 1 where there is no other. Raises InputError.
    """
    path = Path(path).expanduser()
    files = tuple(sorted(path.glob(SESSION))) if path.is_dir() else ()
    if not files:
        raise InputError(f"{path} holds no files {SESSION}; wanted the folder with a subject's sessions")
    design = design or _design(path)
    subject = subject or _subject(path)
    shapes = [_shape(one) for one in files]
    for one, shape in zip(files, shapes, strict=True):
        if shape[1:] != shapes[0][1:]:
            raise InputError(f"{one}: betas has voxels {shape[1:]}, {files[0].name} {shapes[0][1:]}")
    grid = (shapes[0][1], shapes[0][2], shapes[0][3])
    first = (0, *np.cumsum([shape[0] for shape in shapes]).tolist())
    shown, shared = _shown(design, subject, first[-1])
    nsd_ids, trials = _trials(shown)
    z, y, x = (axis.ravel().astype("int32") for axis in np.indices(grid))
    units = [
        f"x{a:03d}_y{b:03d}_z{c:03d}" for a, b, c in zip(x.tolist(), y.tolist(), z.tolist(), strict=True)
    ]
    cube = cube_of(
        lazy(
            Betas(files, grid, first, tuple(map(tuple, trials.tolist()))),
            (len(nsd_ids), len(units), 1, trials.shape[1]),
            DTYPE,
            split=1,
            source=path,
        ),
        FMRI,
        stimuli=[f"nsd{one:05d}" for one in nsd_ids],
        units=units,
        sources=[*files, design],
        attrs={
            "quantity": "GLM beta",
            "units": "percent signal change",
            "dataset": DATASET,
            "subject": f"subj{subject:02d}",
        },
        coords={
            "x": (UNIT, x),
            "y": (UNIT, y),
            "z": (UNIT, z),
            **_rois(path / "roi", grid),
            "nsd_id": (STIMULUS, nsd_ids),
            "shared1000": (STIMULUS, np.isin(nsd_ids, shared)),
            "file": (STIMULUS, texts(f"nsd{one:05d}" for one in nsd_ids)),
        },
    )
    return {"betas": cube}


def _shape(path: Path) -> tuple[int, int, int, int]:
    with opened(path) as file:
        found = dataset(path, file, "betas", ndim=4, kinds="i")
        trials, z, y, x = map(int, found.shape)
        return trials, z, y, x


def _shown(path: Path, subject: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """nsdId (from 0) of each of the first `count` trials, and the shared ones."""
    names = ("masterordering", "subjectim", "sharedix")
    found = load_mat(path, names)
    order, images, shared = (np.asarray(found[name]) for name in names)
    for name, one in zip(names, (order, images, shared), strict=True):
        if one.dtype.kind not in "fiu" or not np.isfinite(one).all() or (one < 1).any():
            raise InputError(f"{path}: {name} is {one.dtype} {one.shape}, not all numbers from 1")
    order, images = np.ravel(order), np.atleast_2d(images)
    if not 1 <= subject <= len(images) or len(order) < count or order[:count].max() > images.shape[1]:
        raise InputError(
            f"{path}: masterordering has {len(order)} trials, subjectim {images.shape}; wanted {count} trials "
            f"of subject {subject}"
        )
    picked = images[subject - 1].astype(np.int64)[order[:count].astype(np.int64) - 1] - 1
    return picked, np.ravel(shared).astype(np.int64) - 1


def _trials(shown: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids in order, and (stimulus, repeat) -> trial, -1 where there is none."""
    ids, place = np.unique(shown, return_inverse=True)
    repeats = int(np.bincount(place).max())
    trials = np.full((len(ids), repeats), -1, np.int64)
    seen = np.zeros(len(ids), np.int64)
    for trial, at in enumerate(place.tolist()):
        trials[at, seen[at]] = trial
        seen[at] += 1
    return ids, trials


def _rois(folder: Path, grid: tuple[int, int, int]) -> dict[str, tuple[str, Any]]:
    """Masks of every region's code; the images are (x, y, z), the betas (z, y, x)."""
    found: dict[str, tuple[str, Any]] = {}
    for path in sorted(folder.glob("*.nii.gz")):
        header = image(path)
        if header.shape != grid[::-1]:
            raise InputError(f"{path} has the grid {header.shape}; the betas have {grid[::-1]} (x, y, z)")
        codes = values_of(header).T.reshape(prod(grid))
        for code in np.unique(codes[codes > 0]).tolist():
            found[f"roi_{stem(path)}_{int(code)}"] = (UNIT, codes == code)
    return found


def _design(folder: Path) -> Path:
    """The design beside the sessions, or in nsddata/experiments/nsd above them."""
    for place in (folder, *folder.resolve().parents):
        for one in (place / DESIGN, place / "nsddata/experiments/nsd" / DESIGN):
            if one.is_file():
                return one
    raise InputError(f"{folder} holds no {DESIGN}, nor do the folders above; give it as design=")


def _subject(path: Path) -> int:
    for part in reversed(path.resolve().parts):
        if found := SUBJECT.fullmatch(part):
            return int(found[1])
    raise InputError(f"{path} does not tell the subject, as a folder subj01 does; give it as subject=")


READER: Final = Reader(
    DATASET,
    "fMRI betas to up to 10,000 natural scenes, three times each (volume space). Allen et al. (2022).",
    (SESSION, DESIGN),
    read,
)
