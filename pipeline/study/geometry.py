"""What an `rsa` step stores: RDMs of candidates and of measured cubes, scores and ceilings, each lazy."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from pipeline import rsa
from pipeline.blocks import TASK_BYTES
from pipeline.errors import VerbError
from pipeline.study.schema import RsaStep, StudyError, near
from stores import align, open_cube
from stores.dims import CANDIDATE, SUBJECT, UNIT
from stores.errors import AlignError
from stores.place import check_name
from stores.specs import RDM, RDM_CANDIDATES, RDM_STACK

VERSION: Final = 1
UNNAMED: Final = re.compile(r"[^\w.,@+=-]+")
"""What the name of a region may hold and that of a cube may not, such as a space."""
KEPT_BYTES: Final = 256 * 2**20
"""RDMs of a measured region above this size are streamed, never stored (n x n x time)."""


@dataclass(frozen=True)
class Result:
    """One array to store: its name, what it is made from, and how.

    make : gives the lazy values; what this step stored before is read again.
    compared : gives the RDMs that are compared in it, by the cube that each comes from.
    """

    name: str
    made_from: Mapping[str, Any]
    make: Callable[[], xr.DataArray]
    compared: Callable[[], Mapping[str, xr.DataArray]] = dict


def results(
    root: str,
    step_name: str,
    step: RsaStep,
    candidates: list[str],
    references: list[str],
    *,
    owner: str,
    task_bytes: int = TASK_BYTES,
) -> Iterator[Result]:
    """RDMs of the candidates, then for each region the measured RDMs and the scores.

    owner : the step under whose name the candidates' RDMs are kept, for all steps that ask for the same.
    task_bytes : what one task may hold; PlanError where that is too little.
    """
    networks = [open_cube(root, name) for name in candidates]
    measured = [open_cube(root, name) for name in references]
    labels = _labels(step, measured) if step.by else {"": ""}
    networks, measured = _joined(step, networks, measured)
    common = {
        "step": f"rsa/{VERSION}",
        "metric": step.metric,
        "join": step.join,
        "candidates": _keys(candidates, networks),
    }
    shared = f"rdm/{owner}/candidates"
    yield Result(shared, common, partial(_candidates, candidates, networks, step, task_bytes))
    subjects = _subjects(references, measured)
    for label, reference in _regions(step, measured, labels, task_bytes):
        suffix = f"/{labels[label]}" if label else ""
        made = common | {"reference": _keys(references, measured), "region": label, "method": step.method}
        again: Callable[[], xr.DataArray] = partial(_itself, reference)
        if step.by and reference.nbytes <= KEPT_BYTES:
            name = f"rdm/{step_name}{suffix}"
            kept = {k: v for k, v in made.items() if k not in ("method", "candidates")}
            yield Result(name, kept, again)
            again = partial(open_cube, root, name)
        stored = partial(open_cube, root, shared)
        yield Result(
            f"rsa/{step_name}{suffix}",
            made,
            partial(_scores, stored, again, step, f"{step_name} {label}".strip(), task_bytes),
            partial(_compared, candidates, stored, subjects, again),
        )


def _itself(array: xr.DataArray) -> xr.DataArray:
    return array


def _scores(
    stored: Callable[[], xr.DataArray],
    reference: Callable[[], xr.DataArray],
    step: RsaStep,
    name: str,
    task_bytes: int,
) -> xr.DataArray:
    candidates, measured = _unstacked(stored()), reference()
    try:
        score = rsa.evaluate(candidates, measured, method=step.method, task_bytes=task_bytes)
    except VerbError:
        raise
    except ValueError as fault:
        raise StudyError(f"{name}: {fault}") from fault
    return score.assign_attrs(metric=step.metric, reference=name)


def _compared(
    candidates: list[str],
    stored: Callable[[], xr.DataArray],
    subjects: list[str],
    reference: Callable[[], xr.DataArray],
) -> dict[str, xr.DataArray]:
    networks, measured = stored(), reference()
    return {name: networks.isel({CANDIDATE: n}) for n, name in enumerate(candidates)} | {
        name: measured.isel({SUBJECT: n}) for n, name in enumerate(subjects)
    }


def _subjects(names: list[str], cubes: list[xr.DataArray]) -> list[str]:
    """Where each measured RDM comes from: a cube, or one subject in it."""
    return [
        name if SUBJECT not in cube.dims else f"{name} ({subject})"
        for name, cube in zip(names, cubes, strict=True)
        for subject in (cube[SUBJECT].values if SUBJECT in cube.dims else [None])
    ]


def _keys(names: list[str], cubes: list[xr.DataArray]) -> dict[str, str]:
    return {name: cube.attrs["provenance"]["content_key"] for name, cube in zip(names, cubes, strict=True)}


def _joined(
    step: RsaStep, networks: list[xr.DataArray], measured: list[xr.DataArray]
) -> tuple[list[xr.DataArray], list[xr.DataArray]]:
    """Everything over the same stimuli in the same order; RDMs that were measured as such are matched by pair."""
    cubes = [cube for cube in measured if UNIT in cube.dims]
    aligned = align(*networks, *cubes)
    if step.join == "exact" and (dropped := aligned.report.dropped):
        raise AlignError(
            "`join: exact` wants the same stimuli in every cube; but"
            + "".join(f"\n  - {one}" for one in dropped)
            + "\nCorrect the ids, or give the step `join: inner` to go on without these stimuli."
        )
    rest = iter(aligned[len(networks) :])
    return list(aligned[: len(networks)]), [next(rest) if UNIT in cube.dims else cube for cube in measured]


def _candidates(
    names: list[str], networks: list[xr.DataArray], step: RsaStep, task_bytes: int
) -> xr.DataArray:
    rdms = [rsa.rdm(cube, metric=step.metric, task_bytes=task_bytes) for cube in networks]
    labels = [_network_and_layer(name, cube) for name, cube in zip(names, networks, strict=True)]
    stack = _concatenated(rdms, CANDIDATE)
    named = stack.assign_coords(
        {
            CANDIDATE: np.array(["/".join(pair) for pair in labels], object),
            "network": (CANDIDATE, np.array([network for network, _ in labels], object)),
            "layer": (CANDIDATE, np.array([layer for _, layer in labels], object)),
        }
    )
    attrs = {
        "modality": RDM_CANDIDATES.name,
        "metric": step.metric,
        "quantity": "dissimilarity",
        "units": "a.u.",
    }
    return named.drop_attrs().assign_attrs(attrs)


def _network_and_layer(name: str, cube: xr.DataArray) -> tuple[str, str]:
    """What a candidate is called; a cube that is of no network has the two parts of its name."""
    head, _, tail = name.rpartition("/")
    return str(cube.attrs.get("network", head or tail)), str(cube.attrs.get("layer", tail))


def _unstacked(stack: xr.DataArray) -> dict[str, xr.DataArray]:
    """The candidates' RDMs one by one, by `network/layer`."""
    return {
        str(name): stack.isel({CANDIDATE: n})
        .drop_vars(CANDIDATE)
        .assign_attrs(
            modality=RDM.name,
            network=str(stack["network"].values[n]),
            layer=str(stack["layer"].values[n]),
        )
        for n, name in enumerate(stack[CANDIDATE].values)
    }


def _regions(
    step: RsaStep, measured: list[xr.DataArray], labels: Iterable[str], task_bytes: int
) -> Iterator[tuple[str, xr.DataArray]]:
    """(label, stack of measured RDMs over subjects); one without a label where no `by` is asked for."""
    if not step.by:
        yield "", _stack([_as_stack(cube, step, task_bytes) for cube in measured])
        return
    texts = [_texts(cube[step.by]) for cube in measured]
    for label in labels:
        places = [np.flatnonzero(its == label) for its in texts]
        cubes = [cube.isel({UNIT: at}) for cube, at in zip(measured, places, strict=True)]
        stack = _stack([_as_stack(cube, step, task_bytes) for cube in cubes])
        yield label, stack.assign_attrs({"region": label})


def _labels(step: RsaStep, measured: list[xr.DataArray]) -> dict[str, str]:
    """The values of the coordinate `by`, which all measured cubes have, in the first one's order; each with its
    part in names of results. Raises StudyError."""
    for cube in measured:
        if step.by not in cube.coords or cube[step.by].dims != (UNIT,):
            on_units = [str(name) for name, coord in cube.coords.items() if coord.dims == (UNIT,)]
            raise StudyError(
                f"{cube.name} has no coordinate {step.by!r} on its units{near(str(step.by), on_units)}"
            )
    every = [dict.fromkeys(text for text in _texts(cube[step.by]) if text) for cube in measured]
    if lonely := sorted({text for one in every for text in one if any(text not in other for other in every)}):
        raise StudyError(f"by: {step.by}: {', '.join(lonely[:5])} is not in every cube of the reference")
    if not every[0]:
        raise StudyError(f"by: {step.by}: no unit of the reference has a label")
    labels = {label: check_name(UNNAMED.sub("-", label)) for label in every[0]}
    taken = {"candidates": "the candidates"}
    for label, name in labels.items():
        if name in taken:
            raise StudyError(f"by: {step.by}: {taken[name]} and {label!r} would both be stored as {name!r}")
        taken[name] = repr(label)
    return labels


def _texts(coord: xr.DataArray) -> npt.NDArray[np.object_]:
    """Values of a coordinate as text, numbers too; empty where there is none."""
    return np.array(["" if value != value else str(value) for value in coord.values], object)


def _as_stack(cube: xr.DataArray, step: RsaStep, task_bytes: int) -> xr.DataArray:
    """Measured RDMs over subjects, from a stored stack or from one subject's responses."""
    if cube.attrs["modality"] == RDM_STACK.name:
        return cube
    rdm = (
        cube
        if cube.attrs["modality"] == RDM.name
        else rsa.rdm(cube, metric=step.metric, task_bytes=task_bytes)
    )
    subject = str(cube.attrs.get("subject", cube.name))
    return rdm.expand_dims({SUBJECT: np.array([subject], object)})


def _stack(stacks: list[xr.DataArray]) -> xr.DataArray:
    plain = [
        stack.drop_vars([n for n in ("session", "participant") if n in stack.coords]) for stack in stacks
    ]
    stack = plain[0] if len(plain) == 1 else _concatenated(plain, SUBJECT)
    attrs = {"modality": RDM_STACK.name, "metric": stacks[0].attrs["metric"], "quantity": "dissimilarity"}
    return stack.drop_attrs().assign_attrs(attrs | {"units": "a.u."})


def _concatenated(rdms: list[xr.DataArray], dim: str) -> xr.DataArray:
    try:
        return xr.concat(
            rdms, dim, coords="minimal", compat="override", combine_attrs="drop_conflicts", join="exact"
        )
    except ValueError as fault:
        raise StudyError(f"RDMs do not lie at the same times and pairs of stimuli: {fault}") from fault
