"""Inverse operators as labelled matrices: (unit, orientation, channel), computed once a person by MNE-Python.

The matrix is what MNE makes of unit pulses, one in each channel, so it holds the projections, the whitening and
the noise normalisation that MNE applies: `K x` is its estimate of `x`, projected before or not.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import mne
import numpy as np
import numpy.typing as npt
import xarray as xr

from pipeline.blocks import one_blas_thread
from pipeline.errors import VerbError
from pipeline.preprocess.anatomy import (
    FACES_SOURCES,
    SourceFiles,
    SourceSettings,
    forward_of,
    plain,
    read_cov,
    read_info,
    source_space,
)
from pipeline.rsa.words import choose
from stores.dims import CHANNEL, ORIENTATION, REPEAT, STIMULUS, TIME, UNIT
from stores.specs import OPERATOR
from stores.validate import validate

UNITS: Final = {"MNE": "A m", "dSPM": "dSPM", "sLORETA": "sLORETA"}
SIDES: Final = {101: "left", 102: "right"}  # FIFFV_MNE_SURF_LEFT_HEMI, ..._RIGHT_HEMI
PREFIXES: Final = {"left": "lh", "right": "rh"}
COMPONENTS: Final = ("x", "y", "z")


def operator_of(
    files: SourceFiles, settings: SourceSettings = FACES_SOURCES, *, nave: int = 1
) -> xr.DataArray:
    """The inverse operator of one person, from files: what one Dask task does for each subject.

    Raises InputError for files that are missing or broken, VerbError for settings that do not fit them.
    """
    info = read_info(files.info)
    covs = [None if path is None else read_cov(path) for path in (files.noise_cov, files.data_cov)]
    with one_blas_thread():
        src = source_space(files, settings)
        forward = forward_of(files, info, settings, src=src)
        made = inverse_operator(
            info,
            forward,
            settings,
            subject=files.subject,
            noise_cov=covs[0],
            data_cov=covs[1],
            nave=nave,
        )
    close = sum(one["nuse"] for one in src) - made.sizes[UNIT]
    said = f"sources less than {settings.mindist:g} mm from the inner skull"
    return made.assign_attrs(dropped={said: int(close)} if close else {})


def inverse_operator(
    info: mne.Info,
    forward: mne.Forward,
    settings: SourceSettings = FACES_SOURCES,
    *,
    subject: str,
    noise_cov: mne.Covariance | None = None,
    data_cov: mne.Covariance | None = None,
    nave: int = 1,
) -> xr.DataArray:
    """Weights (unit, orientation, channel), spec `source_operator`, that take SI values of sensors to sources.

    nave : how many trials each value is a mean of (minimum norm alone).
    The channels are those in info, forward and covariance that are not marked bad. Orientations are x, y, z in
    head coordinates, or the cortex's normal. Sources are named `lh-000123` by hemisphere and vertex, `vol0-...`
    in volumes; x, y, z are metres in head coordinates.
    Raises ValueError for an unknown method or orientation, VerbError for a covariance that is missing, or what
    MNE refuses.
    """
    choose("method", settings.method, [*UNITS, "LCMV"])
    choose("orientation", settings.orientation, ("vector", "normal"))
    _require_cortex(forward, settings)
    try:
        with one_blas_thread():
            if settings.method == "LCMV":
                made, names = _lcmv(info, forward, settings, noise_cov, data_cov)
            else:
                made, names = _minimum_norm(info, forward, settings, noise_cov, nave)
    except VerbError:
        raise
    except (ValueError, RuntimeError) as error:
        raise VerbError(f"no {settings.method} operator of {subject}: {error}") from error
    attrs = {"subject": subject, "nave": nave, "bads": list(info["bads"])}
    return _labelled(made.data, _pick(info, names), forward, settings, attrs)


def _labelled(
    data: npt.NDArray[np.float64],
    info: mne.Info,
    forward: mne.Forward,
    settings: SourceSettings,
    attrs: Mapping[str, Any],
) -> xr.DataArray:
    """`data` (source[, orientation], pulse in a channel of `info`) as an operator."""
    weights = data.reshape(len(data), -1, len(info["ch_names"]))
    orientations = COMPONENTS if weights.shape[1] == 3 else ("normal",)
    of_lcmv = "A m" if settings.weight_norm is None else "a.u."
    coords = {
        ORIENTATION: np.array(orientations, dtype=object),
        CHANNEL: np.array(info["ch_names"], dtype=object),
        "channel_type": (CHANNEL, np.array(info.get_channel_types(), dtype=object)),
    }
    found = xr.DataArray(
        weights,
        dims=(UNIT, ORIENTATION, CHANNEL),
        coords=source_coords(forward["src"], forward["source_rr"]) | coords,
        attrs={
            "modality": OPERATOR.name,
            "quantity": "source amplitude per sensor value",
            "units": UNITS.get(settings.method, of_lcmv),
            "method": settings.method,
            "frame": "head",
            "settings": {name: plain(value) for name, value in asdict(settings).items()},
            **attrs,
        },
        name="source-operator",
    )
    return validate(found, OPERATOR)


def source_coords(src: Sequence[Any], places: npt.NDArray[Any] | None = None) -> dict[str, Any]:
    """Coordinates along `unit` of the used vertices of a source space: ids, vertex, side, region, x, y, z."""
    sides = [SIDES.get(int(one["id"]), "") if one["type"] == "surf" else "" for one in src]
    volumes = iter(range(len(src)))
    prefixes = [PREFIXES.get(side) or f"vol{next(volumes)}" for side in sides]
    vertices = [np.asarray(one["vertno"], np.int64) for one in src]
    if places is None:
        places = np.concatenate([one["rr"][used] for one, used in zip(src, vertices, strict=True)])
    ids = [f"{prefix}-{n:06d}" for prefix, used in zip(prefixes, vertices, strict=True) for n in used]
    coords: dict[str, Any] = {
        UNIT: np.array(ids, dtype=object),
        "vertex": (UNIT, np.concatenate(vertices)),
        "region": (UNIT, np.full(len(ids), "unknown", dtype=object)),
    }
    if all(sides):
        count = [len(used) for used in vertices]
        coords["hemisphere"] = (UNIT, np.repeat(np.array(sides, dtype=object), count))
    return coords | {axis: (UNIT, np.asarray(places[:, n], np.float64)) for n, axis in enumerate("xyz")}


def noise_covariance(
    sensors: xr.DataArray | Sequence[xr.DataArray],
    info: mne.Info,
    *,
    method: str = "shrunk",
    tmin: float | None = None,
    tmax: float | None = 0.0,
    cv: int = 3,
) -> mne.Covariance:
    """Covariance over the samples from `tmin` to `tmax` of every trial, by MNE's estimator `method`.

    sensors : a cube, or one for each kind of sensor. Trials with a NaN are left out. Loads that part of the
    cubes: (trial, channel, sample) in float64. MNE warns where samples are too few for so many channels.
    """
    cubes = [sensors] if isinstance(sensors, xr.DataArray) else list(sensors)
    picked = _pick(info, [name for cube in cubes for name in channel_names(cube)])
    parts = [cube.sel({TIME: slice(tmin, tmax)}).transpose(STIMULUS, REPEAT, UNIT, TIME) for cube in cubes]
    loaded = [np.asarray(one.data, dtype=np.float64).reshape(-1, *one.shape[2:]) for one in parts]
    values = np.concatenate(loaded, axis=1)
    values = values[np.isfinite(values).all(axis=(1, 2))]
    if not values.size:
        times = cubes[0][TIME].values
        raise VerbError(
            f"no trial has finite values from {tmin} to {tmax} s; the cube's times are {times[0]:.3f} to "
            f"{times[-1]:.3f} s"
        )
    epochs = mne.EpochsArray(values, picked, tmin=float(parts[0][TIME][0]), proj=False, verbose="error")
    with warnings.catch_warnings():
        # They are, as every cube of epochs; MNE cannot know.
        warnings.filterwarnings("ignore", message="Epochs are not baseline corrected")
        return mne.compute_covariance(epochs, method=method, cv=cv, verbose="warning")


def channel_names(cube: xr.DataArray) -> list[str]:
    """Names of a cube's channels: the coordinate `channel`, else the ids of its units."""
    return [str(name) for name in cube.coords.get(CHANNEL, cube[UNIT]).values]


def _require_cortex(forward: mne.Forward, settings: SourceSettings) -> None:
    """Raise VerbError where sources without a normal would be held to one; MNE takes z for it in some volumes."""
    if all(one["type"] == "surf" for one in forward["src"]):
        return
    loose = settings.loose if settings.method != "LCMV" else 1.0
    if settings.orientation == "normal" or loose != 1.0:
        raise VerbError(
            f"sources in a volume have no normal, and loose={loose:g} with orientation={settings.orientation!r} "
            "needs one. Use loose=1.0 and orientation='vector'"
        )


def _minimum_norm(
    info: mne.Info, forward: mne.Forward, settings: SourceSettings, cov: mne.Covariance | None, nave: int
) -> tuple[Any, list[str]]:
    if cov is None:
        raise VerbError(f"the method {settings.method} needs a noise covariance; give `noise_cov`")
    inverse = mne.minimum_norm.make_inverse_operator(
        info, forward, cov, loose=settings.loose, depth=settings.depth, verbose="error"
    )
    names = list(inverse["noise_cov"]["names"])
    fixed = settings.orientation == "normal" and settings.loose == 0.0  # fixed already: nothing to pick
    made = mne.minimum_norm.apply_inverse_raw(
        _pulses(info, names),
        inverse,
        lambda2=settings.lambda2,
        method=settings.method,
        nave=nave,
        pick_ori=None if fixed else settings.orientation,
        verbose="error",
    )
    return made, names


def _lcmv(
    info: mne.Info,
    forward: mne.Forward,
    settings: SourceSettings,
    noise_cov: mne.Covariance | None,
    data_cov: mne.Covariance | None,
) -> tuple[Any, list[str]]:
    if data_cov is None:
        raise VerbError("the method LCMV needs a covariance of the data; give `data_cov`")
    if settings.orientation == "normal":
        forward = mne.convert_forward_solution(forward, surf_ori=True, verbose="error")
    filters = mne.beamformer.make_lcmv(
        info,
        forward,
        data_cov,
        reg=settings.reg,
        noise_cov=noise_cov,
        pick_ori=settings.orientation,
        weight_norm=settings.weight_norm,
        reduce_rank=settings.reduce_rank,
        verbose="error",
    )
    names = list(filters["ch_names"])
    return mne.beamformer.apply_lcmv_raw(_pulses(info, names), filters, verbose="error"), names


def _pulses(info: mne.Info, names: Sequence[str]) -> mne.io.RawArray:
    """As many samples as channels, each a one in its own channel."""
    return mne.io.RawArray(np.eye(len(names)), _pick(info, names), verbose="error")


def _pick(info: mne.Info, names: Sequence[str]) -> mne.Info:
    if absent := [name for name in names if name not in info["ch_names"]]:
        raise VerbError(f"the measurement info has no channel {', '.join(absent[:8])} ({len(absent)} in all)")
    picks = [info["ch_names"].index(name) for name in names]
    return mne.pick_info(info, picks)
