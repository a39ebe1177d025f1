"""The `import` step: a reader's lazy cubes, labelled, become stored ones; what was left out is said."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import xarray as xr

from pipeline.fill import Block, fill, lazy_source
from pipeline.plan import size
from pipeline.study.names import expand
from pipeline.study.schema import ImportStep
from stores import label, open_cube, writing
from stores.dims import CUBE
from stores.errors import AlignError
from stores.readers.request import Request, read, request
from stores.readers.trials import regions, storage

if TYPE_CHECKING:
    from pipeline.study.run import Run

IMPORT_VERSION: Final = 1
BIG_BYTES: Final = 256 * 2**20
"""Above this size an imported cube is filled on the workers; below, sending tasks costs more than it gains."""


def asked(step: ImportStep) -> Request:
    """What a step asks for, checked. Raises InputError."""
    paths = [step.path] if isinstance(step.path, str) else step.path
    return request(step.reader, paths, step.options, allow_pickle=step.allow_pickle)


def plan(run: "Run", name: str, step: ImportStep, faults: list[str]) -> list[str]:
    """Names of the cubes that a step will make; adds to `faults` where its labels are not to be found."""
    for one in step.labels:
        if set("*?[") & set(one.cube):
            faults.append(f"steps.{name}.labels: {one.cube!r} must name one cube")
        faults += [f"steps.{name}.labels: {fault}" for fault in expand(one.cube, run.names())[1]]
    return [f"{step.into or name}/{cube}" for cube in read(asked(step))]


def import_step(run: "Run", name: str, step: ImportStep) -> None:
    """Make the cubes of a step, with its labels as coordinates. Raises StoreError."""
    wanted = asked(step)
    cubes, made_from = read(wanted), list[dict[str, Any]]()
    for one in step.labels:
        source = open_cube(run.root, one.cube)
        made_from.append(one.model_dump() | {"content_key": source.attrs["provenance"]["content_key"]})
        for short, cube in cubes.items():
            try:
                cubes[short] = label(cube, source, *one.names, by=one.by)
            except AlignError as fault:
                raise AlignError(f"steps.{name}.labels: {short} and {one.cube}: {fault}") from fault
    made = import_cubes(run, wanted, cubes, step.into or name, made_from)
    for cube_name, cube in zip(made, cubes.values(), strict=True):
        for line in losses(cube):
            run.listener.said(f"{cube_name}: {line}")


def import_cubes(
    run: "Run",
    wanted: Request,
    cubes: Mapping[str, xr.DataArray],
    into: str,
    labels: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """Make every cube that a reader found, as `<into>/<cube>`; returns their names."""
    made = []
    for short, cube in cubes.items():
        made_from = {
            "step": f"import/{IMPORT_VERSION}",
            "reader": wanted.reader.name,
            "cube": short,
            "sources": cube.attrs.get("sources", []),
        }
        made_from |= {"options": record} if (record := wanted.record()) else {}
        made_from |= {"labels": [dict(one) for one in labels]} if labels else {}
        _store(run, f"{into}/{short}", cube, made_from)
        made.append(f"{into}/{short}")
    return made


def is_big(cube: xr.DataArray) -> bool:
    """Whether workers are to fill it."""
    return cube.chunks is not None and cube.nbytes > BIG_BYTES


def _store(run: "Run", name: str, cube: xr.DataArray, made_from: dict[str, Any]) -> None:
    """Fill one cube from lazy values: big ones on the workers, region by region."""
    layout = storage(cube) if cube.dims == CUBE else {}
    overwrite = run.overwrite
    with writing(run.root, name, cube, made_from=made_from, overwrite=overwrite, **layout) as target:
        run.listener.made(name, reused=target.complete)
        # Cut where the source is: each of its bytes is then read once.
        cuts = regions(target, cube) if layout else target.regions()
        fill(
            {name: target},
            [Block({name: region}) for region in cuts],
            lazy_source(cube, name),
            label=f"import-{name.replace('/', '-')}",
            client=run.client if is_big(cube) else None,
            progress=run.listener.progress,
        )


def described(cubes: Mapping[str, xr.DataArray]) -> Iterator[str]:
    """A line for each cube: its sizes and bytes; and one for whatever was left out of it, with counts."""
    width = max(map(len, cubes), default=0)
    for name, cube in cubes.items():
        sizes = " x ".join(f"{count:,} {dim}" for dim, count in cube.sizes.items() if count > 1)
        yield f"{name:{width}}  {cube.attrs['modality']}, {sizes or '1 value'}, {cube.dtype}, {size(cube.nbytes)}"
        for line in losses(cube):
            yield f"{'':{width}}  {line}"


def losses(cube: xr.DataArray) -> Iterator[str]:
    """What a reader left out of a cube, and how many stimuli a label is missing for."""
    for what, count in cube.attrs.get("dropped", {}).items():
        yield f"left out: {count:,} {what}"
    for what, count in cube.attrs.get("unmatched", {}).items():
        yield f"no {what} for {count:,} stimuli"
