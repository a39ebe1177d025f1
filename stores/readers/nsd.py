"""Natural Scenes Dataset (Allen et al. 2022, Nature Neuroscience 25:116): betas of one subject, by session.

The path is the folder of one version of the betas, of voxels or of both hemispheres of a surface, such as
nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR. What belongs to them is found beside the
sessions, or where the published tree has it: the design, the table of images, the answers, images of regions, the
signal-to-noise ratio. `nsd_betas` reads the sessions, 750 trials each; `nsd_design` tells which image each trial
showed, and `nsd_units` what is known of voxels and vertices.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from stores.dims import REPEAT, STIMULUS, UNIT
from stores.errors import InputError
from stores.readers.cubes import cube_of, texts
from stores.readers.lazy import from_blocks
from stores.readers.nsd_betas import Session, Sessions, SideBySide, sessions_in
from stores.readers.nsd_design import DESIGN, INFO, RESPONSES, Design, answers_cube, image_coords, read_design
from stores.readers.nsd_units import SIDES, Known, known, regions_of, signal, surface_known, volume_known
from stores.readers.reader import Reader
from stores.readers.trials import Indices, Presented, TrialReader, blocks, presented
from stores.specs import FMRI

DATASET: Final = "nsd"
EXPECTS: Final = "*betas_session01.*"
SUBJECT: Final = re.compile(r"subj0?(\d+)")
EXPERIMENT: Final = "nsddata/experiments/nsd"
DTYPE: Final = "float32"


@dataclass(frozen=True)
class Space:
    """Voxels, or the vertices of the hemispheres in order: their sessions, ids, and what is known of them."""

    parts: tuple[tuple[Session, ...], ...]
    sizes: tuple[int, ...]
    ids: Sequence[str]
    coords: Mapping[str, Any]
    known: Known


def read(
    path: Path,
    *,
    subject: int | None = None,
    mask: str | None = None,
    regions: Sequence[str] | None = None,
    design: Path | None = None,
    info: Path | None = None,
    responses: Path | None = None,
    roi: Path | None = None,
    scratch: Path | None = None,
) -> Mapping[str, xr.DataArray]:
    """`subj01/betas`, percent signal change, and `subj01/responses`, answers to images, where these are there.

    subject : 1 to 8, else from the path.    mask : a class of regions, such as nsdgeneral, whose voxels alone are
    units; the others are counted as dropped.    regions : the classes that become masks, else all.
    design, info, responses, roi : nsd_expdesign.mat, nsd_stim_info_merged.csv, responses.tsv and the folder of
    regions, else looked for.    scratch : where compressed NIfTI files are unpacked, else the user's cache.

    Betas are of voxels, from HDF5 or NIfTI files (HDF5 where there are both), or of vertices, from MGH files, the
    left hemisphere first. A stimulus is `nsd00012` by its nsdId from 0; `split` is "test" for images that
    everybody saw. A unit whose betas are all 0 in a session has no data there: NaN. Raises InputError.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise InputError(f"{path} is no folder; wanted the one with a subject's sessions, {EXPECTS}")
    if not any(path.glob("*betas_session*")):
        raise InputError(f"{path} holds no files {EXPECTS}; wanted the folder with a subject's sessions")
    surfaces = [side for side in SIDES if any(path.glob(f"{side}.betas_session*.mgh"))]
    space = _vertices(path, surfaces, roi) if surfaces else _voxels(path, roi)
    number = subject or _subject(path)
    sessions = space.parts[0]
    told = _design(path, number, sessions, design, info, responses)
    shown = _shown(told, sessions)
    kept = _kept(space, mask)
    attrs = {"dataset": DATASET, "subject": f"subj{number:02d}"}
    cubes = {f"subj{number:02d}/betas": _betas(space, told, shown, kept, regions, attrs, mask, scratch)}
    if told.answers is not None:
        attrs |= {"quantity": "answer to an image", "units": "a.u."}
        cubes[f"subj{number:02d}/responses"] = answers_cube(told, shown, attrs)
    return cubes


def _betas(
    space: Space,
    told: Design,
    shown: Presented,
    kept: Indices,
    regions: Sequence[str] | None,
    attrs: Mapping[str, Any],
    mask: str | None,
    scratch: Path | None,
) -> xr.DataArray:
    ends = np.cumsum(space.sizes).tolist()
    pieces = SideBySide(
        tuple(
            Sessions(part, kept[(kept >= end - size) & (kept < end)] - (end - size), scratch)
            for part, size, end in zip(space.parts, space.sizes, ends, strict=True)
        )
    )
    each = space.parts[0][0].trials
    shape = (len(shown.stimuli), len(kept), 1, shown.trials.shape[1])
    chunks = blocks(shape, DTYPE, whole=[STIMULUS, REPEAT], slow=UNIT)
    facts: dict[str, Any] = {**space.coords, **regions_of(space.known, regions)}
    if space.known.ncsnr is not None:
        facts |= signal(space.known.ncsnr, (shown.trials >= 0).sum(axis=1))
    coords = {name: (dim, values[kept]) for name, (dim, values) in facts.items()}
    coords |= {
        "trial": ((STIMULUS, REPEAT), shown.trials),
        "trial_session": shown.coord(np.arange(len(told.shown)) // each + 1),
        "file": (STIMULUS, texts(shown.stimuli)),
        **image_coords(told, np.array([int(one[3:]) for one in shown.stimuli], np.int64)),
    }
    if told.answers is not None:
        coords["trial_run"] = shown.coord(told.answers["RUN"].to_numpy(np.int64))
    return cube_of(
        from_blocks(TrialReader(pieces, shown.trials), chunks, DTYPE),
        FMRI,
        stimuli=shown.stimuli,
        units=[space.ids[one] for one in kept.tolist()],
        sources=[*(one.path for part in space.parts for one in part), *told.sources, *space.known.sources],
        attrs={**attrs, "quantity": "GLM beta", "units": "percent signal change"},
        coords=coords,
        dropped={f"units outside {mask}": len(space.ids) - len(kept)},
    )


def _voxels(path: Path, roi: Path | None) -> Space:
    sessions = tuple(sessions_in(path, ("hdf5", "nii", "nii.gz")))
    grid = sessions[0].grid
    z, y, x = (axis.ravel().astype("int32") for axis in np.indices(grid))
    ids = [f"x{a:03d}_y{b:03d}_z{c:03d}" for a, b, c in zip(x.tolist(), y.tolist(), z.tolist(), strict=True)]
    where = roi or _near(path, "roi", "nsddata/ppdata/{subject}/{space}/roi")
    names = [f"valid_session{one.number:02d}.nii.gz" for one in sessions]
    valid = [
        one for name in names if (one := _near(path, name, f"nsddata/ppdata/{{subject}}/{{space}}/{name}"))
    ]
    found = volume_known(where, _tables(path, where), path / "ncsnr.nii.gz", valid, grid)
    coords = {"x": (UNIT, x), "y": (UNIT, y), "z": (UNIT, z), **found.coords}
    return Space((sessions,), (len(ids),), ids, coords, found)


def _vertices(path: Path, sides: Sequence[str], roi: Path | None) -> Space:
    parts = tuple(tuple(sessions_in(path, ["mgh"], f"{side}.")) for side in sides)
    for part in parts[1:]:
        there, wanted = ([(one.number, one.trials) for one in some] for some in (part, parts[0]))
        if there != wanted:
            raise InputError(
                f"{path} has the sessions (number, trials) {wanted} of {sides[0]}, of another hemisphere {there}"
            )
    sizes = tuple(part[0].grid[0] for part in parts)
    where = roi or _near(path, "roi", "nsddata/freesurfer/{space}/label")
    found = surface_known(where, _tables(path, where), path, dict(zip(sides, sizes, strict=True)))
    ids = [f"{side}_{n:06d}" for side, size in zip(sides, sizes, strict=True) for n in range(size)]
    coords = {
        "hemisphere": (UNIT, np.repeat(texts(SIDES[side] for side in sides), sizes)),
        "vertex": (UNIT, np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])),
    }
    return Space(parts, sizes, ids, coords, found)


def _kept(space: Space, mask: str | None) -> Indices:
    if mask is None:
        return np.arange(len(space.ids))
    kept = np.flatnonzero(space.known.codes[known(mask, space.known.codes)] > 0)
    if not len(kept):
        raise InputError(f"no unit lies in {mask}: its codes are nowhere above 0")
    return kept


def _design(
    path: Path,
    subject: int,
    sessions: Sequence[Session],
    design: Path | None,
    info: Path | None,
    answers: Path | None,
) -> Design:
    design = design or _near(path, DESIGN, f"{EXPERIMENT}/{DESIGN}")
    info = info or _near(path, INFO, f"{EXPERIMENT}/{INFO}")
    answers = answers or _near(path, RESPONSES, f"nsddata/ppdata/{{subject}}/behav/{RESPONSES}")
    if not (design or info or answers):
        raise InputError(
            f"{path} holds no {DESIGN}, {INFO} or {RESPONSES}, nor do the folders above; they tell which image "
            "each trial showed: give one as design=, info= or responses="
        )
    return read_design(subject, sessions[-1].number, sessions[0].trials, design, info, answers)


def _shown(told: Design, sessions: Sequence[Session]) -> Presented:
    """The images of the sessions that are there."""
    each = sessions[0].trials
    trials = np.concatenate([np.arange(each) + (one.number - 1) * each for one in sessions])
    return presented([f"nsd{one:05d}" for one in told.shown[trials].tolist()], trials)


def _near(path: Path, name: str, tree: str) -> Path | None:
    """`name` in the folder of the sessions, or `tree`, below one of the folders above it."""
    if (path / name).exists():
        return path / name
    here = path.resolve()
    subject = next((one for one in here.parts[::-1] if SUBJECT.fullmatch(one)), "")
    tree = tree.format(subject=subject, space=here.parent.name)
    return next((place / tree for place in here.parents if (place / tree).exists()), None)


def _tables(path: Path, roi: Path | None) -> list[Path]:
    """Folders that may hold the names of regions."""
    trees = (f"nsddata/freesurfer/{one}/label" for one in ("{subject}", "{space}", "fsaverage"))
    return [one for one in (roi, *(_near(path, "label", tree) for tree in trees)) if one]


def _subject(path: Path) -> int:
    for part in reversed(path.resolve().parts):
        if found := SUBJECT.fullmatch(part):
            return int(found[1])
    raise InputError(f"{path} does not tell the subject, as a folder subj01 does; give it as subject=")


READER: Final = Reader(
    DATASET,
    "fMRI betas to up to 10,000 natural scenes, three times each: voxels (HDF5, NIfTI) or vertices (MGH), and "
    "answers. Allen et al. (2022).",
    (EXPECTS, DESIGN),
    read,
)
