"""What every test may use."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, settings

from tests import laziness

# Machines differ in speed and tests share them: a slow example is no fault.
settings.register_profile("neurocube", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("neurocube")


@pytest.fixture
def computing_forbidden() -> Callable[[], AbstractContextManager[None]]:
    """`with computing_forbidden(): ...` raises if anything inside is computed."""
    return laziness.computing_forbidden
