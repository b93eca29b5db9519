"""Long texts out of DuckDB without an object a row: its Arrow buffers, read where they lie.

DuckDB hands a result over by the Arrow C stream interface (arrow.apache.org/docs/format/CStreamInterface.html), a
fixed layout in memory that needs no library at either end. Rendering and copying hold no lock of Python's.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from typing import Literal

import duckdb


class Texts:
    """Numbered texts that follow each other: the ``n``-th lies from byte ``ends[n]`` to ``ends[n + 1]``."""

    def __init__(self, array: _Array) -> None:
        numbers, strings = (array.children[place].contents for place in range(2))
        at, first = strings.buffers[1], strings.offset
        self._array = array
        self._data = strings.buffers[2]
        self.numbers: Sequence[int] = _copied(numbers.buffers[1] + 8 * numbers.offset, numbers.length, "q")
        self.ends: Sequence[int] = _copied(at + 4 * first, strings.length + 1, "i")

    def __del__(self) -> None:
        self._array.release(ctypes.byref(self._array))

    def span(self, first: int, last: int) -> str:
        """The texts from place ``first`` to before ``last``, joined."""
        begin = self.ends[first]
        view = _memory_view(self._data + begin, self.ends[last] - begin, _READ_ONLY)
        return str(view, "utf-8")


def texts(relation: duckdb.DuckDBPyRelation) -> Iterator[Texts]:
    """The rows of a query of two columns, a BIGINT and a VARCHAR without NULLs, in the query's order.

    They come in parts of a million rows at most.

    Raises:
        duckdb.Error: As the query itself.
    """
    capsule = relation.__arrow_c_stream__()
    stream = _Stream.from_address(_pointer(capsule, b"arrow_array_stream"))
    while True:
        array = _Array()
        if stream.get_next(ctypes.byref(stream), ctypes.byref(array)):
            raise duckdb.IOException(str(stream.get_last_error(ctypes.byref(stream)), "utf-8", "replace"))
        if not array.release:
            return
        yield Texts(array)


def _copied(address: int, count: int, kind: Literal["q", "i"]) -> Sequence[int]:
    return memoryview(ctypes.string_at(address, count * struct.calcsize(kind))).cast(kind)


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    ("get_schema", ctypes.c_void_p),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_memory_view = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_view.restype = ctypes.py_object
_memory_view.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_READ_ONLY = 0x100
