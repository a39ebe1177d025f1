"""Maps of THINGS-fMRI that come in zips of their own: noise ceilings, regions, receptive fields, voxel by voxel.

* `sub-01_nc_n-<1 to 12>.nii.gz`: noise ceiling of the mean of so many trials, in percent; 0 means none.
* `sub-01/<kind>_parcels/sub-01_lFFA.nii.gz`: localised regions, of which some people lack some.
* `sub-01/resampled_{angle,eccen,sigma,varea}.nii.gz`: receptive fields, and areas by code.

They are found by name, wherever they are, and get the names that the table distribution gives to the same facts.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stores.dims import UNIT
from stores.errors import InputError
from stores.readers import volumes
from stores.readers.trials import Indices
from stores.readers.volumes import Volume

AREAS: Final = ("V1", "V2", "V3", "hV4", "VO1", "VO2", "LO1_prf", "LO2_prf", "TO1", "TO2", "V3a", "V3b")
"""Of codes 1 to 12 in `resampled_varea`."""
FIELDS: Final[Mapping[str, str]] = {
    "angle": "prf_polarangle",
    "eccen": "prf_eccentricity",
    "sigma": "prf_size",
}
CEILING: Final = re.compile(r"nc_n-(\d+)")


def maps(folder: Path, subject: str, like: Volume, inside: Indices) -> tuple[dict[str, Any], list[Path]]:
    """Coordinates of the voxels `inside` (places in C order) of one person, and the files they are from.

    `nc_n01` ... `nc_n12`, `roi_lFFA`, `roi_V1`, `prf_size`, ...; none where there are no maps. Raises InputError.
    """
    found, used = dict[str, Any](), list[Path]()
    for path in sorted(one for ending in volumes.SUFFIXES for one in folder.rglob(f"*{ending}")):
        for name, values in _named(path, subject, like).items():
            if name in found:
                raise InputError(
                    f"{path} is {name} for a second time; {', '.join(map(str, used))} were read before"
                )
            found[name] = (UNIT, values[inside])
            used.append(path)
    return found, list(dict.fromkeys(used))


def _named(path: Path, subject: str, like: Volume) -> dict[str, NDArray[Any]]:
    """What one file tells of every voxel, by name; nothing where it is no map of this person."""
    stem = volumes.stem(path)
    if path.parent.name == subject and stem.startswith("resampled_"):
        kind = stem.removeprefix("resampled_")
        if kind == "varea":
            codes = volumes.values_on(path, like)
            if not np.isin(codes, range(len(AREAS) + 1)).all():
                raise InputError(f"{path} holds codes other than 0 to {len(AREAS)}")
            return {f"roi_{area}": codes == n for n, area in enumerate(AREAS, start=1)}
        return {FIELDS[kind]: volumes.values_on(path, like).astype(np.float32)} if kind in FIELDS else {}
    if not stem.startswith(f"{subject}_"):
        return {}
    name = stem.removeprefix(f"{subject}_")
    if match := CEILING.fullmatch(name):
        return {f"nc_n{int(match[1]):02d}": volumes.values_on(path, like).astype(np.float32)}
    if path.parent.name.endswith("_parcels") and path.parent.parent.name == subject:
        return {f"roi_{name}": volumes.mask(path, like)}
    return {}
