"""Simulated subjects whose regions and time windows carry the geometry of chosen network layers."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
import xarray as xr

from stores import specs
from stores.align import align
from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import SchemaError
from stores.simulate import DATASET, Array, keyed
from stores.validate import validate

FIRST_PEAK, PEAK_STEP, PEAK_WIDTH = 0.08, 0.09, 0.025
"""Seconds: when the first layer peaks in the sensors, how much later each next one, for how long."""
SAMPLING: Final = 0.02


def simulate_subjects(
    features: Mapping[str, xr.DataArray],
    plan: Mapping[str, str],
    *,
    subjects: int = 2,
    voxels: int = 80,
    sensors: int = 80,
    repeats: int = 2,
    noise: float = 0.5,
    seed: int = 0,
) -> dict[str, xr.DataArray]:
    """Measured brains of which it is known what they measure: cubes `fmri/sub-01`, `meg/sub-01`, ...

    features : layer name -> array with dims stimulus and unit (others of size 1), early layers first.
    plan : region -> the layer whose geometry its voxels carry.

    A voxel of region R answers ``sum_k a_k q_k``, a random mixture of the principal components a_k of layer
    plan[R] after each stimulus's mean over units is taken out. The weights are orthonormal and sum to 0 over
    voxels, so that with more voxels than stimuli the region's correlation and Euclidean geometry *is* the
    layer's, up to noise. Sensors carry such mixtures of all layers, layer k with the gain
    ``exp(-(t - t_k)^2 / (2 w^2))``, t_k = 0.08 s + 0.09 s k, w = 0.025 s. White noise has `noise` times the
    standard deviation of the signal (of sensors, at its peak) in each of `repeats` presentations.

    Truth comes as coordinates: `planted_layer` along the units of fMRI, and along the times of MEG ("" where
    no layer has a gain above 0.5). Raises ValueError where the plan names a layer that is not there, where
    sizes leave nothing to mix, or a layer answers alike to all stimuli; AlignError where the layers have other
    stimuli.
    """
    _check_plan(features, plan)
    _check_sizes(subjects=(subjects, 1), voxels=(voxels, 2), sensors=(sensors, 2), repeats=(repeats, 1))
    layers = dict(zip(features, align(*features.values(), how="exact"), strict=True))
    parts = {name: components(name, layer) for name, layer in layers.items()}
    stimuli = next(iter(layers.values()))[STIMULUS]
    cubes = {}
    for number in range(1, subjects + 1):
        subject = f"sub-{number:02d}"
        cubes[f"fmri/{subject}"] = _fmri(parts, plan, stimuli, subject, voxels, repeats, noise, seed)
        cubes[f"meg/{subject}"] = _meg(parts, stimuli, subject, sensors, repeats, noise, seed)
    return cubes


def components(name: str, layer: xr.DataArray) -> Array:
    """Principal components (stimulus, component), largest first, of patterns freed of their mean over units.

    Their inner products are those of the patterns, so are the correlation and Euclidean distances.
    Scaled to unit mean variance over stimuli and components. Raises ValueError where stimuli do not differ.
    """
    rest = [dim for dim in layer.dims if dim not in (STIMULUS, UNIT)]
    if any(layer.sizes[dim] != 1 for dim in rest):
        raise SchemaError(
            f"features have sizes {dict(layer.sizes)}; only {STIMULUS!r} and {UNIT!r} may exceed 1"
        )
    patterns = np.asarray(
        layer.transpose(STIMULUS, UNIT, *rest).data.reshape(layer.sizes[STIMULUS], -1), float
    )
    patterns = patterns - patterns.mean(axis=1, keepdims=True)
    # Below 1e-7 of the patterns their differences are rounding: eigenvalues are its squares.
    if not np.ptp(patterns, axis=0).max() > 1e-7 * abs(patterns).max():
        raise ValueError(
            f"layer {name!r} has NaN, or answers alike to all {len(patterns)} stimuli once its mean over units "
            "is taken out: it has no geometry to plant"
        )
    variances, axes = np.linalg.eigh(patterns @ patterns.T)
    parts = axes[:, ::-1] * np.sqrt(np.clip(variances[::-1], 0, None))
    return np.asarray(parts / (parts - parts.mean(axis=0)).std())


def layer_gains(layers: int, times: Array) -> Array:
    """How strongly each layer shows in the sensors at each time, (layer, time); zero before onset."""
    peaks = FIRST_PEAK + PEAK_STEP * np.arange(layers)[:, None]
    return np.where(times > 0, np.exp(-((times - peaks) ** 2) / (2 * PEAK_WIDTH**2)), 0.0)


def mixture(parts: Array, channels: int, rng: np.random.Generator) -> Array:
    """Random views (stimulus, channel) of as many leading components as fit; their geometry is kept.

    Rows of weights are orthonormal and sum to 0, so distances are kept and the mean over channels is 0.
    """
    weights = rng.normal(size=(channels, min(parts.shape[1], channels - 1)))
    weights, _ = np.linalg.qr(np.column_stack([np.ones(channels), weights]))
    mixed = parts[:, : weights.shape[1] - 1] @ weights[:, 1:].T
    return np.asarray(mixed / (mixed - mixed.mean(axis=0)).std())


def _check_plan(features: Mapping[str, xr.DataArray], plan: Mapping[str, str]) -> None:
    if not features:
        raise ValueError("no features were given; wanted one array for each layer")
    for region, layer in plan.items():
        if layer not in features:
            near = get_close_matches(layer, features, n=1)
            raise ValueError(
                f"the plan gives region {region!r} the layer {layer!r}; there are {list(features)}"
                + (f". Did you mean {near[0]!r}?" if near else "")
            )


def _check_sizes(**sizes: tuple[int, int]) -> None:
    for name, (size, least) in sizes.items():
        if size < least:
            raise ValueError(f"{name}={size}; wanted at least {least}")


def _fmri(
    parts: Mapping[str, Array],
    plan: Mapping[str, str],
    stimuli: xr.DataArray,
    subject: str,
    voxels: int,
    repeats: int,
    noise: float,
    seed: int,
) -> xr.DataArray:
    blocks = [
        mixture(parts[layer], voxels, keyed(seed, "fmri", subject, region)) for region, layer in plan.items()
    ]
    signal = np.concatenate(blocks, axis=1)[:, :, None, None]
    white = keyed(seed, "fmri", subject, "noise").normal(size=(*signal.shape[:3], repeats))
    coords = {
        UNIT: np.array([f"{region}_v{n:03d}" for region in plan for n in range(voxels)], object),
        TIME: np.zeros(1),
        "region": (UNIT, np.repeat(np.array(list(plan), object), voxels)),
        "planted_layer": (UNIT, np.repeat(np.array(list(plan.values()), object), voxels)),
    }
    return _cube(specs.FMRI, signal + noise * white, stimuli, coords, subject, seed, ("GLM beta", "z", 1.0))


def _meg(
    parts: Mapping[str, Array],
    stimuli: xr.DataArray,
    subject: str,
    sensors: int,
    repeats: int,
    noise: float,
    seed: int,
) -> xr.DataArray:
    end = FIRST_PEAK + PEAK_STEP * (len(parts) - 1) + 0.1
    times = np.round(np.arange(-0.1, end, SAMPLING), 6)
    gains = layer_gains(len(parts), times)
    mixed = np.stack(
        [mixture(one, sensors, keyed(seed, "meg", subject, name)) for name, one in parts.items()]
    )
    signal = np.einsum("lsu,lt->sut", mixed, gains)[..., None]
    white = keyed(seed, "meg", subject, "noise").normal(size=(*signal.shape[:3], repeats))
    names = np.array(["", *parts], object)
    ids = np.array([f"MEG{n:03d}" for n in range(sensors)], object)
    coords = {
        UNIT: ids,
        TIME: times,
        "channel": (UNIT, ids),
        "planted_layer": (TIME, names[np.where(gains.max(axis=0) > 0.5, gains.argmax(axis=0) + 1, 0)]),
    }
    return _cube(
        specs.MEG, signal + noise * white, stimuli, coords, subject, seed, ("magnetic field", "T", 1e-13)
    )


def _cube(
    spec: specs.Spec,
    values: Array,
    stimuli: xr.DataArray,
    coords: Mapping[str, Any],
    subject: str,
    seed: int,
    meaning: tuple[str, str, float],
) -> xr.DataArray:
    quantity, units, scale = meaning
    kept = {name: one for name, one in stimuli.coords.items() if one.dims == (STIMULUS,)}
    cube = xr.DataArray(
        (values * scale).astype(np.float32),
        dims=CUBE,
        coords={**kept, **coords, REPEAT: np.arange(values.shape[3])},
        attrs={
            "modality": spec.name,
            "quantity": quantity,
            "units": units,
            "dataset": DATASET,
            "subject": subject,
            "seed": seed,
        },
    )
    return validate(cube, spec)
