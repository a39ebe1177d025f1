"""What a person sees of a run: a line per cube, and a bar while a big one is filled (only on a terminal)."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(highlight=False, soft_wrap=True, markup=False)
"""Where results are printed. Names and paths are no markup, whatever brackets they have."""


class Terminal:
    """Shows a run; used in a `with`, it takes its bar away, and the cursor shows again, however the run ends."""

    def __init__(self) -> None:
        self.made_any = False
        """Whether the run has made a cube that was not there already."""
        self._bar: Progress | None = None

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_away()

    def step(self, name: str, verb: str) -> None:
        """Print the step."""
        console.print(f"{name}: {verb}", style="bold")

    def made(self, cube: str, reused: bool) -> None:
        """Print the cube."""
        self.made_any |= not reused
        console.print(f"  {cube}{'  (there already)' if reused else ''}")

    def said(self, text: str) -> None:
        """Print it."""
        console.print(f"  {text}")

    def progress(self, label: str, done: int, total: int, written: int) -> None:
        """Move the bar; it goes when all is done."""
        if not console.is_terminal or not total:
            return
        if self._bar is None:
            self._bar = bar()
            self._bar.start()
            self._bar.add_task(label, total=total, written="")
        rate = f"{written / 1e6:.0f} MB"
        self._bar.update(self._bar.task_ids[0], completed=done, written=rate)
        if done == total:
            self._take_away()

    def _take_away(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def bar() -> Progress:
    """A bar for tasks done of all; it shows on a terminal only, and goes when it stops."""
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[written]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
