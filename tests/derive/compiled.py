"""C files compiled with the system's compiler, warnings as errors, and called through ctypes."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.derive.c_source import c_source
from chainrule.derive.numpy_source import SMALL
from chainrule.program import Literal, Program

__all__ = ["COMPILER", "Compiled", "run_in_c"]

COMPILER = shutil.which("cc")
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1")
#: What stands behind each block of memory that is handed over, and must still be there afterwards.
FENCE = b"\xa5" * 64


class Compiled:
    """A program's C file as a shared library."""

    def __init__(self, program: Program, folder: Path, text: str | None = None, flags: tuple[str, ...] = ()) -> None:
        self.program = program
        self.text = c_source(program) if text is None else text
        source, library = folder / "written.c", folder / f"written{len(list(folder.iterdir()))}.so"
        source.write_text(self.text, encoding="utf-8")
        done = subprocess.run(
            [str(COMPILER), *FLAGS, *flags, "-shared", "-fPIC", "-o", str(library), str(source), "-lm"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stderr}\n{self.text}"
        found = re.search(r"^int (\w+)\(", self.text, re.MULTILINE)
        size = re.search(r"_WORKSPACE (\d+)$", self.text, re.MULTILINE)
        assert found is not None
        assert size is not None
        self.function = getattr(ctypes.CDLL(str(library)), found[1])
        self.workspace = int(size[1])

    def __call__(self, inputs: list[Any]) -> tuple[int, list[Any]]:
        """What the function returns, and its outputs."""
        program = self.program
        given: list[Any] = []
        kept: list[Any] = []
        read = {one for step in program.steps for one in step.inputs if isinstance(one, int)}
        read |= {one for one in program.outputs if isinstance(one, int)}
        large = [
            (var, constant)
            for var, constant in zip(program.captures, program.constants, strict=True)
            if var in read and program.types[var].size > SMALL
        ]
        values = [*zip(program.inputs, inputs, strict=True), *large]
        for var, value in values:
            kind = program.types[var]
            array = np.ascontiguousarray(value, kind.dtype).reshape(kind.shape)
            if kind.ndim:
                given.append(self.block(array, kept))
            else:
                given.append(np.ctypeslib.as_ctypes_type(kind.dtype)(array.item()))
        outs = []
        for one in program.outputs:
            kind = one.type if isinstance(one, Literal) else program.types[one]
            dtype, shape = (np.dtype(kind), ()) if isinstance(kind, type) else (kind.dtype, kind.shape)
            outs.append(np.full(shape, 77, dtype=dtype))
            given.append(self.block(outs[-1], kept))
        given.append(self.block(np.full(self.workspace, 0x77, np.uint8), kept) if self.workspace else None)
        code = self.function(*given)
        for array, room in kept:
            assert room[array.nbytes :].tobytes() == FENCE, "memory behind a block was overwritten"
        results = []
        for array in outs:
            room = next(room for other, room in kept if other is array)
            results.append(room[: array.nbytes].view(array.dtype).reshape(array.shape))
        return code, results

    def block(self, array: Any, kept: list[Any]) -> Any:
        raw = np.empty(array.nbytes + len(FENCE) + 64, np.uint8)
        start = -raw.ctypes.data % 64
        room = raw[start : start + array.nbytes + len(FENCE)]
        room[: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        room[array.nbytes :] = np.frombuffer(FENCE, np.uint8)
        kept.append((array, room))
        return room.ctypes.data_as(ctypes.c_void_p)


def run_in_c(program: Program, inputs: list[Any], folder: Path) -> list[Any]:
    """The results of a program through C."""
    code, results = Compiled(program, folder)(inputs)
    assert code == 0
    return results
