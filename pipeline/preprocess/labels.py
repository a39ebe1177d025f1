"""Maps from sources to others: the mean of a region, another brain's cortex. Sparse matrices with names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import mne
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import normalize_token
from scipy.sparse import csr_array

from pipeline.errors import VerbError
from pipeline.kernels.sources import Join, Step
from pipeline.preprocess.anatomy import FACES_SOURCES, SourceSettings, told
from pipeline.preprocess.inverse import SIDES, source_coords
from pipeline.rsa.words import choose
from stores.dims import UNIT

Mode = Literal["mean", "mean_flip", "max"]
MODES: Final[Mapping[str, str]] = {
    "mean": "the mean of the sources of a region",
    "mean_flip": "the mean after turning those whose normal points the other way",
    "max": "the largest absolute value",
}


@dataclass(frozen=True)
class UnitMap:
    """What takes the units named `sources`, in that order, to others.

    matrix : (unit, source).  join : "sum", a matrix product, or "max", the largest |value| of the row's sources.
    units : coordinates of the new units, each (dim, values).  frame : what x, y, z refer to.
    """

    matrix: csr_array
    sources: tuple[str, ...]
    units: Mapping[str, Any]
    join: Join = "sum"
    mode: str = "morph"
    frame: str = "head"

    @property
    def step(self) -> Step:
        """The map without names, for kernels."""
        return Step(self.matrix, self.join)

    def __dask_tokenize__(self) -> Any:
        m = self.matrix
        return normalize_token((m.data, m.indices, m.indptr, m.shape, self.sources, self.join, self.mode))


def label_map(
    sources: xr.DataArray | UnitMap,
    labels: Sequence[mne.Label],
    *,
    mode: Mode = "mean",
    src: mne.SourceSpaces | None = None,
) -> UnitMap:
    """The time course of each label from those of its sources, as MNE's `extract_label_time_course`.

    sources : an operator, a cube of sources, or the morph that comes before; known are `hemisphere`, `vertex`.
    mode : "mean", "mean_flip" or "max". "mean_flip" needs signed sources along the normal, and in `src` the
    source space with their normals. x, y, z are the mean of the label's sources.
    Raises ValueError for an unknown mode, VerbError for labels of the same name or without any source, and for a
    source space that lacks sources.
    """
    choose("mode", mode, MODES)
    ids, coords = _coords(sources)
    if mode == "mean_flip":
        if src is None:
            raise VerbError(
                "mode 'mean_flip' needs the normals of the sources; give their source space, `src`"
            )
        src = of_sources(src, ids, coords)
    members = [_members(coords, label) for label in labels]
    names = [str(label.name) for label in labels]
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise VerbError(f"{len(again)} names of labels appear twice, such as {again[0]!r}")
    if empty := [name for name, own in zip(names, members, strict=True) if not len(own)]:
        raise VerbError(
            f"{len(empty)} of {len(names)} labels have no source: {', '.join(empty[:8])}. Leave them out, use a "
            "finer source space, or are they labels of another brain?"
        )
    rows = [_row(label, len(own), mode, src) for label, own in zip(labels, members, strict=True)]
    matrix = csr_array(
        (np.concatenate(rows), np.concatenate(members), np.cumsum([0, *map(len, members)])),
        shape=(len(names), len(ids)),
    )
    sides = {"lh": "left", "rh": "right", "both": "both"}
    units: dict[str, Any] = {
        UNIT: texts(names),
        "region": (UNIT, texts(names)),
        "hemisphere": (UNIT, texts(sides[label.hemi] for label in labels)),
    }
    units |= {
        axis: (UNIT, np.array([coords[axis][own].mean() for own in members]))
        for axis in "xyz"
        if axis in coords
    }
    frame = sources.frame if isinstance(sources, UnitMap) else str(sources.attrs.get("frame", "head"))
    return UnitMap(matrix, ids, units, "max" if mode == "max" else "sum", mode, frame)


def morph_map(
    sources: xr.DataArray,
    src: mne.SourceSpaces,
    subjects_dir: Path,
    settings: SourceSettings = FACES_SOURCES,
    *,
    anatomy: str = "",
) -> UnitMap:
    """Sources on the cortex of `settings.morph_to`, an icosahedron of grade `settings.morph_grade`.

    src : the source space that `sources` are of, all or some.  anatomy : the FreeSurfer name of the
    person, where `src` does not say it. MNE keeps the map of the surfaces in `subjects_dir`/morph-maps. x, y, z
    are metres on that brain's white surface. Raises InputError for missing files, VerbError for other sources.
    """
    ids, coords = _coords(sources)
    src = of_sources(src, ids, coords)
    with told(Path(subjects_dir) / settings.morph_to, "as the FreeSurfer brain to morph to"):
        morph = mne.compute_source_morph(
            src,
            subject_from=anatomy or None,
            subject_to=settings.morph_to,
            spacing=settings.morph_grade,
            subjects_dir=subjects_dir,
            verbose="error",
        )
        surf = Path(subjects_dir) / settings.morph_to / "surf"
        places = [mne.read_surface(surf / f"{hemi}.white")[0] / 1000 for hemi in ("lh", "rh")]
    target = [
        {"id": 101 + n, "type": "surf", "vertno": used, "rr": rr}
        for n, (used, rr) in enumerate(zip(morph.vertices_to, places, strict=True))
    ]
    return UnitMap(
        csr_array(morph.morph_mat), ids, source_coords(target), frame=f"{settings.morph_to} surface"
    )


def of_sources(
    src: mne.SourceSpaces, ids: Sequence[str], coords: Mapping[str, npt.NDArray[Any]]
) -> mne.SourceSpaces:
    """A copy of a cortical source space that uses just the sources with these vertices and hemispheres.

    A forward solution leaves sources near the skull out. Raises VerbError where `src` lacks some, and where these
    are not in its order.
    """
    require_vertices(coords)
    src = src.copy()
    for one in src:
        ours = coords["vertex"][coords["hemisphere"] == SIDES.get(int(one["id"]), "")]
        if lacking := np.setdiff1d(ours, one["vertno"]).size:
            raise VerbError(
                f"the source space has {len(one['vertno'])} sources in a hemisphere, and lacks {lacking} of "
                f"these {len(ours)}; give the one that the operator was made with"
            )
        one["vertno"], one["nuse"] = np.sort(ours), len(ours)
        one["inuse"] = np.isin(np.arange(one["np"]), ours).astype(int)
    if list(source_coords(src)[UNIT]) != list(ids):
        raise VerbError("these sources are not in the order of a source space: left before right, by vertex")
    return src


def require_vertices(coords: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise VerbError where sources are not on a cortex."""
    if "vertex" not in coords or "hemisphere" not in coords:
        raise VerbError("these sources have no vertices on a cortex, and labels and morphs are made of those")


def read_labels(
    subjects_dir: Path, settings: SourceSettings = FACES_SOURCES, *, anatomy: str = ""
) -> list[mne.Label]:
    """The labels of a parcellation, both hemispheres, without what it calls unknown ("unknown", "???").

    anatomy : whose; `settings.morph_to` where not given. Raises InputError.
    """
    whose = anatomy or settings.morph_to
    folder = Path(subjects_dir) / whose / "label"
    with told(folder, f"for the parcellation {settings.parcellation!r}"):
        labels = mne.read_labels_from_annot(
            whose, settings.parcellation, subjects_dir=subjects_dir, verbose="error"
        )
    return [one for one in labels if one.name.rpartition("-")[0].lower() not in ("unknown", "???")]


def _coords(sources: xr.DataArray | UnitMap) -> tuple[tuple[str, ...], dict[str, npt.NDArray[Any]]]:
    if isinstance(sources, UnitMap):
        found = {name: one[1] for name, one in sources.units.items() if name != UNIT}
        return tuple(map(str, sources.units[UNIT])), found
    own = {str(name): one.values for name, one in sources.coords.items() if one.dims == (UNIT,)}
    return tuple(map(str, own.pop(UNIT))), own


def _members(coords: Mapping[str, npt.NDArray[Any]], label: mne.Label) -> npt.NDArray[np.intp]:
    """Positions of the sources of a label, in the order of their vertices, left before right."""
    require_vertices(coords)
    parts = [label.lh, label.rh] if label.hemi == "both" else [label]
    found = []
    for part in parts:
        side = coords["hemisphere"] == {"lh": "left", "rh": "right"}[part.hemi]
        found.append(np.flatnonzero(side & np.isin(coords["vertex"], part.vertices)))
    return np.concatenate(found)


def _row(label: mne.Label, count: int, mode: Mode, src: mne.SourceSpaces | None) -> npt.NDArray[np.float64]:
    if mode == "mean_flip":
        return np.asarray(mne.label_sign_flip(label, src) / count, np.float64)
    return np.full(count, 1.0 if mode == "max" else 1.0 / count)


def texts(names: Iterable[str]) -> npt.NDArray[np.object_]:
    """Names as an array of str, of any length."""
    listed = list(names)
    found = np.empty(len(listed), dtype=object)
    found[:] = listed
    return found
