import subprocess
import sys

import numpy as np
import pytest
import scipy.io

from stores.errors import InputError
from stores.readers.files import load_mat
from stores.readers.mat5 import BrokenError, check
from tests.shared import shared

VALUES = {
    "numbers": np.arange(12.0).reshape(3, 4),
    "text": "hello",
    "empty": np.zeros((0, 0)),
    "complex": np.array([1 + 2j]),
    "cell": np.array([[np.arange(3), "a", np.zeros((2, 2), np.uint8)]], object),
    "record": {"a": 1.0, "b": {"c": "x", "d": np.arange(5, dtype=np.int16)}},
    "flag": np.array([True, False]),
}


@pytest.mark.parametrize("compress", [True, False])
def test_mat5__passes_what_scipy_writes(tmp_path, compress):
    scipy.io.savemat(tmp_path / "x.mat", VALUES, do_compression=compress)
    check(tmp_path / "x.mat")
    np.testing.assert_array_equal(load_mat(tmp_path / "x.mat", ["numbers"])["numbers"], VALUES["numbers"])


def test_mat5__passes_real_files():
    files = sorted(shared("data/matv73-fieldtrip").glob("*_v7.mat"))
    assert len(files) >= 5
    for one in files:
        check(one)


def test_mat5__refuses_a_type_that_ends_scipy(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"numbers": VALUES["numbers"]})
    broken = bytearray((tmp_path / "x.mat").read_bytes())
    at = bytes(broken).index((9).to_bytes(4, "little"), 140)
    broken[at] = 200
    (tmp_path / "x.mat").write_bytes(broken)
    with pytest.raises(BrokenError, match="type 200"):
        check(tmp_path / "x.mat")
    with pytest.raises(InputError, match=r"x\.mat cannot be read as a MATLAB file \(BrokenError"):
        load_mat(tmp_path / "x.mat", ["numbers"])


FUZZ = """
import sys, pathlib, warnings, numpy as np
from stores.errors import InputError
from stores.readers.files import load_mat
warnings.simplefilter("ignore")
path = pathlib.Path(sys.argv[1]); whole = path.read_bytes(); names = sys.argv[2].split(",")
for seed in range(150):
    rng = np.random.default_rng(seed); broken = bytearray(whole)
    for at in rng.integers(0, len(whole), 4):
        broken[at] ^= int(rng.integers(1, 256))
    path.write_bytes(broken)
    try:
        load_mat(path, names)
    except InputError:
        pass
print("done")
"""


@pytest.mark.parametrize("compress", [True, False])
def test_mat5__bytes_at_random_never_end_the_process(tmp_path, compress):
    scipy.io.savemat(tmp_path / "x.mat", VALUES, do_compression=compress)
    command = [sys.executable, "-c", FUZZ, str(tmp_path / "x.mat"), ",".join(VALUES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr[-600:]
