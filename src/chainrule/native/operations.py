"""What each operation of a value is in LLVM's language, on floats, integers and booleans, scalars and vectors."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["OPERATIONS", "memory_type", "neutral", "number", "type_of"]


class Writer(Protocol):
    """What operations are written with: lines of a function, and types as wide as its vectors are now."""

    def line(self, text: str) -> str: ...

    def type(self, kind: str) -> str: ...

    def mangled(self, kind: str) -> str: ...

    def literal(self, value: Any, kind: str) -> str: ...

    def call(self, function: str, result: str, arguments: Sequence[str], given: str, more: str = "") -> str: ...


_TYPES = {"f8": "double", "f4": "float", "b1": "i1"}
_NEUTRAL = {
    "add": 0, "multiply": 1, "maximum": -math.inf, "minimum": math.inf, "and": True, "or": False,
}  # fmt: skip


def type_of(kind: str) -> str:
    """The LLVM type of a scalar in a register."""
    return _TYPES.get(kind) or f"i{8 * int(kind[1:])}"


def memory_type(kind: str) -> str:
    """The LLVM type of a scalar in memory: a boolean is a byte."""
    return "i8" if kind == "b1" else type_of(kind)


def number(value: Any, kind: str) -> str:
    """A literal."""
    if kind == "b1":
        return "true" if value else "false"
    if kind[0] == "f":
        with np.errstate(all="ignore"):
            exact = float(np.float32(value)) if kind == "f4" else float(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"
    return str(int(value))


def neutral(op: str, kind: str) -> Any:
    """The number that an operation of a reduction leaves everything as it is with."""
    value = _NEUTRAL[op]
    if kind[0] in "iu" and isinstance(value, float):
        low, high = (np.iinfo(kind).min, np.iinfo(kind).max)
        return int(low if value < 0 else high)
    if op == "add" and kind[0] == "f":
        return -0.0
    return value


# --- operations -----------------------------------------------------------------------------------------------------

#: Operations of values: ``(emitter, kind of the result, kinds of the arguments, operands) -> operand``.
OPERATIONS: dict[str, Callable[[Any, str, Sequence[str], Sequence[str]], str]] = {}


def _plain(name: str, on_floats: str, on_signed: str, on_unsigned: str = "") -> None:
    def emit(self: Writer, kind: str, kinds: Sequence[str], operands: Sequence[str]) -> str:
        word = on_floats if kind[0] == "f" else on_unsigned or on_signed if kind[0] in "ub" else on_signed
        return self.line(f"{word} {self.type(kind)} {', '.join(operands)}")

    OPERATIONS[name] = emit


_plain("add", "fadd", "add")
_plain("subtract", "fsub", "sub")
_plain("multiply", "fmul", "mul")
_plain("divide", "fdiv", "sdiv", "udiv")
_plain("fmod", "frem", "srem", "urem")
_plain("and", "", "and")
_plain("or", "", "or")
_plain("xor", "", "xor")


def _comparison(name: str, on_floats: str, on_signed: str, on_unsigned: str) -> None:
    def emit(self: Writer, kind: str, kinds: Sequence[str], operands: Sequence[str]) -> str:
        (given, _) = kinds
        word = f"fcmp {on_floats}" if given[0] == "f" else f"icmp {on_signed if given[0] == 'i' else on_unsigned}"
        return self.line(f"{word} {self.type(given)} {', '.join(operands)}")

    OPERATIONS[name] = emit


_comparison("equal", "oeq", "eq", "eq")
_comparison("not_equal", "une", "ne", "ne")
_comparison("less", "olt", "slt", "ult")
_comparison("less_equal", "ole", "sle", "ule")
_comparison("greater", "ogt", "sgt", "ugt")
_comparison("greater_equal", "oge", "sge", "uge")
_comparison("unordered", "uno", "", "")


def _intrinsic(name: str, intrinsic: str, more: str = "") -> None:
    def emit(self: Writer, kind: str, kinds: Sequence[str], operands: Sequence[str]) -> str:
        kind_type = self.type(kind)
        given = ", ".join(f"{kind_type} {one}" for one in operands) + more
        return self.call(f"llvm.{intrinsic}.{self.mangled(kind)}", kind_type, [kind_type] * len(operands), given, more)

    OPERATIONS[name] = emit


for _name, _word in (
    ("sqrt", "sqrt"), ("fabs", "fabs"), ("floor", "floor"), ("ceil", "ceil"), ("trunc", "trunc"),
    ("rint", "rint"), ("copysign", "copysign"),
):  # fmt: skip
    _intrinsic(_name, _word)


def operation(name: str) -> Callable[[Any], Any]:
    """Say that the decorated function emits the operation."""

    def keep(function: Any) -> Any:
        OPERATIONS[name] = function
        return function

    return keep


@operation("negative")
def _(self: Writer, kind: str, kinds: Sequence[str], operands: Sequence[str]) -> str:
    if kind[0] == "f":
        return self.line(f"fneg {self.type(kind)} {operands[0]}")
    return self.line(f"sub {self.type(kind)} {self.literal(0, kind)}, {operands[0]}")


@operation("select")
def _(self: Writer, kind: str, kinds: Sequence[str], operands: Sequence[str]) -> str:
    choice, first, second = operands
    of = self.type(kind)
    return self.line(f"select {self.type('b1')} {choice}, {of} {first}, {of} {second}")


def _extreme(name: str, on_floats: str, on_signed: str, on_unsigned: str) -> None:
    # NumPy's maximum: a NaN in either argument is the result.
    def emit(self: Writer, kind: str, kinds: Sequence[str], operands: Sequence[str]) -> str:
        of, (a, b) = self.type(kind), operands
        if kind[0] == "f":
            first = self.line(f"fcmp {on_floats} {of} {a}, {b}")
            missing = self.line(f"fcmp uno {of} {a}, {a}")
            chosen = self.line(f"or {self.type('b1')} {first}, {missing}")
        else:
            chosen = self.line(f"icmp {on_signed if kind[0] == 'i' else on_unsigned} {of} {a}, {b}")
        return self.line(f"select {self.type('b1')} {chosen}, {of} {a}, {of} {b}")

    OPERATIONS[name] = emit


_extreme("maximum", "oge", "sge", "uge")
_extreme("minimum", "ole", "sle", "ule")


@operation("cast")
def _(self: Writer, kind: str, kinds: Sequence[str], operands: Sequence[str]) -> str:
    (given,), (x,) = kinds, operands
    of, to = self.type(given), self.type(kind)
    if given == kind:
        return x
    if kind == "b1":
        zero = self.literal(0, given)
        return self.line(f"fcmp une {of} {x}, {zero}" if given[0] == "f" else f"icmp ne {of} {x}, {zero}")
    size, wanted = int(given[1:]), int(kind[1:])
    if given[0] == "f" and kind[0] == "f":
        return self.line(f"{'fptrunc' if wanted < size else 'fpext'} {of} {x} to {to}")
    if given[0] == "f":
        # What the processor gives where the number does not fit, as in NumPy: the least integer.
        limit = 2.0 ** (8 * wanted - 1)
        low, high = self.literal(-limit, given), self.literal(limit, given)
        above = self.line(f"fcmp oge {of} {x}, {low}")
        below = self.line(f"fcmp olt {of} {x}, {high}")
        fits = self.line(f"and {self.type('b1')} {above}, {below}")
        inside = self.line(f"select {self.type('b1')} {fits}, {of} {x}, {of} {self.literal(0, given)}")
        made = self.line(f"fptosi {of} {inside} to {to}")
        least = self.literal(-(2 ** (8 * wanted - 1)), kind)
        return self.line(f"select {self.type('b1')} {fits}, {to} {made}, {to} {least}")
    if kind[0] == "f":
        return self.line(f"{'sitofp' if given[0] == 'i' else 'uitofp'} {of} {x} to {to}")
    if given != "b1" and wanted == size:
        return x
    if given != "b1" and wanted < size:
        return self.line(f"trunc {of} {x} to {to}")
    return self.line(f"{'sext' if given[0] == 'i' else 'zext'} {of} {x} to {to}")


@operation("same")
def _(self: Writer, kind: str, kinds: Sequence[str], operands: Sequence[str]) -> str:
    return operands[0]
