"""One table of benchmarks: ours against a peer, alternately in one process, so that the machine cancels out."""

import importlib
import pkgutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import benchmarks

opened: Final = ExitStack()
"""What cases share and a process closes at its end, such as a cluster."""
LINE: Final = "{:<44} {:>10} {:>10} {:>8} {:>6}  {}"


@dataclass(frozen=True)
class Case:
    """Two ways to one result, and how many times faster ours must be.

    ours, peer : called without arguments; each computes, to the end.  bar : least ratio peer time / our time.
    """

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    bar: float
    peer_name: str
    repeats: int = 3


@dataclass(frozen=True)
class Measured:
    """Medians in seconds, and the median of the ratios of neighbouring runs."""

    ours: float
    peer: float
    ratio: float


def measure(case: Case) -> Measured:
    """Time ours and the peer in turns; one unmeasured run of ours first loads what it needs."""
    case.ours()
    times = [(_seconds(case.ours), _seconds(case.peer)) for _ in range(case.repeats)]
    ours, peer = zip(*times, strict=True)
    ratio = statistics.median(theirs / own for own, theirs in times)
    return Measured(statistics.median(ours), statistics.median(peer), ratio)


def modules() -> list[str]:
    """The names of every `bench_*.py` here."""
    return sorted(
        found.name for found in pkgutil.iter_modules(benchmarks.__path__) if found.name.startswith("bench_")
    )


def run(module: str, wanted: str) -> list[tuple[str, bool]]:
    """Measure the cases of a module that are named so, a line for each: their names, and whether they hold."""
    found = []
    with opened:
        for case in importlib.import_module(f"benchmarks.{module}").cases():
            if wanted in case.name:
                got = measure(case)
                cells = (f"{got.ours:.3f} s", f"{got.peer:.3f} s", f"{got.ratio:.2f}", f"{case.bar:g}")
                print(LINE.format(case.name, *cells, case.peer_name), flush=True)
                found.append((case.name, got.ratio >= case.bar))
    return found


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 where a ratio falls short of its bar or no case is named so, else 0.

    Each module has a process of its own, so that no cluster or memory of one disturbs another.
    """
    wanted = arguments[0] if arguments else ""
    print(LINE.format("name", "ours", "peer", "ratio", "bar", "against"), flush=True)
    fresh = ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1)
    with fresh:
        found = [one for module in modules() for one in fresh.submit(run, module, wanted).result()]
    if not found:
        print(f"no case is named like {wanted!r}", file=sys.stderr)
    for name in (name for name, holds in found if not holds):
        print(f"falls short: {name}", file=sys.stderr)
    return int(not found or not all(holds for _, holds in found))


def _seconds(run: Callable[[], object]) -> float:
    """Of one run: the mean of as many as half a second holds, since short ones vary most."""
    runs, start = 0, time.perf_counter()
    while not runs or time.perf_counter() - start < 0.5:
        run()
        runs += 1
    return (time.perf_counter() - start) / runs
