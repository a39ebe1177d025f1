"""One table of benchmarks: ours against a peer, alternately in one process, so that the machine cancels out."""

import importlib
import pkgutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import benchmarks


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


def cases(wanted: str = "") -> Iterator[Case]:
    """The cases of every `bench_*.py` here whose name contains `wanted`."""
    for module in sorted(found.name for found in pkgutil.iter_modules(benchmarks.__path__)):
        if module.startswith("bench_"):
            for case in importlib.import_module(f"benchmarks.{module}").cases():
                if wanted in case.name:
                    yield case


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 where a ratio falls short of its bar or no case is named so, else 0."""
    line = "{:<44} {:>10} {:>10} {:>8} {:>6}  {}"
    print(line.format("name", "ours", "peer", "ratio", "bar", "against"))
    short, found = [], False
    for case in cases(arguments[0] if arguments else ""):
        found, got = True, measure(case)
        cells = (f"{got.ours:.3f} s", f"{got.peer:.3f} s", f"{got.ratio:.2f}", f"{case.bar:g}")
        print(line.format(case.name, *cells, case.peer_name), flush=True)
        short += [case.name] if got.ratio < case.bar else []
    if not found:
        print(f"no case is named like {arguments[0] if arguments else ''!r}", file=sys.stderr)
    for name in short:
        print(f"falls short: {name}", file=sys.stderr)
    return int(bool(short) or not found)


def _seconds(run: Callable[[], object]) -> float:
    """Of one run: the mean of as many as half a second holds, since short ones vary most."""
    runs, start = 0, time.perf_counter()
    while not runs or time.perf_counter() - start < 0.5:
        run()
        runs += 1
    return (time.perf_counter() - start) / runs
