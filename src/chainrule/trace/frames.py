"""What the frames of the running code say: which line is the user's, and what it is about to do with a value."""

from __future__ import annotations

import dis
import os.path
import sys
from types import CodeType
from typing import Any

import numpy as np

__all__ = ["OURS", "in_try", "is_formatting", "is_ours", "user_site"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_NUMPY = os.path.dirname(os.path.realpath(np.__file__))
OURS: dict[CodeType, bool] = {}


def is_ours(code: CodeType) -> bool:
    """Whether the code belongs to chainrule or NumPy, and not to the user."""
    found = OURS.get(code)
    if found is None:
        name = code.co_filename
        found = OURS[code] = name.startswith((_PACKAGE, _NUMPY)) or name == "<__array_function__ internals>"
    return found


def user_site(depth: int = 1) -> tuple[CodeType, int] | None:
    """The user's line that is being executed."""
    frame: Any = sys._getframe(depth)
    while frame is not None and is_ours(frame.f_code):
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lasti)


def in_try(frame: Any) -> bool:
    """Whether the user's code might catch what an operation raises (a singular matrix): then it must raise now."""
    while frame is not None:
        code = frame.f_code
        if not is_ours(code):
            if code.co_exceptiontable:
                return True
        elif code.co_name == "trace_leaves":
            return False
        frame = frame.f_back
    return False


def is_formatting(frame: Any) -> bool:
    """Whether the caller is at ``"%.2f" % x``: of all operators only this one on strings asks for a float."""
    code, offset = frame.f_code, frame.f_lasti
    if is_ours(code) or offset < 0 or dis.opname[code.co_code[offset]] != "BINARY_OP":
        return False
    operators = getattr(dis, "_nb_ops", ())
    return bool(code.co_code[offset + 1] < len(operators) and operators[code.co_code[offset + 1]][1] == "%")
