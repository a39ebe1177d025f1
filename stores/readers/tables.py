"""Tables of text (CSV, TSV) as columns of str, with faults that name file, column and row."""

import csv
import io
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stores.errors import InputError

LISTED: Final = 8
NONE: Final = frozenset({"", "nan", "n/a", "na", "none", "null"})
"""Spellings, in lower case, of a number that is missing."""


def read_table(path: Path, columns: Sequence[str] = (), separator: str = ",") -> pd.DataFrame:
    """Every cell as text, exactly as written: "NA" stays "NA"; a byte order mark and CRLF are known.

    columns : those that must be there. Raises InputError for these, for rows of another length, for columns
    of the same name, for what is no UTF-8, and for a file that stops inside its last line.
    """
    text = text_of(path)
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row
        ]
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table ({error})") from error
    header, body = (rows[0], rows[1:]) if rows else ([], [])
    require(path, header, columns)
    if odd := [n for n, row in enumerate(body, start=2) if len(row) != len(header)]:
        raise InputError(
            f"{path}: line {odd[0]} has {len(body[odd[0] - 2])} cells; wanted {len(header)}, as its header has"
        )
    if not body:
        raise InputError(f"{path} has a header but no rows")
    return pd.DataFrame(body, columns=header, dtype=object)


def text_of(path: Path) -> str:
    """A text file whole. Raises InputError where it is empty, no UTF-8 text, or cut inside its last line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text ({error})") from error
    if "\0" in text or not text.strip():
        raise InputError(f"{path} is empty, or no text")
    if not text.endswith(("\n", "\r")):
        raise InputError(
            f"{path} ends inside a line: is it whole? If it is, end it with a line feed; else fetch it again"
        )
    return text


def require(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    """Raise InputError where one of `columns` is not in `header`, or where a name is there twice."""
    for name in columns:
        if name not in header:
            near = get_close_matches(name, header, n=1)
            there = ", ".join(map(repr, header[:LISTED])) + (", ..." if len(header) > LISTED else "")
            raise InputError(
                f"{path} has no column {name!r}; it has {there[:400] or 'none'}"
                + (f". Is {near[0]!r} the same under another name?" if near else "")
            )
    named = [one for one in header if one]
    if len(set(named)) != len(named):
        raise InputError(f"{path} has two columns named {next(n for n in named if named.count(n) > 1)!r}")


def numbers(path: Path, table: pd.DataFrame, column: str, *, missing: bool = False) -> NDArray[np.float64]:
    """A column as finite float64; with `missing`, NaN where it is empty, "NaN" or "n/a". Raises InputError."""
    found = np.empty(len(table))
    for n, cell in enumerate(table[column]):
        empty = cell.strip().lower() in NONE
        try:
            found[n] = np.nan if empty else float(cell)
        except ValueError:
            found[n] = np.inf
        if np.isinf(found[n]) or (empty and not missing):
            raise InputError(
                f"{path}: {column!r} is {cell!r} in row {n + 1}; wanted a number"
                + (", or nothing" if missing else "")
            )
    return found


def integers(path: Path, table: pd.DataFrame, column: str) -> NDArray[np.int64]:
    """A column as int64; "3.0" is 3. Raises InputError."""
    found = numbers(path, table, column)
    if odd := np.flatnonzero((found != np.round(found)) | (np.abs(found) > 2**53)).tolist():
        raise InputError(
            f"{path}: {column!r} is {table[column].iloc[odd[0]]!r} in row {odd[0] + 1}; wanted an integer"
        )
    return found.astype(np.int64)


def number_table(path: Path, columns: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """A large table as pandas reads it, quickly; checked as by `read_table`, cell by cell by its caller."""
    text = text_of(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas only warns where it loses cells
            found: Any = pd.read_csv(io.StringIO(text), sep=separator, low_memory=False, index_col=False)
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except (ValueError, csv.Error, StopIteration, OverflowError, Warning) as error:
        raise InputError(f"{path} cannot be read as a table ({error})") from error
    require(path, header, columns)
    if found.empty or len(found.columns) != len(header):
        raise InputError(
            f"{path} has {len(found)} rows of {len(found.columns)} cells under {len(header)} names"
        )
    found.columns = header
    return found
