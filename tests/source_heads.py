"""A round head with 120 sensors, its inverse operator, and trials of planted dipoles."""

from collections.abc import Mapping
from pathlib import Path

import mne
import numpy as np
import numpy.typing as npt
import xarray as xr
from mne.io.constants import FIFF

from stores.dims import CUBE

SFREQ = 200.0
KINDS: Mapping[str, tuple[str, int, str]] = {
    "mag": ("MAG", FIFF.FIFFV_COIL_VV_MAG_T3, "T"),
    "grad": ("GRAD", FIFF.FIFFV_COIL_VV_PLANAR_T1, "T/m"),
}
NOISE = {"mag": 5e-15, "grad": 1e-13}


def sensors(places: int = 60) -> mne.Info:
    """Magnetometers and planar gradiometers on the upper part of a sphere of 11 cm, alternating."""
    n = np.arange(places)
    z = 1 - 1.35 * (n + 0.5) / places
    turn = np.pi * (1 + 5**0.5) * n
    up = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    names = [f"{KINDS[kind][0]}{i:03d}" for i in n for kind in KINDS]
    info = mne.create_info(names, SFREQ, ["mag", "grad"] * places)
    for i, one in enumerate(info["chs"]):
        ez = up[i // 2]
        ex = np.cross([0.0, 1.0, 0.0] if i % 4 else [1.0, 0.0, 0.2], ez)
        ex /= np.linalg.norm(ex)
        one["loc"][:] = np.concatenate([0.11 * ez, ex, np.cross(ez, ex), ez])
        one["coil_type"] = KINDS["grad" if i % 2 else "mag"][1]
        one["coord_frame"] = FIFF.FIFFV_COORD_DEVICE
    with info._unlock():
        info["dev_head_t"] = mne.transforms.Transform("meg", "head")
    return info


def head_to_mri() -> mne.transforms.Transform:
    """Head and MRI coordinates that are the same."""
    return mne.transforms.Transform("head", "mri")


def noise_of(info: mne.Info) -> mne.Covariance:
    """Sensor noise, independent."""
    spread = [NOISE[kind] for kind in info.get_channel_types()]
    return mne.Covariance(np.diag(np.square(spread)), info["ch_names"], [], [], nfree=10_000, verbose="error")


def cubes_of(
    values: npt.NDArray[np.float64], info: mne.Info, *, tmin: float = -0.1, subject: str = "sub-01"
) -> list[xr.DataArray]:
    """One cube for each kind of sensor from `values` (stimulus, channel, time[, repeat])."""
    values = values if values.ndim == 4 else values[..., None]
    names, kinds = np.array(info["ch_names"], dtype=object), np.array(info.get_channel_types())
    found = []
    for kind in [one for one in ("mag", "grad", "eeg") if one in kinds]:
        units = {"mag": "T", "grad": "T/m", "eeg": "V"}[kind]
        coords = {
            "stimulus": np.array([f"s{n:02d}" for n in range(len(values))], dtype=object),
            "unit": names[kinds == kind],
            "channel": ("unit", names[kinds == kind]),
            "time": np.round(tmin + np.arange(values.shape[2]) / info["sfreq"], 9),
            "repeat": np.arange(values.shape[3]),
        }
        attrs = {"modality": "eeg_epochs" if kind == "eeg" else "meg_epochs", "quantity": "field"}
        attrs |= {"units": units, "subject": subject, "dataset": "made up"}
        found.append(xr.DataArray(values[:, kinds == kind], dims=CUBE, coords=coords, attrs=attrs, name=kind))
    return found


def epochs_of(values: npt.NDArray[np.float64], info: mne.Info, tmin: float = -0.1) -> mne.EpochsArray:
    """The same trials (stimulus, channel, time) as MNE holds them."""
    return mne.EpochsArray(values.copy(), info, tmin=tmin, proj=False, verbose="error")


def planted(
    forward: mne.Forward,
    info: mne.Info,
    waves: Mapping[int, npt.NDArray[np.float64]],
    *,
    normal: npt.NDArray[np.float64],
    trials: int = 4,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Trials (stimulus, channel, time): dipoles along the normal at the sources `waves` names, plus noise."""
    times = len(next(iter(waves.values())))
    field = np.zeros((len(info["ch_names"]), times))
    gain = forward["sol"]["data"].reshape(len(info["ch_names"]), -1, 3)
    for source, wave in waves.items():
        field += np.outer(gain[:, source] @ normal[source], wave)
    spread = np.array([NOISE[kind] for kind in info.get_channel_types()])
    rng = np.random.default_rng(seed)
    return field + spread[:, None] * rng.standard_normal((trials, *field.shape))


def save_files(folder: Path, info: mne.Info, cov: mne.Covariance) -> dict[str, Path]:
    """Info, transform and covariance as files: the fields of `SourceFiles` that hold them."""
    found = {
        "info": folder / "head-ave.fif",
        "trans": folder / "head-trans.fif",
        "noise_cov": folder / "a-cov.fif",
    }
    silent = mne.EvokedArray(np.zeros((len(info["ch_names"]), 2)), info, verbose="error")
    mne.write_evokeds(found["info"], silent, verbose="error")
    mne.write_trans(found["trans"], head_to_mri())
    mne.write_cov(found["noise_cov"], cov, verbose="error")
    return found
