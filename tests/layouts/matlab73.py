"""MATLAB 7.3 files as MATLAB writes them, by h5py: arrays transposed, cells as references, classes as attrs."""

from pathlib import Path

import h5py
import numpy as np


class Writer:
    """`with Writer(path) as mat: mat.root["x"] = ...`; then the header that MATLAB puts before the HDF5."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self):
        self.file = h5py.File(self.path, "w", userblock_size=512)
        self.count = 0
        return self

    def __exit__(self, *_):
        self.file.close()
        with self.path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")

    def array(self, where, name, values, **options):
        """A numeric matrix of MATLAB's shape `values.shape`; a vector is 1 x n."""
        values = np.atleast_2d(values)
        found = where.create_dataset(name, data=np.transpose(values), **options)
        kind = {"float64": "double", "float32": "single"}.get(values.dtype.name, values.dtype.name)
        found.attrs["MATLAB_class"] = np.bytes_(kind)
        return found

    def empty(self, where, name, kind="double", dims=(0, 0)):
        found = where.create_dataset(name, data=np.array(dims, np.uint64))
        found.attrs["MATLAB_class"] = np.bytes_(kind)
        found.attrs["MATLAB_empty"] = np.uint8(1)
        return found

    def char(self, where, name, text):
        found = where.create_dataset(name, data=np.array([[ord(one)] for one in text], np.uint16))
        found.attrs["MATLAB_class"] = np.bytes_("char")
        found.attrs["MATLAB_int_decode"] = np.int32(2)
        return found

    def value(self, where, name, value, column):
        if isinstance(value, list):
            return self.cell(where, name, value, column)
        if isinstance(value, str):
            return self.char(where, name, value)
        if np.size(value) == 0:
            return self.empty(where, name)
        return self.array(where, name, np.asarray(value))

    def cell(self, where, name, values, column=True, marked=True):
        """A cell of n x 1, or of 1 x n; lists inside it become cells of the same orientation."""
        if not values:
            return self.empty(where, name, "cell")
        refs = np.empty(len(values), h5py.ref_dtype)
        for n, value in enumerate(values):
            self.count += 1
            inner = self.value(self.file.require_group("#refs#"), f"r{self.count}", value, column)
            refs[n] = inner.ref
        shape = (1, len(values)) if column else (len(values), 1)
        found = where.create_dataset(name, data=refs.reshape(shape), dtype=h5py.ref_dtype)
        if marked:
            found.attrs["MATLAB_class"] = np.bytes_("cell")
        return found
