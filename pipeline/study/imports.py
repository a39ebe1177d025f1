"""The `import` step: a reader's lazy cubes, labelled, become stored ones; what was left out is said."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy.typing as npt
import xarray as xr

from pipeline.fill import Block, Source, fill, lazy_source
from pipeline.plan import size
from pipeline.study.names import is_pattern
from pipeline.study.run import Run
from pipeline.study.schema import ImportStep
from stores import label, open_cube, writing
from stores.dims import CUBE
from stores.errors import AlignError
from stores.readers.request import Request, read, request
from stores.readers.trials import TRIALS, TrialReader, regions, storage, together
from stores.target import Region

IMPORT_VERSION: Final = 1
BIG_BYTES: Final = 256 * 2**20
"""Above this size an imported cube is filled on the workers; below, sending tasks costs more than it gains."""


def asked(step: ImportStep) -> Request:
    """What a step asks for, checked. Raises InputError."""
    paths = [step.path] if isinstance(step.path, str) else step.path
    return request(step.reader, paths, step.options, allow_pickle=step.allow_pickle)


def makes(name: str, step: ImportStep) -> dict[str, str]:
    """The cubes that a step will make, each with its modality. Raises InputError."""
    cubes = read(asked(step))
    return {f"{step.into or name}/{short}": str(cube.attrs["modality"]) for short, cube in cubes.items()}


def missing(run: Run, name: str, step: ImportStep) -> list[str]:
    """A fault for each cube of labels that is not to be found."""
    found = []
    for one in step.labels:
        if is_pattern(one.cube):
            found.append(f"steps.{name}.labels: {one.cube!r} must name one cube")
        found += [f"steps.{name}.labels: {fault}" for fault in run.matching(one.cube)[1]]
    return found


def import_step(run: Run, name: str, step: ImportStep) -> None:
    """Make the cubes of a step, with its labels as coordinates. Raises StoreError."""
    wanted = asked(step)
    cubes = read(wanted)
    for one in step.labels:
        source = open_cube(run.root, one.cube)
        for short, cube in cubes.items():
            try:
                cubes[short] = label(cube, source, *one.names, by=one.by)
            except AlignError as fault:
                raise AlignError(f"steps.{name}.labels: {short} and {one.cube}: {fault}") from fault
    made = import_cubes(run, wanted, cubes, step.into or name, _labels(run, step))
    for cube_name, cube in zip(made, cubes.values(), strict=True):
        for line in losses(cube):
            run.listener.said(f"{cube_name}: {line}")


def origins(run: Run, name: str, step: ImportStep) -> dict[str, dict[str, Any]]:
    """What each cube of a step would be made from, by its name."""
    wanted = asked(step)
    return _origins(wanted, read(wanted), step.into or name, _labels(run, step))


def import_cubes(
    run: Run,
    wanted: Request,
    cubes: Mapping[str, xr.DataArray],
    into: str,
    labels: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """Make every cube that a reader found, as `<into>/<cube>`; returns their names."""
    records = _origins(wanted, cubes, into, labels)
    named = dict(zip(records, cubes.values(), strict=True))
    for names in _recordings(named):
        _store(run, {name: (named[name], records[name]) for name in names})
    return list(records)


def _labels(run: Run, step: ImportStep) -> list[dict[str, Any]]:
    """What the labels of a step are taken from."""
    keys = [open_cube(run.root, one.cube).attrs["provenance"]["content_key"] for one in step.labels]
    return [one.model_dump() | {"content_key": key} for one, key in zip(step.labels, keys, strict=True)]


def _origins(
    wanted: Request, cubes: Mapping[str, xr.DataArray], into: str, labels: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    found = {}
    for short, cube in cubes.items():
        made_from = {
            "step": f"import/{IMPORT_VERSION}",
            "reader": wanted.reader.name,
            "cube": short,
            "sources": cube.attrs.get("sources", []),
        }
        made_from |= {"options": record} if (record := wanted.record()) else {}
        made_from |= {"labels": [dict(one) for one in labels]} if labels else {}
        found[f"{into}/{short}"] = made_from
    return found


def is_big(cube: xr.DataArray) -> bool:
    """Whether workers are to fill it."""
    return cube.chunks is not None and cube.nbytes > BIG_BYTES


def _recordings(cubes: Mapping[str, xr.DataArray]) -> Iterator[list[str]]:
    """Names of the cubes, those together that lie among each other's bytes."""
    left = list(cubes)
    while left:
        first = cubes[left[0]]
        own = first.encoding.get(TRIALS)
        same = [
            name
            for name in left
            if own is not None
            and (one := cubes[name].encoding.get(TRIALS)) is not None
            and one.pieces == own.pieces
            and cubes[name].chunks[1:3] == first.chunks[1:3]  # type: ignore[index]
        ]
        yield same or left[:1]
        left = [name for name in left if name not in (same or left[:1])]


@dataclass(frozen=True)
class TrialSource:
    """From a block to the values of every cube there, from bytes that are read once."""

    readers: Mapping[str, TrialReader]

    def __call__(self, block: Block) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield (cube name, values of its region)."""
        if len(block.regions) > 1:
            yield from together(self.readers, block.regions).items()
        else:
            yield from ((name, self.readers[name](region)) for name, region in block.regions.items())


def _store(run: Run, cubes: Mapping[str, tuple[xr.DataArray, dict[str, Any]]]) -> None:
    """Fill cubes from lazy values: big ones on the workers, region by region."""
    with ExitStack() as stack:
        targets, cuts = {}, {}
        for name, (cube, made_from) in cubes.items():
            layout = storage(cube) if cube.dims == CUBE else {}
            wanted = writing(run.root, name, cube, made_from=made_from, overwrite=run.overwrite, **layout)
            targets[name] = target = stack.enter_context(wanted)
            run.listener.made(name, reused=target.complete)
            # Cut where the source is: each of its bytes is then read once.
            cuts[name] = regions(target, cube) if layout else target.regions()
        name, (cube, _) = next(iter(cubes.items()))
        source: Source = lazy_source(cube, name)
        if len(cubes) > 1:
            source = TrialSource({name: cube.encoding[TRIALS] for name, (cube, _) in cubes.items()})
        fill(
            targets,
            _blocks(cuts),
            source,
            label=f"import-{name.replace('/', '-')}",
            client=run.client if any(is_big(cube) for cube, _ in cubes.values()) else None,
            progress=run.listener.progress,
        )


def _blocks(cuts: Mapping[str, Sequence[Region]]) -> list[Block]:
    """One block for regions at the same units and times, where all cubes are cut there; else one for each."""
    places = [[region[1:3] for region in parts] for parts in cuts.values()]
    if all(one == places[0] for one in places):
        return [Block(dict(zip(cuts, parts, strict=True))) for parts in zip(*cuts.values(), strict=True)]
    return [Block({name: region}) for name, parts in cuts.items() for region in parts]


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
