"""What every reader must do; a new one adds its layout and a few lines at the end."""

import re
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from stores.errors import InputError
from stores.readers import READERS, reader
from stores.readers.reader import table
from stores.specs import SPECS
from stores.validate import validate
from tests.layouts import kriegeskorte2008

BIG = 64 * 2**20


class ReaderTests:
    """Conformance of one reader; a subclass names it, writes its layout, and tells what it must read."""

    name: ClassVar[str]
    write: ClassVar[Callable[[Path], Path]]  # folder -> the path to give to the reader
    cubes: ClassVar[dict[str, str]]  # cube name -> modality

    @pytest.fixture(scope="class")
    @classmethod
    def raw(cls, tmp_path_factory):
        return cls.write(tmp_path_factory.mktemp(cls.name))

    def files(self, raw):
        return sorted(one for one in raw.rglob("*") if one.is_file()) if raw.is_dir() else [raw]

    def read(self, path):
        return READERS[self.name].read(path)

    def copy(self, raw, folder):
        """A second set of the files, to be spoilt."""
        return type(self).write(folder)

    def test_reader__conforms(self, raw):
        found = self.read(raw)
        assert {name: cube.attrs["modality"] for name, cube in found.items()} == self.cubes
        for cube in found.values():
            validate(cube, SPECS[cube.attrs["modality"]])

    def test_reader__says_where_its_values_come_from(self, raw):
        for cube in self.read(raw).values():
            assert cube.attrs["dataset"]
            assert {"file", "bytes", "sha256"} <= set(cube.attrs["sources"][0])

    def test_reader__opens_big_arrays_lazily(self, raw, computing_forbidden):
        with computing_forbidden():
            for cube in self.read(raw).values():
                assert cube.nbytes < BIG or cube.chunks is not None

    def test_reader__gives_the_same_twice(self, raw):
        once, again = self.read(raw), self.read(raw)
        assert all(once[name].identical(again[name]) for name in once)

    def test_reader__finds_the_files_it_names(self, raw):
        names = {one.name for one in self.files(raw)}
        for wanted in READERS[self.name].expects:
            assert any(fnmatch(name, wanted) for name in names), wanted

    def test_reader__refuses_a_missing_path(self, tmp_path):
        with pytest.raises(InputError, match="nowhere"):
            self.read(tmp_path / "nowhere")

    def test_reader__refuses_an_empty_folder_and_names_what_it_wants(self, tmp_path):
        with pytest.raises(InputError) as caught:
            self.read(tmp_path)
        assert any(name in str(caught.value) for name in READERS[self.name].expects)

    def test_reader__refuses_files_of_something_else(self, raw, tmp_path):
        for spoilt in self.files(raw):
            copy = self.copy(raw, tmp_path)
            target = copy / spoilt.relative_to(raw)
            target.write_bytes(b"# no such file\n" * 100)
            with pytest.raises(InputError, match=re.escape(spoilt.name)):
                self.read(copy)

    @pytest.mark.parametrize("share", [0.0, 0.0001, 0.02, 0.3, 0.6, 0.9, 0.999])
    def test_reader__refuses_truncated_files(self, raw, tmp_path, share):
        for spoilt in self.files(raw):
            copy = self.copy(raw, tmp_path)
            target = copy / spoilt.relative_to(raw)
            whole = target.read_bytes()
            cut = whole[: int(share * len(whole))]
            if cut.rstrip() == whole.rstrip():
                continue  # a text without its last line feed has lost nothing
            target.write_bytes(cut)
            with pytest.raises(InputError, match=re.escape(spoilt.name)):
                self.read(copy)

    def test_reader__never_fails_in_a_foreign_way(self, raw, tmp_path):
        """Bytes overwritten at seeded places: InputError, or a cube that still passes its spec."""
        copy = self.copy(raw, tmp_path)
        for n, spoilt in enumerate(self.files(raw) * 6):
            target, rng = copy / spoilt.relative_to(raw), np.random.default_rng(n)
            whole = target.read_bytes()
            broken = bytearray(whole)
            for at in rng.integers(0, min(len(whole), 4000 if n % 2 else len(whole)), 4):
                broken[at] ^= int(rng.integers(1, 256))
            target.write_bytes(broken)
            try:
                found = self.read(copy)
            except InputError as error:
                found = {}
                blamed = str(error)
            for cube in found.values():
                validate(cube)
            assert found or spoilt.name in blamed
            target.write_bytes(whole)


def test_reader__unknown_name_offers_the_nearest():
    with pytest.raises(
        InputError, match=r"no reader 'kriegeskorte08'; there are .* Did you mean 'kriegeskorte2008'\?"
    ):
        reader("kriegeskorte08")
    assert reader("kriegeskorte2008").name == "kriegeskorte2008"


def test_readers__refuse_a_second_of_the_same_name():
    one = READERS["kriegeskorte2008"]
    with pytest.raises(ValueError, match="two readers are named 'kriegeskorte2008'"):
        table([one, replace(one, doc="another")])


def test_readers__are_each_tested_for_conformance():
    for one in Path(__file__).parent.glob("test_readers_*.py"):
        import_module(f"tests.{one.stem}")
    tested = {one.name for one in ReaderTests.__subclasses__()}
    assert tested == set(READERS)


class TestKriegeskorte2008(ReaderTests):
    name = "kriegeskorte2008"
    write = staticmethod(kriegeskorte2008.write)
    cubes: ClassVar[dict[str, str]] = {"images": "images", "human-it": "rdm_stack", "monkey-it": "rdm_stack"}
