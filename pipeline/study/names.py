"""Names of cubes as a study gives them: patterns, in the order in which the cubes were planned."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from pipeline.study.schema import near
from stores.place import Place
from stores.target import is_complete as is_whole


def expand(
    patterns: str | Sequence[str],
    names: Sequence[str],
    *,
    hoped: Sequence[str] = (),
    ahead: Iterable[str] = (),
) -> tuple[list[str], list[str]]:
    """Names that match `patterns` (`*` and `?` as in a shell), once each; a fault for each that none matches.

    hoped : how names begin that there may be later, or but for another fault: no fault for these.
    ahead : names that later steps make.
    """
    found: dict[str, None] = {}
    faults = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        found |= dict.fromkeys(matching)
        if matching or any(pattern.startswith(one) or fnmatchcase(one, pattern) for one in hoped):
            continue
        if any(fnmatchcase(one, pattern) for one in ahead):
            faults.append(f"no cube is called {pattern!r} until a later step makes it; move that step up")
        else:
            faults.append(f"no cube is called {pattern!r}{near(pattern, names)}")
    return list(found), faults


def is_pattern(name: str) -> bool:
    """Whether a name may stand for several."""
    return bool(set("*?[") & set(name))


def merged(first: Iterable[str], second: Iterable[str]) -> list[str]:
    """Both, without doubles, `first` leading."""
    return list(dict.fromkeys([*first, *second]))


def is_complete(root: str, name: str) -> bool:
    """Whether a cube is there, whole."""
    return is_whole(Place.of(root) / name)
