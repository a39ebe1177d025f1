"""What NSD knows of its voxels and vertices: regions by name, hemisphere, and how much of them is signal.

An image of a class of regions, such as `prf-visualrois`, holds a code for each voxel: -1 outside of the brain, 0
for no region. Its names lie in `prf-visualrois.mgz.ctab`. Voxels have an image for both hemispheres and one for
each, `lh.` and `rh.`; vertices have only these. `ncsnr` is signal over noise (standard deviations) of one trial.
"""

import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stores.dims import UNIT
from stores.errors import InputError
from stores.readers import volumes
from stores.readers.cubes import Labels, texts
from stores.readers.files import readable
from stores.readers.nsd_betas import MGH, mgh_header
from stores.readers.tables import text_of

SIDES: Final[Mapping[str, str]] = {"lh": "left", "rh": "right"}
NAMES: Final = (".mgz.ctab", ".ctab")
Codes = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Known:
    """Codes by class, names of codes by class, `ncsnr` if it is there, other coordinates, and the files."""

    codes: Codes
    names: Mapping[str, Mapping[int, str]]
    ncsnr: NDArray[Any] | None
    sources: tuple[Path, ...]
    coords: Labels = field(default_factory=dict)


def volume_known(
    roi: Path | None, tables: Sequence[Path], ncsnr: Path, valid: Sequence[Path], grid: tuple[int, ...]
) -> Known:
    """Of voxels of the grid (z, y, x), from the folder of regions, and images of the ratio and of validity.

    Images of one hemisphere tell `hemisphere`, and the codes where there is none of both; `valid_sessions` counts
    the sessions in which a voxel has data. Raises InputError.
    """
    endings = volumes.SUFFIXES if roi else ()
    files = sorted(one for ending in endings for one in Path(str(roi)).glob(f"*{ending}"))
    codes, sides = dict[str, NDArray[Any]](), dict[str, dict[str, NDArray[Any]]]()
    for path in files:
        side, _, name = volumes.stem(path).partition(".")
        if side in SIDES and name:
            sides.setdefault(name, {})[side] = _voxels(path, grid)
        else:
            codes[volumes.stem(path)] = _voxels(path, grid)
    for name, found in sides.items():
        codes.setdefault(name, np.max(list(found.values()), axis=0))
    coords = _hemisphere(list(sides.values()))
    if valid:
        coords["valid_sessions"] = (UNIT, np.sum([_voxels(one, grid) > 0 for one in valid], axis=0))
    codes = dict(sorted(codes.items()))
    ratio = [ncsnr] if ncsnr.is_file() else []
    names, listings = _names(codes, tables)
    values = _voxels(ncsnr, grid) if ratio else None
    return Known(codes, names, values, (*files, *ratio, *valid, *listings), coords)


def surface_known(roi: Path | None, tables: Sequence[Path], folder: Path, counts: Mapping[str, int]) -> Known:
    """Of the vertices of hemispheres; `folder` may hold `lh.ncsnr.mgh`. Raises InputError."""
    first = next(iter(counts))
    found = (
        [] if roi is None else [one for end in ("mgz", "mgh") for one in sorted(roi.glob(f"{first}.*.{end}"))]
    )
    files = {one.name.removeprefix(f"{first}."): one.parent for one in found}
    codes = {name.rsplit(".", 1)[0]: _vertices(place, name, counts) for name, place in files.items()}
    ratio = (folder / f"{first}.ncsnr.mgh").is_file()
    names, listings = _names(codes, tables)
    used = [(place, name) for name, place in files.items()] + [(folder, "ncsnr.mgh")] * ratio
    sources = (*(place / f"{side}.{name}" for place, name in used for side in counts), *listings)
    return Known(codes, names, _vertices(folder, "ncsnr.mgh", counts) if ratio else None, sources)


def regions_of(found: Known, chosen: Sequence[str] | None) -> Labels:
    """Masks `roi_<class>_<name>` of all codes above 0, `roi_<class>_<code>` where no table names it.

    chosen : the classes to keep, else all. Raises InputError.
    """
    masks: dict[str, Any] = {}
    for name in found.codes if chosen is None else [known(one, found.codes) for one in chosen]:
        codes, names = found.codes[name], found.names.get(name, {})
        for code in map(int, np.unique(codes[codes > 0])):
            label = f"roi_{name}_{names.get(code, code)}"
            if label in masks:
                raise InputError(f"two codes of {name} are named {names[code]!r} in its table of names")
            masks[label] = (UNIT, codes == code)
    return masks


def known(name: str, codes: Codes) -> str:
    """`name` where there is such a class; else InputError with the nearest."""
    if name not in codes:
        near = get_close_matches(name, codes, n=1)
        raise InputError(
            f"the betas have no image of regions {name!r}; "
            + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(codes) or 'none'}")
        )
    return name


def signal(ncsnr: NDArray[Any], repeats: NDArray[np.int64]) -> Labels:
    """`ncsnr`, and `noise_ceiling`: the share of the variance of an image's mean response that is signal.

    ``noise_ceiling = ncsnr**2 / (ncsnr**2 + mean(1 / n))``, n being how often each image was shown. Allen et al.
    (2022), Nature Neuroscience 25:116. A unit without data has NaN.
    """
    power, noise = ncsnr.astype(np.float64) ** 2, float(np.mean(1 / repeats))
    ceiling = (power / (power + noise)).astype(np.float32)
    return {"ncsnr": (UNIT, ncsnr.astype(np.float32)), "noise_ceiling": (UNIT, ceiling)}


def _voxels(path: Path, grid: tuple[int, ...]) -> NDArray[Any]:
    """Values of an image (x, y, z), one for each voxel of the betas, (z, y, x)."""
    found = volumes.opened(path)
    if found.shape != grid[::-1]:
        raise InputError(f"{path} has the grid {found.shape}; the betas have {grid[::-1]} (x, y, z)")
    return volumes.values_of(found).T.reshape(prod(grid))


def _vertices(folder: Path, name: str, counts: Mapping[str, int]) -> NDArray[Any]:
    """One value for each vertex of all hemispheres, in order."""
    return np.concatenate([_surface(folder / f"{side}.{name}", count) for side, count in counts.items()])


def _surface(path: Path, count: int) -> NDArray[Any]:
    if not path.is_file():
        raise InputError(f"{path} does not exist; wanted {MGH}, as there is for the other hemisphere")
    with readable(path, MGH):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".mgz" else path.read_bytes()
        shape, dtype, offset = mgh_header(path, io.BytesIO(data), len(data))
        if prod(shape) != count:
            raise InputError(f"{path} has {shape} values; the betas have {count} vertices")
        return np.frombuffer(data, dtype, count, offset).astype(dtype.newbyteorder("="))


def _hemisphere(sides: Sequence[Codes]) -> dict[str, Any]:
    """`left`, `right`, `both` or nothing, by where the images of one hemisphere have a code from 0."""
    if not sides:
        return {}
    found = np.full(len(next(iter(sides[0].values()))), "", object)
    for side, word in SIDES.items():
        there = [codes[side] >= 0 for codes in sides if side in codes]
        inside = np.any(there, axis=0) if there else np.zeros(len(found), bool)
        found[inside] = np.where(found[inside] == "", word, "both")
    return {"hemisphere": (UNIT, texts(found))}


def _names(codes: Codes, folders: Sequence[Path]) -> tuple[dict[str, dict[int, str]], list[Path]]:
    """Names by class and code, from the first table there is for each class, and the tables."""
    found, used = dict[str, dict[int, str]](), list[Path]()
    for name in codes:
        tables = [folder / f"{name}{ending}" for folder in folders for ending in NAMES]
        if path := next((one for one in tables if one.is_file()), None):
            used.append(path)
            found[name] = dict(_row(path, line) for line in text_of(path).splitlines() if line.strip())
            there = set(map(int, np.unique(codes[name][codes[name] > 0])))
            if absent := sorted(there - set(found[name])):
                raise InputError(
                    f"{path} names no code {absent[0]}, which the image {name} has. Is it whole?"
                )
    return found, used


def _row(path: Path, line: str) -> tuple[int, str]:
    words = line.split()
    if len(words) < 2 or not words[0].lstrip("-").isdecimal():
        raise InputError(f"{path}: there is the line {line!r}; wanted a code and a name, such as '1 V1v'")
    return int(words[0]), words[1]
