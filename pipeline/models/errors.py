"""What can go wrong with a network; each message says what is there, what was wanted, and what to do."""

import difflib
from collections.abc import Iterable


class ModelError(ValueError):
    """A user-facing fault of a network, its weights, its transform or its layers."""


def in_words(error: BaseException) -> str:
    """Kind and first line of an error that somebody else's code raised."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "", shown: int = 8) -> ModelError:
    """A ModelError for a `name` that is not among `known`: offers near matches, else lists the first few."""
    names = list(known)
    folded = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6)
    if near:
        said = "did you mean " + " or ".join(repr(folded[other]) for other in near) + "?"
    else:
        more = f" and {len(names) - shown} more" if len(names) > shown else ""
        said = f"there are {', '.join(names[:shown])}{more}"
    return ModelError(f"unknown {kind} {name!r}; {said}{' ' + hint if hint else ''}")
