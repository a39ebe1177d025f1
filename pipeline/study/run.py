"""One run of a study: what it knows, and who hears what it does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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
    faulty : how names begin of what a step at fault would have made.
    """

    study: Study
    listener: Listener
    client: Client | None = None
    overwrite: bool = False
    notice: str = ""
    findings: Callable[[Mapping[str, xr.DataArray]], Sequence[str]] | None = None
    planned: dict[str, list[str]] = field(default_factory=dict)
    faulty: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        """The store's URL."""
        return Place.of(self.study.store).url

    def results(self) -> list[str]:
        """The scores that this run has made."""
        return [name for name in self.names() if name.startswith("rsa/")]

    def names(self) -> list[str]:
        """Every cube that there is or will be: the study's own first, in the order of its steps."""
        own = [name for names in self.planned.values() for name in names]
        return merged(own, stored(self.root))

    def matching(self, patterns: str | Sequence[str]) -> tuple[list[str], list[str]]:
        """Names of the cubes that are asked for; a fault for each that is not there, or was only begun."""
        own = [name for names in self.planned.values() for name in names]
        later = tuple(name.partition("<")[0] for name in own if name.endswith(">"))
        names, faults = expand(patterns, self.names(), hoped=(*later, *self.faulty))
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
