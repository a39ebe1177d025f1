"""How figures look, and how one becomes text inside the page."""

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

INK, GREY, FAINT = "#1c1e21", "#5f6670", "#e3e5e8"
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Told apart with any kind of colour vision (Okabe and Ito)."""
MARKERS: Final = "os^Dv<>PXp"
BAND: Final = "#d5d8dd"
SEQUENCE: Final = "viridis"
"""Even in lightness, so it reads in grey and with any kind of colour vision."""
MINUS: Final = "\N{MINUS SIGN}"
INCH: Final = 9.2
"""Width of a full-width figure."""

_RC: Final[Any] = MappingProxyType(
    {
        "svg.hashsalt": "neurocube",  # ids inside the figure depend on this instead of on chance
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the layout is the same on any machine
        "font.size": 9.5,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.labelcolor": INK,
        "axes.edgecolor": GREY,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "text.color": INK,
        "text.parse_math": False,  # an id may hold a dollar sign
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "lines.linewidth": 1.8,
        "legend.frameon": False,
        "figure.facecolor": "white",
    }
)


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib as the page wants it, whatever the user's own settings are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text stays text in an SVG: what this font lacks, the browser takes from another.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def svg(figure: Figure) -> Markup:
    """`figure` as an `<svg>` element without prolog or fixed size: the same figure gives the same bytes."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, dpi=200)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace("'DejaVu Sans'", "var(--sans)")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for size in ("width", "height"):
        text = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", text, count=1)
    # Matplotlib counts its figures' parts from 1 in each, and a page may hold an id only once.
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>f{mark}-", text)
    return Markup(text)  # noqa: S704  (matplotlib escapes every text it is given)


def quiet_grid(axes: Axes) -> None:
    """Faint horizontal lines behind the data."""
    axes.set_axisbelow(True)
    axes.yaxis.grid(visible=True, color=FAINT, linewidth=0.8)


def in_milliseconds(axes: Axes) -> None:
    """Label a time axis that is in seconds by milliseconds, with a line at stimulus onset."""
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda seconds, _: f"{seconds * 1000:.0f}".replace("-", MINUS))
    )
    axes.set_xlabel("Time from stimulus onset (ms)")
    low, high = axes.get_xlim()
    if low < 0 < high:
        axes.axvline(0, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
