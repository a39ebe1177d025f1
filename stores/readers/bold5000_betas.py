"""BOLD5000, release 2: single-trial betas of whole brains, one file (x, y, z, trial) for each session.

`CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz` are percent signal change; `CSI1_imgnames.txt` names the
images of all sessions, one after another. Masks of regions come from the derivatives of ds001499.

A compressed session can only be read from its beginning, to the checksum at its end. A block of `once` is up to
64 trials of a session, in order of presentation; one of `repeated` is one repeat of all images that came back.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import STIMULUS
from stores.errors import InputError
from stores.readers import volumes
from stores.readers.bold5000 import DATASET, SAME, image_names
from stores.readers.cubes import cube_of, texts
from stores.readers.files import find
from stores.readers.lazy import from_blocks
from stores.readers.presentations import labels
from stores.readers.reader import Reader
from stores.readers.things_fmri_volumes import Streams
from stores.readers.trials import Chunks, Presented, TrialReader, in_order, presented
from stores.specs import FMRI

VERSION: Final = "TYPED-FITHRF-GLMDENOISE-RR"
FILE: Final = re.compile(r"(?P<subject>CSI\d)_GLMbetas-(?P<version>[\w-]+)_ses-(?P<session>\d+)\.nii(\.gz)?")
NAMES: Final = "{}_imgnames.txt"
BLOCK_TRIALS: Final = 64
_MASK: Final = re.compile(r"(sub-)?(?P<subject>CSI\d)_(mask-)?(?P<name>\w+)\.nii(\.gz)?")


@dataclass(frozen=True)
class Sessions:
    """The sessions of one person in order, their numbers, the first trial of each, and the total."""

    files: tuple[volumes.Volume, ...]
    numbers: tuple[int, ...]
    first: tuple[int, ...]


def read(path: Path, *, version: str = VERSION) -> Mapping[str, xr.DataArray]:
    """`CSI1/once` and `CSI1/repeated`, ..., for the images shown once, and for those shown 3 to 5 times.

    version : of the betas, as their files name it. Units are all voxels, with x, y, z from 0; outside the brain
    the betas are NaN. Masks of the same grid, wherever below the folder, become `roi_<name>`: roi_LHPPA (and
    roi_LHLOC for LHLO), roi_brainmask (which people found out of place). Those that lie elsewhere in space are
    counted as dropped. Presentations carry trial, trial_run and trial_session. Raises InputError.
    """
    path = Path(path).expanduser()
    found: dict[str, xr.DataArray] = {}
    for subject, sessions in _sessions(path, version).items():
        found |= {f"{subject}/{part}": cube for part, cube in _subject(path, subject, sessions).items()}
    return found


def _subject(path: Path, subject: str, sessions: Sessions) -> dict[str, xr.DataArray]:
    listing = find(sessions.files[0].path.parent, NAMES.format(subject))
    stems, columns = image_names(listing)
    if len(stems) != sessions.first[-1]:
        raise InputError(
            f"{listing} names {len(stems)} images; the {len(sessions.files)} sessions of {subject} have "
            f"{sessions.first[-1]} trials"
        )
    columns["trial_session"] = np.repeat(sessions.numbers, np.diff(sessions.first))
    grid = sessions.files[0]
    rois, sources, elsewhere = _rois(path, subject, grid)
    units, places = volumes.voxel_labels(grid, rois)
    pieces = Streams(tuple(one.path for one in sessions.files), sessions.first[:-1], np.arange(len(units)))
    counts = Counter(stems)
    found = {}
    for part in ("once", "repeated"):
        rows = [n for n, one in enumerate(stems) if (counts[one] > 1) == (part == "repeated")]
        if not rows:
            continue
        names = [stems[n] for n in rows]
        shown = in_order(names, rows) if part == "once" else presented(names, rows)
        found[part] = cube_of(
            from_blocks(
                TrialReader(pieces, shown.trials), _chunks(shown, len(units), sessions, part), np.float32
            ),
            FMRI,
            stimuli=shown.stimuli,
            units=units,
            sources=[*(one.path for one in sessions.files), listing, *sources],
            attrs={
                "quantity": "GLM beta of a single trial",
                "units": "percent signal change",
                "dataset": DATASET,
                "subject": subject,
                "affine": [list(row) for row in grid.affine],
            },
            coords={
                **labels(shown, columns),
                **places,
                "split": (STIMULUS, texts([part] * len(shown.stimuli))),
            },
            dropped={"masks that lie elsewhere in space": elsewhere},
        )
    return found


def _chunks(shown: Presented, units: int, sessions: Sessions, part: str) -> Chunks:
    if part == "repeated":
        return (len(shown.stimuli),), (units,), (1,), (1,) * shown.trials.shape[1]
    counts = np.diff(np.searchsorted(shown.trials[:, 0], sessions.first)).tolist()
    steps = [min(BLOCK_TRIALS, count - at) for count in counts for at in range(0, count, BLOCK_TRIALS)]
    return tuple(steps), (units,), (1,), (1,)


def _sessions(path: Path, version: str) -> dict[str, Sessions]:
    """The sessions of every subject, by name."""
    if not path.is_dir():
        raise InputError(
            f"{path} is no folder; wanted one with files like CSI1_GLMbetas-{version}_ses-01.nii.gz"
        )
    by_subject: dict[str, dict[int, Path]] = {}
    for file in sorted(path.rglob(f"CSI?_GLMbetas-{version}_ses-*.nii*")):
        if not (match := FILE.fullmatch(file.name)):
            continue
        numbers = by_subject.setdefault(match["subject"], {})
        if numbers.setdefault(int(match["session"]), file) != file:
            raise InputError(f"{file} is a session for a second time, after {numbers[int(match['session'])]}")
    if not by_subject:
        raise InputError(
            f"{path} holds no files like CSI1_GLMbetas-{version}_ses-01.nii.gz, at whatever depth"
        )
    return {subject: _headers(numbers) for subject, numbers in sorted(by_subject.items())}


def _headers(numbers: Mapping[int, Path]) -> Sessions:
    if sorted(numbers) != list(range(1, len(numbers) + 1)):
        one = numbers[min(numbers)]
        raise InputError(
            f"{one} is one of sessions {sorted(numbers)}; wanted all from 1, for the names count on"
        )
    files = [volumes.opened(numbers[n], checked=False) for n in sorted(numbers)]
    for image in files:
        if len(image.shape) != 4 or image.shape[:3] != files[0].shape[:3]:
            raise InputError(
                f"{image.path} is {image.shape}; wanted (x, y, z, trial) on {files[0].shape[:3]}"
            )
    first = accumulate([one.shape[3] for one in files], initial=0)
    return Sessions(tuple(files), tuple(sorted(numbers)), tuple(first))


def _rois(
    path: Path, subject: str, grid: volumes.Volume
) -> tuple[dict[str, NDArray[np.bool_]], list[Path], int]:
    """Masks by name, their files, and how many lie elsewhere."""
    found: dict[str, NDArray[np.bool_]] = {}
    used, elsewhere = [], 0
    for file in sorted(path.rglob(f"*{subject}_*.nii*")):
        match = _MASK.fullmatch(file.name)
        if not match or match["subject"] != subject or FILE.fullmatch(file.name):
            continue
        mask = volumes.opened(file)
        if mask.shape != grid.shape[:3] or not np.allclose(mask.affine, grid.affine, atol=1e-3):
            elsewhere += 1
            continue
        side, region = match["name"][:2], match["name"][2:]
        name = f"roi_{side}{SAME.get(region, region)}"
        if name in found:
            raise InputError(f"{file} is a second mask of {name.removeprefix('roi_')}")
        found[name] = volumes.values_of(mask).ravel() > 0
        used.append(file)
    return found, used, elsewhere


READER: Final = Reader(
    "bold5000_betas",
    "fMRI betas of whole brains of four people, who saw 5,000 photographs; release 2. Chang et al. (2019).",
    (f"CSI1_GLMbetas-{VERSION}_ses-01.nii.gz", NAMES.format("CSI1")),
    read,
)
