"""What the loops of a compiled program do: operations, bytes, and which of the two they wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from chainrule.native.loops import Buffer, Callback, Code, Copy, LibraryCall, Loop, Store, Update, Value

__all__ = ["Table", "table_of"]

#: A call of the maths library, counted in operations (as Program.cost does).
_CALL = 20.0
#: Operations that a processor does while it moves one byte from memory, in vector code, roughly: above it arithmetic
#: is what a loop waits for, below it memory.
_BALANCE = 1.0
_IDLE = frozenset({"constant", "load", "axis", "result"})


class Row(NamedTuple):
    """One loop, library call or callback: how often it runs, what it does."""

    what: str
    trips: int
    operations: float
    bytes: float

    @property
    def bound(self) -> str:
        """What it waits for."""
        if self.what.startswith("Python"):
            return "Python"
        if not self.operations and not self.bytes:
            return ""
        return "arithmetic" if self.operations > _BALANCE * self.bytes else "memory"


class Table(NamedTuple):
    """The rows, and the measured time of the whole call."""

    name: str
    rows: tuple[Row, ...]
    seconds: float

    @property
    def operations(self) -> float:
        """Operations of one call."""
        return sum(row.operations for row in self.rows)

    @property
    def bytes(self) -> float:
        """Bytes read and written in one call."""
        return sum(row.bytes for row in self.rows)

    def __str__(self) -> str:
        weights = [max(row.operations, _BALANCE * row.bytes) for row in self.rows]
        total = sum(weights) or 1.0
        cells = [("part", "runs", "operations", "bytes", "bound by", "share of time (estimated)")]
        for row, weight in zip(self.rows, weights, strict=True):
            share = f"{100 * weight / total:.0f} %"
            cells.append((row.what, f"{row.trips:,}", f"{row.operations:,.0f}", f"{row.bytes:,.0f}", row.bound, share))
        cells.append(("whole call", "", f"{self.operations:,.0f}", f"{self.bytes:,.0f}", "", _time(self.seconds)))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if place in (0, 4) else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self.name, *lines])


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def table_of(name: str, code: Code, seconds: float) -> Table:
    """The table of a program's code; ``seconds`` is what a call was measured to take."""
    rows: list[Row] = []
    alone = [item for item in code.body if not isinstance(item, Loop | LibraryCall | Callback | Copy)]
    if alone:
        operations, moved = _work(alone, 1)
        rows.append(Row("numbers outside of loops", 1, operations, moved))
    number = 0
    for item in code.body:
        if isinstance(item, Loop):
            number += 1
            operations, moved = _work(item.body, item.axis.extent)
            kind = "vector loop" if _has_vector(item) else "loop"
            rows.append(Row(f"{kind} {number}", _trips(item), operations, moved))
        elif isinstance(item, LibraryCall | Callback | Copy):
            rows.append(_single(item))
    return Table(name, tuple(rows), seconds)


def _single(item: Any) -> Row:
    if isinstance(item, LibraryCall):
        moved = float(sum(one.bytes for one in (*item.reads, *item.writes)))
        return Row(item.function.removeprefix("chainrule_"), 1, item.flops, moved)
    if isinstance(item, Copy):
        return Row("copy", 1, 0.0, 2.0 * item.size * int(item.source.kind[1:]))
    step = item.step[0] if isinstance(item.step, tuple) else None
    moved = float(sum(buffer.bytes for buffer, _ in (*item.reads, *item.writes)))
    return Row(f"Python: {step.rule.name}" if step is not None else "Python", 1, 0.0, moved)


def _has_vector(loop: Loop) -> bool:
    return loop.vector or any(isinstance(one, Loop) and _has_vector(one) for one in loop.body)


def _trips(loop: Loop) -> int:
    inner = [_trips(one) for one in loop.body if isinstance(one, Loop)]
    return loop.axis.extent * max(inner, default=1)


def _work(items: Sequence[Any], trips: int) -> tuple[float, float]:
    operations = moved = 0.0
    for item in items:
        if isinstance(item, Value):
            if item.op == "load":
                moved += _touched(item.attr[0], trips)
            elif item.op not in _IDLE:
                operations += trips * (_CALL if item.op == "call" else 1.0)
        elif isinstance(item, Store):
            moved += _touched(item.buffer, trips) * (2.0 if item.combine else 1.0)
        elif isinstance(item, Update):
            operations += trips
        elif isinstance(item, Loop):
            inner = _work(item.body, trips * item.axis.extent)
            operations, moved = operations + inner[0], moved + inner[1]
        elif isinstance(item, LibraryCall | Callback | Copy):
            row = _single(item)
            operations, moved = operations + trips * row.operations, moved + trips * row.bytes
    return operations, moved


def _touched(buffer: Buffer, trips: int) -> float:
    """Bytes of a buffer that a load or store moves: each at most once a loop, since what was read is at hand."""
    return float(min(trips * int(buffer.kind[1:]), buffer.bytes))
