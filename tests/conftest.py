"""What every test may use."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, settings

from tests import laziness

Command = Callable[..., tuple[int, str, str]]

# Machines differ in speed and tests share them: a slow example is no fault. The examples are the same every
# time: a change is tested, not luck.
settings.register_profile(
    "neurocube", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("neurocube")


@pytest.fixture
def computing_forbidden() -> Callable[[], AbstractContextManager[None]]:
    """`with computing_forbidden(): ...` raises if anything inside is computed."""
    return laziness.computing_forbidden


@pytest.fixture
def neurocube(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command in this process: (exit code, output, errors)."""

    from pipeline import cli  # it takes a second, and few tests need it

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["neurocube", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    return run
