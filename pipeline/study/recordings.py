"""The `preprocess` step: recordings of a dataset, or of a table of your own, become cubes of trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from pipeline import preprocess as pp
from pipeline.cluster import Limits
from pipeline.errors import PlanError
from pipeline.plan import IDLE_BYTES, size
from pipeline.preprocess.run_tasks import laid_out, work
from pipeline.preprocess.settings import Kind
from pipeline.study.run import Run
from pipeline.study.schema import PreprocessStep, near
from stores.errors import InputError
from stores.readers import ds000117_catalogue
from stores.readers.tables import NONE, numbers, read_table

Settings = TypeVar("Settings", pp.CleanSettings, pp.EpochSettings)
PRESETS: Final[Mapping[str, pp.Preset]] = {"faces-meg": pp.FACES_MEG}
COLUMNS: Final = ("recording", "events", "subject", "run")
"""Of a table of recordings; `session` and `bads` (separated by commas) may be there too."""


@dataclass(frozen=True)
class Recordings:
    """All that a step works on.  left_out : events that show nothing, by recording."""

    runs: list[pp.Run]
    left_out: Mapping[str, int]
    clean: pp.CleanSettings
    epoch: pp.EpochSettings
    kinds: tuple[Kind, ...]
    dataset: str

    def cubes(self, into: str) -> list[str]:
        """Names of the cubes that will be."""
        subjects = dict.fromkeys(one.subject for one in self.runs)
        return [f"{into}/{subject}/{kind}" for subject in subjects for kind in self.kinds]


def asked(step: PreprocessStep) -> Recordings:
    """What a step asks for; no recording is opened. Raises InputError."""
    if step.preset and step.preset not in PRESETS:
        raise InputError(f"preset is {step.preset!r}{near(step.preset, PRESETS)}")
    preset = PRESETS.get(step.preset, pp.Preset(pp.CleanSettings(), pp.EpochSettings(), ()))
    clean = changed(preset.clean, step.clean, "clean")
    epoch = changed(preset.epoch, step.epoch, "epoch")
    kinds = tuple(step.kinds) or preset.kinds
    if not kinds:
        raise InputError("no kinds of channels are asked for; give kinds: [mag, grad, eeg], or some of them")
    if step.recordings == "table":
        runs, left_out = _of_table(step)
        dataset = step.dataset or Path(step.path).stem
    else:
        runs, left_out, clean = _of_ds000117(step, clean)
        dataset = step.dataset or ds000117_catalogue.DATASET
    known = dict.fromkeys(one.subject for one in runs)
    for subject in step.subjects:
        if subject not in known:
            raise InputError(f"{step.path} has no recordings of {subject!r}{near(subject, known)}")
    kept = [one for one in runs if not step.subjects or one.subject in step.subjects]
    said = {one.name: left_out[one.name] for one in kept if left_out[one.name]}
    return Recordings(kept, said, clean, epoch, kinds, dataset)


def preprocess_step(run: Run, name: str, step: PreprocessStep) -> None:
    """Make the cubes of a step. Raises StoreError, or PlanError where workers are too small for a recording."""
    wanted = asked(step)
    for what, count in wanted.left_out.items():
        run.listener.said(f"{what}: {count:,} events without a stimulus are left out")
    require_room(run.limits(), wanted)
    made = pp.store_runs(
        run.root,
        step.into or name,
        wanted.runs,
        wanted.clean,
        wanted.epoch,
        kinds=wanted.kinds,
        dataset=wanted.dataset,
        client=run.client,
        progress=run.listener.progress,
        overwrite=run.overwrite,
    )
    for cube, reused in made.items():
        run.listener.made(cube, reused=reused)


def changed(settings: Settings, changes: Mapping[str, Any], where: str) -> Settings:
    """`settings`, a dataclass, with some fields changed, at any depth. Raises InputError naming the field."""
    try:
        return TypeAdapter(type(settings)).validate_python(_merged(type(settings), settings, changes, where))
    except ValidationError as found:
        faults = [_words(dict(fault), where) for fault in found.errors()]
        raise InputError("; ".join(faults)) from None


def _words(fault: Mapping[str, Any], where: str) -> str:
    return f"{'.'.join([where, *map(str, fault['loc'])])}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _merged(kind: type, settings: Any, changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fields of a dataclass of this kind: those of `settings`, where there are any, and the changes."""
    types = get_type_hints(kind)
    found = {name: getattr(settings, name) for name in types} if settings is not None else {}
    for name, change in changes.items():
        if name not in types:
            raise InputError(f"unknown key {f'{where}.{name}'!r}{near(name, types)}")
        nested = [option for option in (types[name], *get_args(types[name])) if is_dataclass(option)]
        if nested and isinstance(change, Mapping):
            change = _merged(cast(type, nested[0]), found.get(name), change, f"{where}.{name}")
        found[name] = change
    return found


def _of_table(step: PreprocessStep) -> tuple[list[pp.Run], dict[str, int]]:
    """Paths in the table are relative to its folder."""
    path = Path(step.path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is no file; wanted a table with the columns {', '.join(COLUMNS)}")
    runs, left_out = [], {}
    for row in _table(path, COLUMNS).to_dict("records"):
        events = path.parent / row["events"]
        if not events.is_file():
            raise InputError(f"{path}: events {events} is no file; wanted a table of onsets and stimuli")
        shown = _table(events, ("onset", step.stimulus))
        known = ~shown[step.stimulus].str.lower().isin(NONE)
        shown = shown[known].assign(onset=numbers(events, shown, "onset")[known.to_numpy()])
        one = pp.Run(
            path.parent / row["recording"],
            pp.onsets(shown, stimulus=step.stimulus),
            subject=row["subject"],
            run=row["run"],
            session=row.get("session", ""),
            bads=tuple(name.strip() for name in row.get("bads", "").split(",") if name.strip()),
        )
        runs.append(one)
        left_out[one.name] = int((~known).sum())
    return runs, left_out


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return read_table(path, columns, "\t" if path.suffix == ".tsv" else ",")


def _of_ds000117(
    step: PreprocessStep, clean: pp.CleanSettings
) -> tuple[list[pp.Run], dict[str, int], pp.CleanSettings]:
    """Runs as measured, with the site's files for the Maxwell filter; or after MaxFilter, without that filter."""
    kind = "sss" if step.recordings == "ds000117-sss" else "raw"
    found = [one for one in ds000117_catalogue.catalogue(Path(step.path)) if one.kind == kind]
    if not found:
        raise InputError(f"{step.path} holds no recordings of the kind {kind!r}")
    maxwell = clean.maxwell if kind == "raw" else None
    if maxwell:
        maxwell = replace(
            maxwell,
            calibration=maxwell.calibration or str(found[0].calibration or ""),
            cross_talk=maxwell.cross_talk or str(found[0].cross_talk or ""),
        )
    runs = [
        pp.Run(one.path, pp.onsets(one.events, stimulus="stimulus"), one.subject, one.run, bads=one.bads)
        for one in found
    ]
    left_out = {one.name: listed.dropped for one, listed in zip(runs, found, strict=True)}
    return runs, left_out, replace(clean, maxwell=maxwell)


def require_room(found: Limits | None, wanted: Recordings) -> None:
    """Raise PlanError where the workers cannot hold what a task does."""
    if found is None or found.memory is None:
        return
    threads = math.ceil(found.threads / max(1, found.workers))
    for laid in laid_out(
        wanted.runs, wanted.clean, wanted.epoch, kinds=wanted.kinds, dataset=wanted.dataset, repeats="by run"
    ):
        task = work(laid.runs, wanted.clean).peak
        if (need := IDLE_BYTES + threads * task) > found.memory:
            raise PlanError(
                f"{laid.subject}: cleaning a recording holds {size(task)}; with {threads} at a time and an idle "
                f"worker's {size(IDLE_BYTES)} that is {size(need)}, and a worker has {size(found.memory)}. Give "
                "workers more memory or fewer threads."
            )
