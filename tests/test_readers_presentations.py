"""What is known of presentations, by stimulus and repeat."""

import numpy as np
import pandas as pd
import pytest

from stores.dims import REPEAT, STIMULUS
from stores.readers.events import event_coords
from stores.readers.presentations import labels, spread
from stores.readers.trials import presented

SHOWN = presented(["b", "a", "b"], [0, 1, 2])  # a was shown in trial 1 alone
NAN = np.nan


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([4, 5, 6]), [[5, -1], [4, 6]]),
        (np.array([4, -5, 6]), [[-5.0, NAN], [4.0, 6.0]]),
        (np.array([4.0, NAN, 6.0]), [[NAN, NAN], [4.0, 6.0]]),
        (np.array([True, False, False]), [[0, -1], [1, 0]]),
        (np.array(["x", "yy", "z"]), [["yy", ""], ["x", "z"]]),
        (np.array(["x", "yy", "z"], object), [["yy", ""], ["x", "z"]]),
    ],
)
def test_spread__marks_where_nothing_was_shown(values, wanted):
    before = values.copy()
    dims, found = spread(SHOWN, values)
    assert dims == (STIMULUS, REPEAT)
    np.testing.assert_array_equal(found, np.array(wanted, object if values.dtype.kind in "OU" else None))
    assert found.dtype.kind == np.array(wanted).dtype.kind.replace("U", "O")
    np.testing.assert_array_equal(values, before)


def test_event_coords__tell_text_once_and_numbers_of_every_trial():
    table = pd.DataFrame(
        {"same": ["x", "y", "x"], "other": ["x", "y", None], "number": [1, 2, 1], "moved": [-1, 2, 1]}
    )
    found = event_coords(SHOWN, table)
    assert list(found) == ["event_same", "trial_other", "trial_number", "trial_moved"]
    assert found["event_same"][0] == STIMULUS
    assert list(found["event_same"][1]) == ["y", "x"]
    assert found["trial_other"][1].tolist() == [["y", ""], ["x", ""]]
    assert found["trial_number"][1].tolist() == [[2, -1], [1, 1]]
    np.testing.assert_array_equal(found["trial_moved"][1], [[2.0, NAN], [-1.0, 1.0]])
    told = labels(SHOWN, {name: table[name].to_numpy() for name in ("same", "number", "moved")})
    assert [dims for dims, _ in told.values()] == [STIMULUS, STIMULUS, (STIMULUS, REPEAT)]
