"""Small seeded cubes of every modality, made from a known truth; the values of no real brain."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stores import specs
from stores.dims import CUBE, REPEAT, STIMULUS, TIME, UNIT
from stores.images import image_cube
from stores.simulate_images import SHAPES, draw
from stores.validate import validate

Array = NDArray[np.float64]

DATASET: Final = "simulated"
CATEGORIES: Final = tuple(SHAPES)
LATENT: Final = 8
"""Dimensions of the space that all simulated modalities are linear views of."""


@dataclass(frozen=True)
class Recipe:
    """Sizes unless asked otherwise, and what the numbers mean; `scale` turns unit variance into `unit`s."""

    units: int
    times: int
    repeats: int
    quantity: str
    unit: str
    scale: float = 1.0


RECIPES: Final[Mapping[str, Recipe]] = {
    specs.FMRI.name: Recipe(80, 1, 3, "GLM beta", "percent signal change"),
    specs.MEG.name: Recipe(30, 36, 4, "magnetic field", "T", 1e-13),
    specs.EEG.name: Recipe(16, 36, 4, "potential", "uV", 5.0),
    specs.SOURCES.name: Recipe(24, 36, 4, "source amplitude", "A m", 1e-9),
    specs.SPIKES.name: Recipe(40, 20, 6, "spike count", "spikes"),
    specs.MUA.name: Recipe(64, 1, 4, "multi-unit activity", "uV", 2.0),
    specs.ACTIVATIONS.name: Recipe(128, 1, 1, "activation", "a.u."),
    specs.IMAGES.name: Recipe(3 * 32 * 32, 1, 1, "pixel value", "sRGB level"),
    specs.BEHAVIOUR.name: Recipe(2, 1, 1, "rating", "a.u."),
}


def simulate(
    modality: str,
    *,
    stimuli: int = 60,
    units: int | None = None,
    times: int | None = None,
    repeats: int | None = None,
    categories: int = 4,
    noise: float = 1.0,
    ragged: bool = False,
    subject: str = "sub-01",
    seed: int = 0,
) -> xr.DataArray:
    """One cube of `modality` that passes its spec, labelled `dataset="simulated"`.

    Stimulus s has a place z_s in a latent space of 8 dimensions, half of whose variance is its category;
    unit u answers ``g(t) (z_s . w_u)``, standardised over stimuli, plus white noise. One seed gives the same
    stimuli, ids and z in every modality, so that simulated modalities share a geometry. Spikes are Poisson
    counts around ``b_u exp(g(t) (z_s . w_u) / 2)``. Images show one kind of shape per category; images and
    activations have no noise.

    Truth comes as coordinates: `category` of each stimulus; `true_reliability` of each unit, the correlation
    expected between two presentations where g = 1; `true_gain`, g(t). With `noise=0` the same call returns
    the signal itself (of spikes, the expected counts). Where `ragged`, stimuli have 1..repeats presentations,
    as `presentations` counts; the rest is NaN.

    Sizes that are None are the modality's own; images need `units` = 3 side^2. Raises ValueError for a
    modality or a size that cannot be.
    """
    shape = _shape(modality, (stimuli, units, times, repeats), categories)
    labels = [CATEGORIES[n % categories] for n in range(stimuli)]
    if modality == specs.IMAGES.name:
        return _images(labels, shape[1], seed)
    weights = keyed(seed, modality, subject).normal(size=(LATENT, shape[1]))
    signal = standard(latent(labels, seed) @ weights)  # (stimulus, unit)
    gain = gain_of(times_of(shape[2]))
    measure = _spikes if modality == specs.SPIKES.name else _gaussian
    noise = 0 if modality == specs.ACTIVATIONS.name else noise
    values, reliability = measure(signal, gain, shape[3], noise, keyed(seed, modality, subject, "noise"))
    seen = np.full(stimuli, shape[3])
    if ragged:
        seen = _presentations(stimuli, shape[3], keyed(seed, modality, subject, "ragged"))
        values = np.where(np.arange(shape[3]) < seen[:, None, None, None], values, np.nan)
    cube = _label(modality, values, labels, subject, seed)
    cube = cube.assign_coords(
        presentations=(STIMULUS, seen), true_reliability=(UNIT, reliability), true_gain=(TIME, gain)
    )
    return validate(cube)


def keyed(seed: int, *names: str) -> np.random.Generator:
    """The random stream of what `names` mean: the same in whatever order things are drawn."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def latent(labels: Sequence[str], seed: int) -> Array:
    """Places of the stimuli in the shared latent space, (stimulus, latent): category plus own place."""
    own = keyed(seed, "own place").normal(size=(len(labels), LATENT))
    centre = {label: keyed(seed, "category", label).normal(size=LATENT) for label in sorted(set(labels))}
    return np.asarray(np.sqrt(0.5) * (np.stack([centre[label] for label in labels]) + own))


def standard(signal: Array) -> Array:
    """Each unit to mean 0 and variance 1 over stimuli, (stimulus, unit); a constant unit becomes 0."""
    spread = signal.std(axis=0)
    return np.asarray((signal - signal.mean(axis=0)) / np.where(spread > 0, spread, 1))


def times_of(count: int) -> Array:
    """`count` times in seconds, 20 ms apart from -0.1 s; the single time 0.0 where count is 1."""
    return np.zeros(1) if count == 1 else np.round(-0.1 + 0.02 * np.arange(count), 6)


def gain_of(times: Array) -> Array:
    """Strength of the signal over time: none before onset, 1 at 0.16 s; 1 where there is no time axis."""
    if len(times) == 1:
        return np.ones(1)
    return np.where(times > 0, np.exp(-((times - 0.16) ** 2) / (2 * 0.06**2)), 0.0)


def stimulus_ids(labels: Sequence[str]) -> list[str]:
    """`disc_001, square_001, ..., disc_002`: numbered within each category."""
    seen: dict[str, int] = {}
    ids = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        ids.append(f"{label}_{seen[label]:03d}")
    return ids


def _shape(
    modality: str, asked: tuple[int, int | None, int | None, int | None], categories: int
) -> tuple[int, int, int, int]:
    if modality not in RECIPES:
        near = get_close_matches(modality, RECIPES, n=1)
        raise ValueError(
            f"no modality {modality!r} to simulate; choose one of {sorted(RECIPES)}"
            + (f". Did you mean {near[0]!r}?" if near else "")
        )
    recipe = RECIPES[modality]
    own = (60, recipe.units, recipe.times, recipe.repeats)
    stimuli, units, times, repeats = (
        size if size is not None else use for size, use in zip(asked, own, strict=True)
    )
    if min(stimuli, units, times, repeats) < 1:
        raise ValueError(f"sizes {(stimuli, units, times, repeats)} of {CUBE} must all be at least 1")
    if times > 1 and specs.SPECS[modality].timeless:
        raise ValueError(f"times={times}, but a {modality} cube has no time axis; leave it out or give 1")
    if not 1 <= categories <= len(CATEGORIES):
        raise ValueError(
            f"categories={categories}; there are 1 to {len(CATEGORIES)}: {', '.join(CATEGORIES)}"
        )
    return stimuli, units, times, repeats


def _gaussian(
    signal: Array, gain: Array, repeats: int, noise: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Values (stimulus, unit, time, repeat) and the reliability of each unit, drawn from 0.1 to 0.9."""
    wanted = rng.uniform(0.1, 0.9, signal.shape[1])
    spread = noise * np.sqrt((1 - wanted) / wanted)  # (unit,)
    clean = signal[:, :, None] * gain  # (stimulus, unit, time)
    white = rng.normal(size=(*clean.shape, repeats))
    return clean[..., None] + spread[:, None, None] * white, 1 / (1 + spread**2)


def _spikes(
    signal: Array, gain: Array, repeats: int, noise: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Counts (stimulus, unit, time, repeat); per unit ``var(rate) / (var(rate) + mean(rate))`` at g = 1."""
    base = rng.uniform(1, 8, signal.shape[1:])
    peak = base * np.exp(signal / 2)  # (stimulus, unit)
    rate = base[:, None] * np.exp(signal[:, :, None] * gain / 2)
    rates = np.repeat(rate[..., None], repeats, axis=3)
    reliability = peak.var(axis=0) / (peak.var(axis=0) + peak.mean(axis=0))
    return (rng.poisson(rates).astype(float), reliability) if noise else (rates, np.ones_like(base))


def _presentations(stimuli: int, repeats: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each stimulus was shown, 1..repeats; one of them as often as can be."""
    seen = rng.integers(1, repeats + 1, stimuli)
    seen[rng.integers(stimuli)] = repeats
    return seen


def _label(modality: str, values: Array, labels: Sequence[str], subject: str, seed: int) -> xr.DataArray:
    recipe = RECIPES[modality]
    counts = modality == specs.SPIKES.name and bool((values == np.rint(values)).all())
    attrs = {
        "modality": modality,
        "quantity": recipe.quantity,
        "units": recipe.unit,
        "dataset": DATASET,
        "subject": subject,
        "seed": seed,
    }
    if modality == specs.ACTIVATIONS.name:
        attrs |= {"network": DATASET, "layer": DATASET}
    return xr.DataArray(
        (values * recipe.scale).astype(np.uint16 if counts else np.float32),
        dims=CUBE,
        coords={
            STIMULUS: np.array(stimulus_ids(labels), object),
            TIME: times_of(values.shape[2]),
            REPEAT: np.arange(values.shape[3]),
            "category": (STIMULUS, np.array(labels, object)),
            **_unit_coords(modality, values.shape[1]),
        },
        attrs=attrs,
    )


def _unit_coords(modality: str, units: int) -> dict[str, Any]:
    """Ids of the units and where they lie, as each modality names it."""
    number = np.arange(units)
    ids = np.array([f"u{n:04d}" for n in number], object)
    regions = np.array(["V1", "V4", "IT"], object)[number % 3]
    coords: dict[str, dict[str, Any]] = {
        specs.FMRI.name: {
            "region": regions,
            "hemisphere": np.array(["L", "R"], object)[number % 2],
            "x": number.astype(float),
            "y": np.zeros(units),
            "z": np.zeros(units),
        },
        specs.MEG.name: {"channel": ids, "channel_type": np.full(units, "mag", object)},
        specs.EEG.name: {"channel": ids, "channel_type": np.full(units, "eeg", object)},
        specs.SOURCES.name: {"region": np.array([f"label-{n:02d}" for n in number], object)},
        specs.SPIKES.name: {"region": regions, "channel": number},
        specs.MUA.name: {"region": regions, "array": number // 16, "channel": number % 16},
        specs.ACTIVATIONS.name: {"channel": number // 16, "row": number // 4 % 4, "col": number % 4},
    }
    return {UNIT: ids} | {name: (UNIT, values) for name, values in coords.get(modality, {}).items()}


def _images(labels: Sequence[str], units: int, seed: int) -> xr.DataArray:
    side = round((units / 3) ** 0.5)
    if 3 * side**2 != units:
        raise ValueError(f"units={units}; square colour images have 3 side^2 units, such as {3 * side**2}")
    ids = stimulus_ids(labels)
    pictures = [draw(label, side, keyed(seed, "image", one)) for one, label in zip(ids, labels, strict=True)]
    cube = image_cube(np.stack(pictures), ids, dataset=DATASET, coords={"category": np.array(labels, object)})
    return cube.assign_attrs(seed=seed)
