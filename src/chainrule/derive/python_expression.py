"""The application of a rule as Python's own syntax tree, from which it is printed with no bracket too many."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from chainrule.derive.embedded import Embedded, public_name
from chainrule.rule import Rule

__all__ = ["applied", "array_text", "plain_number", "typed_number"]

#: A function in the module of the rule, which is to be printed too.
_CALL = re.compile(r"\{call:(\w+)\}")
_HOLE = re.compile(r"\{(\*|\w+)\}")


@lru_cache(maxsize=4096)
def _parsed(template: str) -> ast.stmt:
    (statement,) = ast.parse(template).body
    return statement


class _Filled(ast.NodeTransformer):
    def __init__(self, given: dict[str, ast.expr]) -> None:
        self.given = given

    def visit_Name(self, node: ast.Name) -> Any:
        found = self.given.get(node.id)
        return node if found is None else copy.deepcopy(found)


def _filled(template: str, arguments: Sequence[ast.expr], params: dict[str, Any]) -> Any:
    """The expression or statement of a ``source`` facet with its holes filled."""

    def hole(found: re.Match[str]) -> str:
        word = found[1]
        if word == "*":
            return ", ".join(f"_hole{place}" for place in range(len(arguments)))
        return f"_hole{word}" if word.isdigit() else repr(params[word])

    statement = copy.deepcopy(_parsed(_HOLE.sub(hole, template)))
    return _Filled({f"_hole{place}": one for place, one in enumerate(arguments)}).visit(statement)


def _is_special(value: Any) -> bool:
    return isinstance(value, float) and not np.isfinite(value)


def plain_number(value: Any) -> ast.expr:
    """A bare Python number (or truth value)."""
    if isinstance(value, np.generic):
        plain = value.item()
        if isinstance(value, np.float32 | np.float16) and np.isfinite(value):
            # The shortest decimal, where it is read as the same number.
            shown = float(str(value))
            plain = shown if type(value)(shown) == value else plain
        value = plain
    text = repr(value)
    if _is_special(value):
        text = "np.nan" if value != value else "np.inf" if value > 0 else "-np.inf"  # noqa: PLR0124
    return ast.parse(text, mode="eval").body


def typed_number(value: Any) -> ast.expr:
    """A NumPy scalar that keeps its dtype."""
    call = ast.parse(f"np.{value.dtype.name}(0)", mode="eval").body
    assert isinstance(call, ast.Call)
    call.args = [plain_number(value)]
    return call


def array_text(array: Any) -> str:
    """A small array as Python source, exact to the last bit.

    >>> array_text(np.array([1.0, 0.1]))
    'np.array([1.0, 0.1])'
    """
    array = np.asarray(array)
    if array.ndim == 0:
        return ast.unparse(typed_number(array[()]) if array.dtype != np.float64 else plain_number(array[()]))
    if array.size == 0:
        return f"np.zeros({array.shape}, dtype=np.{array.dtype.name})"

    def listed(part: Any) -> ast.expr:
        return ast.List([listed(one) if np.ndim(one) else plain_number(one) for one in part], ast.Load())

    wide = "" if array.dtype in (np.float64, np.bool, np.int64) else f", dtype=np.{array.dtype.name}"
    return f"np.array({ast.unparse(listed(array))}{wide})"


def applied(
    rule: Rule,
    arguments: Sequence[ast.expr],
    types: Sequence[Any],
    params: tuple[Any, ...],
    numbers: Sequence[Any],
    embedded: Embedded,
) -> Any:
    """The rule applied to arguments, as an expression (of a rule that overwrites its first argument: a statement).

    ``numbers`` are the arguments that are bare numbers, else None. None where it has no form in plain NumPy; functions
    that it needs are put into ``embedded``.
    """
    source = rule.source
    template = source if isinstance(source, str) else source(types, params, numbers)
    if not template:
        public = public_name(rule.value)
        if public is not None:
            embedded.imports.add(public[1])
        name = embedded.name_of(rule.value) if public is None else public[0]
        if name is None:
            return None
        template = f"{name}({', '.join(['{*}'] * bool(arguments) + [f'{{{one}}}' for one in rule.params])})"
    elif template.startswith("special."):
        embedded.imports.add("from scipy import special")
    for called in _CALL.findall(template):
        name = embedded.name_of(rule.value.__globals__[called])
        if name is None:
            return None
        template = template.replace(f"{{call:{called}}}", name)
    made = _filled(template, arguments, dict(zip(rule.params, params, strict=True)))
    return made.value if isinstance(made, ast.Expr) and rule.update is None else made
