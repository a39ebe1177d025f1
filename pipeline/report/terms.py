"""The words and numbers of the page: what measures are called, and how a value is written."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import xarray as xr

MINUS: Final = "\N{MINUS SIGN}"
EN_DASH: Final = "\N{EN DASH}"
RHO: Final = "\N{GREEK SMALL LETTER RHO}"

METHODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "corr": "Pearson r",
        "spearman": f"Spearman {RHO}",
        "cosine": "Cosine similarity",
        "rho-a": f"Spearman {RHO}-a",
        "tau-a": "Kendall τ-a",
    }
)
METRICS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "correlation": f"1 {MINUS} Pearson r",
        "euclidean": "squared Euclidean distance per unit",
        "cosine": f"1 {MINUS} cosine",
    }
)
_TWIN: Final = re.compile(r"[-_]untrained([-_].*)?$")


def method(result: xr.DataArray) -> str:
    """The comparator of a result as a reader knows it, such as "Spearman ρ"."""
    name = str(result.attrs.get("method", "score"))
    return METHODS.get(name, name)


def metric(result: xr.DataArray) -> str:
    """The dissimilarity of a result: its name and what it is."""
    name = str(result.attrs.get("metric", "dissimilarity"))
    return f"{name} ({METRICS[name]})" if name in METRICS else name


def number(value: float, digits: int = 3) -> str:
    """`value` with a true minus sign; a dash where it is not defined."""
    return EN_DASH if math.isnan(value) else f"{value:.{digits}f}".replace("-", MINUS)


def significant(value: float, digits: int = 3) -> str:
    """`value` to `digits` figures, for what may be of any size; a dash where it is not defined."""
    return EN_DASH if math.isnan(value) else f"{value:#.{digits}g}".rstrip(".").replace("-", MINUS)


def count(n: int, noun: str, plural: str | None = None) -> str:
    """`1,854 pairs`, `1 pair`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def short(name: str, most: int = 32) -> str:
    """`name` in `most` characters: of a longer one the middle gives way to an ellipsis."""
    if len(name) <= most:
        return name
    tail = most // 3
    return f"{name[: most - tail - 1]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - tail :]}"


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = list(items) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def trained_name(network: str) -> str:
    """The network without the mark of an untrained twin: twins share their colour and their panel."""
    return _TWIN.sub("", network)


def is_untrained(network: str) -> bool:
    """Whether `network` is an untrained twin."""
    return _TWIN.search(network) is not None


def milliseconds(seconds: float) -> str:
    """`−100 ms`; times are kept in seconds and read in milliseconds."""
    return f"{seconds * 1000:.0f} ms".replace("-", MINUS)


def provenance(array: xr.DataArray) -> dict[str, Any]:
    """How an array was made: its `provenance` attribute, which is a mapping or a JSON text of one."""
    found = array.attrs.get("provenance", {})
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return {"note": found}
    return dict(found) if isinstance(found, Mapping) else {"note": found}
