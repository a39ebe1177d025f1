"""Cubes of sensors to cubes of sources, lazily: labels and a graph over `kernels.sources`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from pipeline import blocks
from pipeline.fill import Client, Progress, fill, lazy_source, shard_blocks
from pipeline.kernels import sources as kernels
from pipeline.kernels.envelope import envelope
from pipeline.preprocess.bands import Edges, sampling_rate
from pipeline.preprocess.labels import UnitMap, texts
from pipeline.preprocess.settings import BANDS
from pipeline.preprocess.source_checks import order, require_maps, require_sensors
from pipeline.preprocess.source_work import Part, Work, access, cut, dtype_of
from pipeline.rsa.words import choose
from stores.create import writing
from stores.dims import CHANNEL, CUBE, ORIENTATION, UNIT
from stores.specs import OPERATOR, SOURCES
from stores.validate import validate


def sources(
    sensors: xr.DataArray | Sequence[xr.DataArray],
    operator: xr.DataArray,
    maps: Sequence[UnitMap] = (),
    *,
    pool: kernels.Pool | None = None,
    band: str = "",
    edges: Edges = "whole",
    task_bytes: int = blocks.TASK_BYTES,
) -> xr.DataArray:
    """Sources of every trial: a lazy cube of the stimuli, times and repeats of the sensors.

    sensors : a cube, or one for each kind of sensor, such as magnetometers and gradiometers: of the same trials.
    operator : weights of just these channels, joined by name (`inverse_operator`).
    maps : applied in turn to what was pooled, such as a morph, then labels.
    pool : "signed", or "norm" over the three orientations (the absolute value where there is one); where not
    given, "norm" of three and "signed" of one, as MNE's `pick_ori=None` and `"normal"`. "signed" of three
    makes units `lh-000123/x`, `/y`, `/z`.
    band : name in `BANDS`: the envelope of this band along time, of signed sources, before they are pooled;
    units are then named `<unit>@<band>`.  edges : as of `band_envelopes`.

    A task reads all channels of some trials and holds at most `task_bytes`; for an envelope it needs all their
    times. Equal to MNE's own estimates to rounding, in the precision of the cubes.
    Raises ValueError for an unknown word, VerbError for other channels, other units or another person,
    SchemaError for what is no cube or no operator, PlanError where not even one trial fits.
    """
    cubes = [sensors] if isinstance(sensors, xr.DataArray) else list(sensors)
    validate(operator, OPERATOR)
    pool = pool or ("norm" if operator.sizes[ORIENTATION] > 1 else "signed")
    choose("pool", pool, kernels.POOLS)
    require_sensors(cubes, operator)
    require_maps(operator, maps)
    envelope = _envelope(cubes[0], band, edges)
    operator = operator.isel({CHANNEL: order(cubes, operator)}).transpose(UNIT, ORIENTATION, CHANNEL)
    steps = [one.step for one in maps]
    work = cut(cubes, operator, steps, pool=pool, whole=band != "", task_bytes=task_bytes)
    data = _graph(cubes, operator, work, pool, envelope)
    return _labelled(cubes, operator, maps, data, pool, band)


def store_sources(
    root: Any,
    name: str,
    lazy: xr.DataArray,
    *,
    made_from: Mapping[str, Any],
    client: Client | None = None,
    progress: Progress | None = None,
) -> int:
    """Compute what `sources` gave and store it as `root`/`name`: one task a shard; returns how many ran.

    Shards are laid out as the tasks make them, so that nothing is computed twice; the same call again resumes.
    made_from, and what is raised : as of `stores.writing`.  client : whose workers run it; else this process.
    """
    best = access(lazy.shape, lazy.dtype, lazy.attrs["band"] != "")
    with writing(root, name, lazy, made_from=made_from, **best) as target:
        source = lazy_source(lazy, name)
        return fill(
            {name: target}, shard_blocks(target), source, label="sources", client=client, progress=progress
        )


@dataclass(frozen=True, eq=False)
class _Steps:
    """Steps as one value in a graph, which would look for keys in a list of them."""

    steps: Sequence[kernels.Step]


def _graph(
    cubes: Sequence[xr.DataArray],
    operator: xr.DataArray,
    work: Work,
    pool: kernels.Pool,
    envelope: kernels.Envelope | None,
) -> da.Array:
    sizes: dict[str, Any] = {**work.blocks, UNIT: -1}
    values = [blocks.blocks(one, sizes) for one in cubes]
    whole = {UNIT: -1, ORIENTATION: -1, CHANNEL: -1}
    weights = [blocks.blocks(operator.isel({UNIT: part.needed}), whole) for part in work.parts]
    sources = [*values, *weights]
    token = tokenize([one.name for one in sources], _tokens(work.parts), pool, envelope)
    name, maps = f"sources-{token}", f"sources-maps-{token}"
    kernel = blocks.task(_estimate, pool=pool, envelope=envelope)
    tasks: dict[blocks.Key, Any] = {}
    along = values[0].chunks
    kept = operator.sizes[ORIENTATION] if pool == "signed" else 1
    for u, part in enumerate(work.parts):
        tasks[maps, u] = _Steps(part.steps)
        for s, t, r in np.ndindex(*(len(along[axis]) for axis in (0, 2, 3))):
            sensors = ((one.name, s, 0, t, r) for one in values)
            tasks[name, s, u, t, r] = (kernel, (maps, u), (weights[u].name, 0, 0, 0), *sensors)
    reads = blocks.read_bytes(*values) * len(work.parts) + blocks.read_bytes(*weights)
    return blocks.array(
        name,
        tasks,
        sources,
        chunks=(along[0], tuple(part.units * kept for part in work.parts), *along[2:]),
        price=blocks.Price(work.peak, reads),
        dtype=dtype_of(cubes),
    )


def _estimate(maps: _Steps, weights: Any, *sensors: Any, **options: Any) -> Any:
    return kernels.estimate(sensors, weights, maps.steps, **options)


def _tokens(parts: Sequence[Part]) -> list[Any]:
    cut = [(part, step) for part in parts for step in part.steps]
    return [(p.needed, s.join, s.matrix.data, s.matrix.indices, s.matrix.indptr) for p, s in cut]


def _envelope(cube: xr.DataArray, band: str, edges: Edges) -> kernels.Envelope | None:
    """The envelope of a band, for the sampling rate of a cube of sensors."""
    if not band:
        return None
    choose("band", band, BANDS)
    return partial(envelope, sfreq=sampling_rate(cube, edges), band=BANDS[band])


def _labelled(
    cubes: Sequence[xr.DataArray],
    operator: xr.DataArray,
    maps: Sequence[UnitMap],
    data: da.Array,
    pool: kernels.Pool,
    band: str,
) -> xr.DataArray:
    if maps:
        units = {name: one if name == UNIT else one[1] for name, one in maps[-1].units.items()}
    else:
        units = {str(name): one.values for name, one in operator.coords.items() if one.dims == (UNIT,)}
    if (kept := data.shape[1] // len(units[UNIT])) > 1:
        units = {name: np.repeat(one, kept) for name, one in units.items()}
        units[ORIENTATION] = np.tile(operator[ORIENTATION].values, len(units[UNIT]) // kept)
        ends = zip(units[UNIT], units[ORIENTATION], strict=True)
        units[UNIT] = texts(f"{name}/{end}" for name, end in ends)
    quantity = "source magnitude" if pool == "norm" else "source amplitude"
    if band:
        quantity = f"envelope of the {quantity}"
        units[UNIT] = texts(f"{name}@{band}" for name in units[UNIT])
        units["band"] = np.full(len(units[UNIT]), band, dtype=object)
    coords = {name: one for name, one in cubes[0].coords.items() if UNIT not in one.dims}
    attrs = {
        **{name: value for name, value in cubes[0].attrs.items() if name != "provenance"},
        "modality": SOURCES.name,
        "quantity": quantity,
        "units": operator.attrs["units"],
        "subject": operator.attrs["subject"],
        "measured": sorted({str(one.attrs.get("modality", "")) for one in cubes}),
        "method": operator.attrs["method"],
        "pool": pool,
        "band": band,
        "maps": [one.mode for one in maps],
        "frame": maps[-1].frame if maps else operator.attrs["frame"],
        "settings": operator.attrs.get("settings", {}),
        "bads": operator.attrs.get("bads", []),
    }
    found = xr.DataArray(data, dims=CUBE, coords=coords, attrs=attrs, name="sources")
    return found.assign_coords({name: one if name == UNIT else (UNIT, one) for name, one in units.items()})
