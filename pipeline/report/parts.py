"""What the page shows of one result, as data."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Row:
    """One row of a table: its cells as text, and whether it is the best of its kind."""

    cells: tuple[str, ...]
    best: bool = False


@dataclass(frozen=True)
class Section:
    """What the page shows of one result. `figure` is an SVG element, `alt` what it shows in words."""

    name: str
    kind: str
    figure: Markup | None
    alt: str
    caption: str
    columns: tuple[str, ...] = ()
    texts: int = 0
    rows: tuple[Row, ...] = ()
    wide: bool = True
    note: str = ""
    best: str = ""
