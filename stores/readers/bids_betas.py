"""Single-trial or condition amplitudes (betas) as NIfTI images in BIDS, with the events that say what they are.

* A 4-D image `..._betas.nii.gz` (or `_beta`, `_betaseries`) has one volume for each row, in order, of the table
  of events that has its `sub`, `ses`, `task` and `run`, wherever that lies in the dataset. With a label `desc`,
  `condition` or `contrast` that is a trial_type, it has one for each row of this type.
* A 3-D image is one trial, `trial-3` being row 3 of its table, or else the condition that its label names;
  `_stat-effect_statmap` images are such, too.

The stimulus is `stim_file`, if the table has that, or else `trial_type`. Units are the voxels inside
`*_desc-brain_mask`, if there is one; other masks, `*_label-V1_mask`, are regions `roi_V1`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores.dims import UNIT
from stores.errors import InputError
from stores.readers.bids import entities, matching, read_json
from stores.readers.bids_trials import OURS, RUN, Image, common, image, trials
from stores.readers.cubes import Labels, cube_of
from stores.readers.events import event_coords
from stores.readers.lazy import from_blocks
from stores.readers.reader import Reader
from stores.readers.slabs import single
from stores.readers.trials import Chunks, Indices, Piece, Presented, TrialReader, in_order, presented
from stores.readers.volumes import SUFFIXES, Volume, mask, streamed, values_of, voxel_labels
from stores.specs import FMRI

EXAMPLE: Final = "*_betas.nii*"
EVENTS: Final = "*_events.tsv"
BLOCK_BYTES: Final = 64 * 2**20


def read(path: Path, *, stimulus: str | None = None) -> Mapping[str, xr.DataArray]:
    """`sub-01`, ..., or `sub-01/task-a_space-T1w` where a person has betas of several tasks or spaces.

    stimulus : the column of the tables of events that tells the stimulus.
    Repeats go by session, run and row. Units carry x, y, z in mm, by the image's affine, and i, j, k, the place
    in the image from 0; presentations carry `trial_ses`, `trial_run` and every column of the tables. A .gz image
    can only be read from its beginning: a block is a run where every stimulus is shown once, else a repeat.
    Raises InputError.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"{root} is no folder; wanted one in BIDS with files like {EXAMPLE} and {EVENTS}")
    files = sorted(one for one in root.rglob("*") if one.is_file() and not one.name.startswith("."))
    tables = [one for one in files if one.name.endswith("_events.tsv")]
    masks = [
        one for one in files if one.name.endswith(SUFFIXES) and entities(one.name).get("suffix") == "mask"
    ]
    groups: dict[tuple[tuple[str, str], ...], list[Image]] = {}
    for one in files:
        if found := image(one, tables):
            groups.setdefault(common(found), []).append(found)
    if not groups:
        raise InputError(f"{root} holds no files like {EXAMPLE}, such as sub-01_task-x_run-01_betas.nii.gz")
    people = Counter(dict(key)["sub"] for key in groups)
    cubes = {}
    for key, images in groups.items():
        own = dict(key)
        rest = "_".join(f"{name}-{value}" for name, value in own.items() if name != "sub")
        name = f"sub-{own['sub']}" + (f"/{rest or 'betas'}" if people[own["sub"]] > 1 else "")
        cubes[name] = _cube(root, own, images, masks, stimulus)
    return cubes


@dataclass(frozen=True)
class Betas:
    """Trials in images: of each its image, and its volume there; `inside` are the voxels that are units."""

    images: tuple[Volume, ...]
    image: Indices
    volume: Indices
    inside: Indices

    def __call__(self, trials: Indices, units: slice, times: slice) -> Iterator[Piece]:  # noqa: ARG002
        """Yield pieces of one trial, one image after another; see `stores.readers.trials.Pieces`."""
        voxels = self.inside[units]
        for number in np.unique(self.image[trials]).tolist():
            places = np.flatnonzero(self.image[trials] == number).tolist()
            wanted = {int(self.volume[trials[n]]): n for n in places}
            path = self.images[number].path
            for volume, values in _volumes(self.images[number], sorted(wanted)):
                if volume in wanted:
                    n = wanted[volume]
                    yield slice(n, n + 1), slice(None), slice(0, 1), _row(path, values[voxels])


def _row(path: Path, values: NDArray[Any]) -> NDArray[np.float32]:
    return single(path, "its values", values)[None, :, None]


def _volumes(one: Volume, wanted: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """(volume, voxels in C order) of at least those wanted; a compressed image is read to its end."""
    if len(one.shape) == 3:
        yield 0, values_of(one).ravel()
    elif one.path.suffix == ".gz":
        yield from streamed(one.path)
    else:
        for n in wanted:
            yield n, values_of(one, slice(n, n + 1)).ravel()


def _cube(
    root: Path, own: Mapping[str, str], images: list[Image], masks: list[Path], stimulus: str | None
) -> xr.DataArray:
    first = images[0].volume
    for one in images:
        near = np.allclose(one.volume.affine, first.affine, atol=1e-3)
        if one.volume.shape[:3] != first.shape[:3] or not near:
            raise InputError(f"{one.volume.path} has another grid, or lies elsewhere, than {first.path.name}")
    table = trials(images, stimulus)
    rows = np.flatnonzero(table["stimulus"] != "").tolist()
    if not rows:
        raise InputError(f"{images[0].table or first.path}: none of its {len(table)} events has a stimulus")
    ids = [table["stimulus"].iloc[n] for n in rows]
    shown = in_order(ids, rows) if len(set(ids)) == len(ids) else presented(ids, rows)
    inside, regions, used, left = _masks(first, own, images, masks)
    pieces = Betas(
        tuple(one.volume for one in images),
        table["image"].to_numpy(np.int64),
        table["volume"].to_numpy(np.int64),
        inside,
    )
    chunks = _chunks(shown, len(inside), table["occasion"].to_numpy(np.int64))
    units, places = _voxels(first, inside)
    sources = [file for one in images for file in (one.volume.path, one.table) if file]
    return cube_of(
        from_blocks(TrialReader(pieces, shown.trials), chunks, np.float32),
        FMRI,
        stimuli=shown.stimuli,
        units=units,
        sources=[*dict.fromkeys(sources), *used],
        attrs={
            "quantity": "GLM beta",
            "units": "a.u.",
            "dataset": _dataset(root),
            "subject": f"sub-{own['sub']}",
            "affine": [list(row) for row in first.affine],
            "entities": dict(own),
        },
        coords={**places, **regions, **event_coords(shown, table.drop(columns=list(OURS)))},
        dropped={"events without a stimulus": len(table) - len(rows), **left},
    )


def _voxels(first: Volume, inside: Indices) -> tuple[list[str], Labels]:
    """Ids of the voxels that are units, their places in the image, and x, y, z in mm. Raises InputError."""
    affine = np.array(first.affine)
    if not np.isfinite(affine).all():
        raise InputError(f"{first.path}: its affine holds something other than numbers")
    ids, places = voxel_labels(first, {})
    grid = np.stack([places[axis][1][inside] for axis in "xyz"])
    mm = affine[:3, :3] @ grid + affine[:3, 3:]
    axes = {**dict(zip("xyz", mm, strict=True)), **dict(zip("ijk", grid, strict=True))}
    return [ids[n] for n in inside], {name: (UNIT, values) for name, values in axes.items()}


def _masks(
    first: Volume, own: Mapping[str, str], images: Iterable[Image], masks: Iterable[Path]
) -> tuple[Indices, Labels, list[Path], dict[str, int]]:
    """Voxels that are units, regions on these, files used, and what is left out. Raises InputError."""
    runs = [{key: one.names[key] for key in RUN if key in one.names} for one in images]
    inside, regions = np.ones(prod(first.shape[:3]), bool), dict[str, NDArray[np.bool_]]()
    used, left = [], 0
    for path in masks:
        names = entities(path.name)
        free = {key: value for key, value in names.items() if key in ("label", "roi", "desc", "hemi")}
        if not any(matching([path], {**own, **run, **free}) for run in runs):
            continue
        name = free.get("label") or free.get("roi") or free.get("desc") or ""
        if name == "brain":
            inside &= mask(path, first)
            used.append(path)
        elif set(RUN) & set(names):
            left += 1
        else:
            key = "roi_" + "_".join(filter(None, [free.get("hemi"), name]))
            regions[key if key not in (*regions, "roi_") else f"roi_{path.name.split('.')[0]}"] = mask(
                path, first
            )
            used.append(path)
    if not inside.any():
        raise InputError(f"{used[0]}: no voxel is inside of all masks of the brain")
    dropped = {"voxels outside the brain": int((~inside).sum()), "regions of single runs": left}
    return (
        np.flatnonzero(inside),
        {name: (UNIT, values[inside]) for name, values in regions.items()},
        used,
        dropped,
    )


def _chunks(shown: Presented, units: int, occasion: Indices) -> Chunks:
    """Blocks of one run where all is shown once, else of one repeat, of at most 64 MB."""
    most = max(1, BLOCK_BYTES // (4 * units))
    stimuli, repeats = shown.trials.shape
    once = np.unique(occasion[shown.trials[:, 0]], return_counts=True)[1].tolist()
    runs = once if repeats == 1 else [stimuli]
    cut = tuple(min(most, run - start) for run in runs for start in range(0, run, most))
    return cut, (units,), (1,), (1,) * repeats


def _dataset(root: Path) -> str:
    description = root / "dataset_description.json"
    name = read_json(description).get("Name") if description.is_file() else None
    return name if isinstance(name, str) and name else root.resolve().name


READER: Final = Reader(
    "bids-betas",
    "Betas of single trials or conditions as NIfTI images in BIDS, with their tables of events and masks.",
    (EXAMPLE, EVENTS),
    read,
)
