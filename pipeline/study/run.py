"""One run of a study: what it knows, and who hears what it does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import xarray as xr

from pipeline.cluster import Limits, limits
from pipeline.fill import Client, Progress
from pipeline.study.names import expand, is_complete, merged
from pipeline.study.schema import Study, StudyError
from stores.catalog import names as stored
from stores.place import Place


class Listener(Protocol):
    """Hears what a run does."""

    def step(self, name: str, verb: str) -> None:
        """A step begins."""

    def made(self, cube: str, reused: bool) -> None:
        """A cube or result is complete: just made, or found so."""

    def said(self, text: str) -> None:
        """Something that a person should know, such as what an import left out."""

    @property
    def progress(self) -> Progress | None:
        """Called while a big cube is filled."""


class Silent:
    """Hears nothing."""

    progress: Progress | None = None

    def step(self, name: str, verb: str) -> None:
        """A step begins."""

    def made(self, cube: str, reused: bool) -> None:
        """A cube or result is complete."""

    def said(self, text: str) -> None:
        """Something a person should know."""


@dataclass
class Run:
    """One run of a study: where, with what client, and the cubes that its steps have planned so far.

    notice : what a reader of the report must not overlook.
    findings : from the results by name to sentences that lead the report.
    makes : the cubes that each step of the study makes, as `check` finds them; `planned` has them of steps done.
    modalities : of the cubes that imports make.
    faulty : how names begin of what a step at fault would have made.
    owners : from candidates and how they are compared to the step under whose name their RDMs are kept.
    """

    study: Study
    listener: Listener
    client: Client | None = None
    overwrite: bool = False
    notice: str = ""
    findings: Callable[[Mapping[str, xr.DataArray]], Sequence[str]] | None = None
    makes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    planned: dict[str, list[str]] = field(default_factory=dict)
    modalities: dict[str, str] = field(default_factory=dict)
    faulty: list[str] = field(default_factory=list)
    owners: dict[tuple[Any, ...], str] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The store's URL."""
        return Place.of(self.study.store).url

    def results(self) -> list[str]:
        """The scores that this run has made."""
        return [name for name in self.names() if name.startswith("rsa/")]

    def names(self) -> list[str]:
        """Every cube that there is or will be by now: the study's own first, in the order of its steps.

        What steps make that are not done yet is not among them, though an earlier run may have stored it: the
        same command again then finds what it found at first.
        """
        own = [name for names in self.planned.values() for name in names]
        ahead = self._ahead()
        begun = _beginnings(ahead)
        there = [name for name in stored(self.root) if name not in ahead and not name.startswith(begun)]
        return merged(own, there)

    def _ahead(self) -> set[str]:
        """What steps make that are not done yet."""
        return {name for step, names in self.makes.items() if step not in self.planned for name in names}

    def matching(self, patterns: str | Sequence[str]) -> tuple[list[str], list[str]]:
        """Names of the cubes that are asked for; a fault for each that is not there, or was only begun."""
        own = [name for names in self.planned.values() for name in names]
        later = _beginnings(own)
        names, faults = expand(patterns, self.names(), hoped=(*later, *self.faulty), ahead=self._ahead())
        faults += [
            f"{name} is not complete, and no earlier step completes it: run again what makes it, or name the "
            "others without it"
            for name in names
            if name not in own and not name.startswith(later) and not is_complete(self.root, name)
        ]
        return names, faults

    def found(self, patterns: str | Sequence[str]) -> list[str]:
        """Names of the cubes that are asked for. Raises StudyError."""
        names, faults = self.matching(patterns)
        if faults:
            raise StudyError("; ".join(faults))
        return names

    def limits(self) -> Limits | None:
        """What the workers offer; None without a cluster."""
        return None if self.client is None else limits(self.client)


def _beginnings(names: Iterable[str]) -> tuple[str, ...]:
    """How names begin that end in what is not known yet, such as the regions of `rsa/it/<region>`."""
    return tuple(name.partition("<")[0] for name in names if name.endswith(">"))
