"""Whether sensors, an operator and maps belong together; channels are joined by name."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from pipeline.errors import VerbError
from pipeline.preprocess.inverse import channel_names
from pipeline.preprocess.labels import UnitMap
from stores.dims import CHANNEL, CUBE, ORIENTATION, REPEAT, STIMULUS, TIME, UNIT
from stores.errors import SchemaError

SENSOR_UNITS = {"mag": "T", "grad": "T/m", "eeg": "V"}


def require_sensors(cubes: Sequence[xr.DataArray], operator: xr.DataArray) -> None:
    """What an operator can be applied to: cubes of the same trials of its person, in SI units. Raises."""
    if not cubes:
        raise VerbError("no cube of sensors was given; wanted one for each kind of sensor")
    for cube in cubes:
        _require_sensor_cube(cube, operator)
    for dim in (STIMULUS, TIME, REPEAT):
        labels = [list(one[dim].values) for one in cubes]
        if other := [own for own in labels if own != labels[0]]:
            raise VerbError(
                f"the cubes of sensors have different values of {dim!r}: {len(labels[0])} beginning "
                f"{labels[0][:3]} and {len(other[0])} beginning {other[0][:3]}. Bring them together with "
                "`stores.align`, or make them of the same trials"
            )


def _require_sensor_cube(cube: xr.DataArray, operator: xr.DataArray) -> None:
    if cube.dims != CUBE or cube.dtype.kind != "f":
        raise SchemaError(
            f"sources are made from floating-point cubes with dims {CUBE}; this is {cube.dtype} with {cube.dims}"
        )
    if not cube.size:
        raise SchemaError(f"the cube is empty: its sizes are {dict(cube.sizes)}")
    known = operator.indexes[CHANNEL]
    kinds = operator["channel_type"].values[known.isin(channel_names(cube))]
    wanted = sorted({SENSOR_UNITS.get(kind, "T") for kind in kinds}) or sorted(set(SENSOR_UNITS.values()))
    if (units := cube.attrs.get("units")) not in wanted:
        raise VerbError(
            f"the cube is in {units!r}, and the operator takes these channels in {' or '.join(wanted)}. Sensors "
            "that were normalised or whitened cannot be taken to sources: do that afterwards"
        )
    theirs, ours = operator.attrs["subject"], cube.attrs.get("subject")
    if ours is not None and ours != theirs:
        raise VerbError(
            f"the cube is of {ours!r}, the operator of {theirs!r}: heads differ, so weights do too"
        )


def require_maps(operator: xr.DataArray, maps: Sequence[UnitMap]) -> None:
    """Raise VerbError where a map is of other units than those before it, or of another orientation."""
    ids = tuple(map(str, operator[UNIT].values))
    for n, one in enumerate(maps):
        if one.sources != ids:
            raise VerbError(
                f"map {n + 1} ({one.mode}) is of {len(one.sources)} units, beginning {list(one.sources[:3])}; "
                f"before it are {len(ids)} others, beginning {list(ids[:3])}"
            )
        if one.mode == "mean_flip" and tuple(operator[ORIENTATION].values) != ("normal",):
            raise VerbError("mode 'mean_flip' is for sources along the normal: use orientation='normal'")
        ids = tuple(map(str, one.units[UNIT]))


def order(cubes: Sequence[xr.DataArray], operator: xr.DataArray) -> npt.NDArray[np.intp]:
    """Positions in `operator` of the channels of all cubes, by name. Raises VerbError naming what differs."""
    ours = [name for cube in cubes for name in channel_names(cube)]
    theirs = list(map(str, operator.indexes[CHANNEL]))
    said = {
        "appear twice": sorted({name for name in ours if ours.count(name) > 1}),
        "of the operator are missing": sorted(set(theirs) - set(ours)),
        "are not in the operator": sorted(set(ours) - set(theirs)),
    }
    if any(said.values()):
        faults = "; ".join(f"{len(names)} {what}: {_few(names)}" for what, names in said.items() if names)
        advice = ". Leave those out with `cube.isel(unit=cube.channel.isin(operator.channel.values))`"
        raise VerbError(
            f"the channels of the cube are not those of the operator: {faults}"
            + (advice if said["are not in the operator"] else "")
        )
    return np.asarray(operator.indexes[CHANNEL].get_indexer(ours))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
