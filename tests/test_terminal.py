"""What a person sees of a run."""

import contextlib
import io

import pytest
from rich.console import Console

from pipeline import terminal

HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def screen(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=written, force_terminal=True, highlight=False))
    return written


def test_bar__that_fails_gives_the_cursor_back(screen):
    with contextlib.suppress(KeyboardInterrupt), terminal.Terminal() as shown:
        shown.progress("extract", 0, 3, 0)
        assert HIDDEN in screen.getvalue()
        raise KeyboardInterrupt
    assert screen.getvalue().rindex(SHOWN) > screen.getvalue().rindex(HIDDEN)


def test_made_any__is_of_new_cubes_alone():
    with terminal.Terminal() as shown:
        shown.made("a", reused=True)
        assert not shown.made_any
        shown.made("b", reused=False)
        shown.made("c", reused=True)
    assert shown.made_any
