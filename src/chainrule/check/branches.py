"""Calls of a Python function -> which ways its branches went, and which no tested point took."""

from __future__ import annotations

import dis
import functools
import itertools
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, NamedTuple

__all__ = ["Branches"]

MOST = 60_000  # instructions: a longer run is not watched to its end, and nothing is said of it


class _Place(NamedTuple):
    """A condition in the source: jumps that the compiler made of the same one are the same."""

    file: str
    line: int
    column: int
    end: int


class _Jump(NamedTuple):
    place: _Place
    when_jumped: bool  # what the condition was if the jump is taken
    target: int
    next: int


class Branches:
    """Watches calls of f: the conditions in its file (``if``, ``while``, ``and``, ``x if c else y``) and their values.

    Nothing of f need be known but that it is Python; branches inside NumPy calls (``np.where``, ``np.maximum``) are not
    seen. Does nothing where another tracer (a debugger, a coverage tool) is at work.
    """

    def __init__(self, f: Any) -> None:
        self.file = _file_of(f)
        self.here: dict[_Place, set[bool]] = {}  # at x
        self.beyond: dict[_Place, set[bool]] = {}  # at all points
        self.never: dict[tuple[_Place, bool], str] = {}  # where a way leads that some condition did not take
        self.whole = bool(self.file)
        self._jumps: dict[CodeType, dict[int, _Jump]] = {}
        self._count = 0

    @contextmanager
    def watching(self, *, at_x: bool = False) -> Iterator[None]:
        """While inside, the way of every condition is written down."""
        if not self.file or not self.whole or sys.gettrace() is not None:
            if at_x:
                self.whole = False  # what happens elsewhere can not be compared with what happens here
            yield
            return
        self._count = 0
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)
            if at_x:
                self.here = {place: set(values) for place, values in self.beyond.items()}

    def _enter(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event != "call" or frame.f_code.co_filename != self.file:
            return None
        jumps = self._jumps.setdefault(frame.f_code, {}) or self._learn(frame.f_code)
        if not jumps:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        last: list[_Jump | None] = [None]

        def step(frame: FrameType, event: str, _arg: Any) -> Any:
            if event == "opcode":
                self._count += 1
                if self._count > MOST:
                    self.whole = False
                    sys.settrace(None)
                    return None
                if last[0] is not None:
                    jumped = frame.f_lasti == last[0].target
                    self.beyond.setdefault(last[0].place, set()).add(last[0].when_jumped is jumped)
                last[0] = jumps.get(frame.f_lasti)
            return step

        return step

    def _learn(self, code: CodeType) -> dict[int, _Jump]:
        jumps: dict[int, _Jump] = {}
        steps = list(dis.get_instructions(code))
        lines = {step.offset: (step.positions.lineno or 0) if step.positions else 0 for step in steps}
        for step, after in itertools.pairwise(steps):
            name = step.opname
            if "JUMP" not in name or "_IF_" not in name or step.positions is None or step.positions.lineno is None:
                continue
            at = step.positions
            place = _Place(code.co_filename, step.positions.lineno, at.col_offset or 0, at.end_col_offset or 0)
            target = int(step.argval)
            when = "IF_TRUE" in name or name.endswith("IF_NONE")
            jumps[step.offset] = _Jump(place, when, target, after.offset)
            for value, offset in ((when, target), (not when, after.offset)):
                self.never.setdefault((place, value), self._text(lines.get(offset, 0)))
        self._jumps[code] = jumps
        return jumps

    def _text(self, line: int) -> str:
        return linecache.getline(self.file, line).strip() if line else ""

    def moved(self) -> list[str]:
        """The conditions that took another way at another point than at x."""
        places = [p for p, values in self.beyond.items() if self.here and values - self.here.get(p, set())]
        return [self._name(place) for place in sorted(places)] if self.whole else []

    def untaken(self) -> list[str]:
        """The conditions of which one way was never taken; one that leads to an error is none."""
        if not self.whole:
            return []
        found = []
        for place, values in sorted(self.beyond.items()):
            text = self._text(place.line)
            other = self.never.get((place, not next(iter(values))), "")
            if len(values) == 1 and not text.startswith("assert") and not other.startswith("raise"):
                found.append(f"{self._name(place)} was always {'true' if True in values else 'false'}")
        return found

    def _name(self, place: _Place) -> str:
        line = linecache.getline(place.file, place.line)
        # Columns count bytes.
        text = line.encode()[place.column : place.end].decode(errors="replace").strip()
        return f"line {place.line} of {os.path.basename(place.file)}" + (f", `{text[:60]}`," if text else "")

    def sentences(self) -> list[str]:
        """What the report says of them."""
        moved, untaken = self.moved(), self.untaken()
        said = []
        if moved:
            said.append(f"f takes another branch near x than at x: {'; '.join(m.rstrip(',') for m in moved[:3])}")
        if untaken:
            ways = sum(len(values) for values in self.beyond.values())
            said.append(
                f"of {ways + len(untaken)} ways that branches of f may go, {ways} were taken at the tested points: "
                + "; ".join(untaken[:3])
            )
        return said


def _file_of(f: Any) -> str:
    """The file of the Python code that runs when f is called; empty where there is none."""
    for _ in range(8):
        if isinstance(f, functools.partial):
            f = f.func
        elif hasattr(f, "__wrapped__"):
            f = f.__wrapped__
        elif hasattr(f, "__func__"):
            f = f.__func__
        elif not hasattr(f, "__code__"):
            inner = getattr(type(f), "forward", None) or vars(type(f)).get("__call__")
            if inner is None or not hasattr(inner, "__code__"):
                return ""
            f = inner
        else:
            break
    code = getattr(f, "__code__", None)
    return code.co_filename if isinstance(code, CodeType) else ""
