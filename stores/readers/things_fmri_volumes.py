"""THINGS-fMRI as volumes: one NIfTI file of single-trial amplitudes per run, `..._betas.nii.gz`, and its trials.

The folders go by several names, so the files are found wherever they are. Catch trials are dropped and counted.
The name of an image's folder is wrong for five of them, so only its file's name counts. The files tell no split:
an image shown once is `train` and others are `test`, as are images numbered above 12, of which none was trained.

A compressed run can only be read from its beginning. A block of `train` is the images of one run, which are in
order of presentation; a block of `test` is a repeat, which is a session. Either reads each of its runs once,
streaming, to the checksum at its end.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import UNIT
from stores.errors import InputError
from stores.readers import volumes
from stores.readers.lazy import from_blocks
from stores.readers.reader import Reader
from stores.readers.slabs import single
from stores.readers.tables import read_table
from stores.readers.things_fmri import fmri_cube
from stores.readers.things_fmri_maps import maps
from stores.readers.things_stems import stem_of
from stores.readers.trials import Chunks, Indices, Piece, Presented, TrialReader, in_order, presented
from stores.readers.volumes import Volume

RUN: Final = re.compile(r"(?P<subject>sub-\w+?)_ses-\D*(?P<session>\d+)_run-(?P<run>\d+)_betas\.nii(\.gz)?")
EXAMPLE: Final = "sub-01_ses-things01_run-01_betas.nii.gz"
TRAINED: Final = 12
"""The first 12 images of every concept are those shown once."""


@dataclass(frozen=True)
class Run:
    """One run: its image, its table, and the names of its trials, "" for catch trials."""

    image: Volume
    table: Path
    session: int
    run: int
    stems: tuple[str, ...]


def read(path: Path) -> Mapping[str, xr.DataArray]:
    """`sub-01/train`, `sub-01/test`, ... from whatever folder holds the runs.

    With `sub-01_space-T1w_brainmask.nii.gz` in the same folder or below, only voxels inside it are units.
    Units carry x, y, z, and what `things_fmri_maps` finds there: noise ceilings, regions, receptive fields.
    Presentations carry trial (counted through all runs), trial_session and trial_run.
    Raises InputError.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise InputError(f"{path} is no folder; wanted one that holds files like {EXAMPLE}")
    files = sorted(one for one in path.rglob("*_betas.nii*") if RUN.fullmatch(one.name))
    if not files:
        raise InputError(f"{path} holds no files like {EXAMPLE}, at whatever depth")
    by_subject: dict[str, list[Run]] = {}
    for file in files:
        if match := RUN.fullmatch(file.name):
            run = _run(file, int(match["session"]), int(match["run"]))
            by_subject.setdefault(match["subject"], []).append(run)
    found: dict[str, xr.DataArray] = {}
    for subject, runs in by_subject.items():
        found |= {f"{subject}/{split}": cube for split, cube in _subject(path, subject, runs).items()}
    return found


@dataclass(frozen=True)
class Streams:
    """The runs of one person, each read from its beginning; `inside` are the voxels that are units."""

    paths: tuple[Path, ...]
    first: tuple[int, ...]
    inside: Indices

    def __call__(self, trials: Indices, units: slice, times: slice) -> Iterator[Piece]:  # noqa: ARG002
        """Yield pieces of one trial; see `stores.readers.trials.Pieces`."""
        run = np.searchsorted(np.array(self.first), trials, side="right") - 1
        for n in np.unique(run):
            places = np.flatnonzero(run == n)
            wanted = dict(zip((trials[places] - self.first[n]).tolist(), places.tolist(), strict=True))
            for trial, volume in volumes.streamed(self.paths[n]):
                if trial in wanted:
                    values = single(self.paths[n], "its values", volume[self.inside[units]])
                    yield (
                        slice(wanted[trial], wanted[trial] + 1),
                        slice(None),
                        slice(0, 1),
                        values[None, :, None],
                    )


def _subject(path: Path, subject: str, runs: list[Run]) -> dict[str, xr.DataArray]:
    runs = sorted(runs, key=lambda one: (one.session, one.run))
    first = runs[0]
    for a, b in pairwise(runs):
        if (a.session, a.run) == (b.session, b.run) or a.image.shape[:3] != b.image.shape[:3]:
            raise InputError(
                f"{b.image.path} is the same run as {a.image.path}, or its volumes have another shape"
            )
    inside, grid, masks = _inside(path, subject, first.image)
    facts, of = maps(path, subject, first.image, inside)
    stems = [one for run in runs for one in run.stems]
    counts = Counter(stems)
    test = {one for one in counts if one and (counts[one] > 1 or int(one[-3:-1]) > TRAINED)}
    starts = tuple(accumulate([len(one.stems) for one in runs[:-1]], initial=0))
    pieces = Streams(tuple(one.image.path for one in runs), starts, inside)
    sources = [one for run in runs for one in (run.image.path, run.table)] + masks + of
    sessions = np.repeat([one.session for one in runs], [len(one.stems) for one in runs])
    numbers = np.repeat([one.run for one in runs], [len(one.stems) for one in runs])
    x, y, z = (axis[inside].astype("int32") for axis in grid)
    units = [
        f"x{a:03d}_y{b:03d}_z{c:03d}" for a, b, c in zip(x.tolist(), y.tolist(), z.tolist(), strict=True)
    ]
    found = {}
    for split in ("train", "test"):
        rows = [n for n, one in enumerate(stems) if one and (one in test) == (split == "test")]
        if not rows:
            continue
        names = [stems[n] for n in rows]
        shown = in_order(names, rows) if split == "train" else presented(names, rows)
        chunks = _chunks(shown, len(inside), starts, split)
        found[split] = fmri_cube(
            from_blocks(TrialReader(pieces, shown.trials), chunks, np.float32),
            shown,
            split,
            units,
            {
                "x": (UNIT, x),
                "y": (UNIT, y),
                "z": (UNIT, z),
                **facts,
                "trial_session": shown.coord(sessions),
                "trial_run": shown.coord(numbers),
            },
            subject,
            sources,
            {"catch trials": counts[""]},
        )
    return found


def _chunks(shown: Presented, units: int, starts: tuple[int, ...], split: str) -> Chunks:
    """Blocks of one run (`train`), or of one repeat (`test`)."""
    if split == "test":
        return ((len(shown.stimuli),), (units,), (1,), (1,) * shown.trials.shape[1])
    run = np.searchsorted(starts, shown.trials[:, 0], side="right")
    return (tuple(np.unique(run, return_counts=True)[1].tolist()), (units,), (1,), (1,))


def _inside(path: Path, subject: str, image: Volume) -> tuple[Indices, NDArray[Any], list[Path]]:
    """Voxels that are units, in C order, the indices x, y, z of all, and the mask's file."""
    grid = np.indices(image.shape[:3]).reshape(3, -1)
    masks = sorted(path.rglob(f"{subject}_space-T1w_brainmask.nii*"))
    if not masks:
        return np.arange(grid.shape[1]), grid, []
    mask = volumes.opened(masks[0])
    if mask.shape != image.shape[:3]:
        raise InputError(
            f"{masks[0]} is a mask of {mask.shape}; {image.path.name} has volumes of {image.shape[:3]}"
        )
    inside = np.flatnonzero(volumes.values_of(mask).ravel() > 0)
    if not len(inside):
        raise InputError(f"{masks[0]} has no voxel inside")
    return inside, grid, masks[:1]


def _run(path: Path, session: int, run: int) -> Run:
    """Header and trials of one run; its values are not read. Raises InputError."""
    stem = path.name.removesuffix(".gz").removesuffix("_betas.nii")
    table = path.with_name(f"{stem}_conditions.tsv")
    if not table.exists():
        raise InputError(f"{path} has no {table.name} beside it, which names its trials")
    names = read_table(table, ["image_filename"], "\t")["image_filename"]
    try:
        stems = tuple("" if _catch(one) else stem_of(one) for one in names)
    except InputError as error:
        raise InputError(f"{table}: {error}") from error
    image = volumes.opened(path, checked=False)
    if len(image.shape) != 4 or image.shape[3] != len(stems):
        raise InputError(f"{path} has the shape {image.shape}; {table.name} names {len(stems)} trials")
    return Run(image, table, session, run, stems)


def _catch(name: str) -> bool:
    return re.split(r"[/\\]", name)[-1].startswith("catch")


READER: Final = Reader(
    "things-fmri-volumes",
    "Single-trial fMRI amplitudes of three people to 8,740 THINGS images, as NIfTI. Hebart et al. (2023).",
    (EXAMPLE, EXAMPLE.replace("betas.nii.gz", "conditions.tsv")),
    read,
)
