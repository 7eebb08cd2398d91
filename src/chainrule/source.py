"""Where in the user's code a step was made: (code object, instruction) -> file, line, text, name of the variable.

A tracer keeps only the pair ``(code, offset of the instruction)``, which costs nothing to take; everything readable is
worked out here, when somebody reads.
"""

from __future__ import annotations

import dis
import linecache
import os.path
import re
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

__all__ = ["Place", "Site", "assigned_name", "excerpt", "line_text", "place"]

#: What a tracer stores: the code object and the offset of the instruction that was running.
Site = tuple[CodeType, int]

_STORES = frozenset({"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF", "STORE_ATTR"})
_TARGET = re.compile(r"\s*([A-Za-z_][A-Za-z_0-9]*)\s*\[")


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int
    function: str
    text: str

    @property
    def short(self) -> str:
        """``model.py:12``."""
        return f"{os.path.basename(self.file)}:{self.line}"


@lru_cache(maxsize=512)
def _instructions(code: CodeType) -> dict[int, tuple[int | None, str | None]]:
    """For each instruction's offset: its line, and the variable that its result is stored in."""
    found: dict[int, tuple[int | None, str | None]] = {}
    line: int | None = code.co_firstlineno
    instructions = list(dis.get_instructions(code))
    for here, instruction in enumerate(instructions):
        positions = instruction.positions
        if positions is not None and positions.lineno is not None:
            line = positions.lineno
        following = instructions[here + 1 : here + 3]
        name: str | None = None
        if following and following[0].opname in _STORES:
            name = str(following[0].argval)
        elif following and following[0].opname in ("STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST"):
            name = str(following[0].argval[0])
        elif len(following) == 2 and following[1].opname == "STORE_ATTR" and following[0].opname.startswith("LOAD_"):
            name = str(following[1].argval)
        elif instruction.opname in ("STORE_SUBSCR", "STORE_SLICE") and line is not None:
            target = _TARGET.match(linecache.getline(code.co_filename, line))
            name = target.group(1) if target else None
        end = instructions[here + 1].offset if here + 1 < len(instructions) else len(code.co_code)
        for offset in range(instruction.offset, end, 2):
            found[offset] = (line, name)
    return found


def assigned_name(site: Site | None) -> str | None:
    """The variable that the result of this instruction was assigned to, or None."""
    if site is None:
        return None
    return _instructions(site[0]).get(site[1], (None, None))[1]


def line_text(file: str, line: int) -> str:
    """The line's source, without indentation; empty where there is no source."""
    return linecache.getline(file, line).strip()


def place(site: Site | None) -> Place | None:
    """File, line, function and text of a site."""
    if site is None:
        return None
    code, offset = site
    line = _instructions(code).get(offset, (code.co_firstlineno, None))[0] or code.co_firstlineno
    return Place(code.co_filename, line, code.co_qualname, line_text(code.co_filename, line))


def excerpt(site: Site | None) -> str:
    """The user's own line, as error messages show it."""
    where = place(site)
    if where is None:
        return ""
    head = f'  File "{where.file}", line {where.line}, in {where.function}'
    return f"{head}\n    {where.text}" if where.text else head
