"""Checks of the words a user may choose."""

from collections.abc import Iterable
from difflib import get_close_matches


def choose(what: str, word: str, known: Iterable[str]) -> None:
    """Raise ValueError, with a near match, unless `word` is one of `known`."""
    names = list(known)
    if word in names:
        return
    near = get_close_matches(str(word), names, n=1, cutoff=0.5)
    raise ValueError(
        f"unknown {what} {word!r}; choose one of {', '.join(names)}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )
