"""Pieces of running text: paragraphs, formulas within them and on lines of their own, enumerations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.derive.derivation import Item
from chainrule.derive.page.formula import formula, latex_of
from chainrule.derive.page.markup import Markup, element, joined

__all__ = ["added", "defining", "display", "inline", "listed", "paragraph"]


def inline(latex: str) -> Markup:
    """A formula within a sentence."""
    return formula(latex)


def display(latex: str) -> Markup:
    """A formula on a line of its own."""
    return element("div", formula(latex, display=True), class_="display scrolls")


def paragraph(*parts: Any, note: bool = False) -> Markup:
    """Some text."""
    return element("p", *parts, class_="note" if note else None)


def listed(parts: Sequence[Any], last: str = " and ") -> Markup:
    """``a, b and c``."""
    if len(parts) < 2:
        return joined(*parts)
    middle = [piece for part in parts[:-1] for piece in (part, ", ")][:-1]
    return joined(*middle, last, parts[-1])


def defining(item: Item) -> Markup:
    """``z = X W + b``."""
    assert item.expr is not None
    return inline(f"{latex_of(item.leaf)} = {latex_of(item.expr)}")


def added(terms: Sequence[Any]) -> str | None:
    """The terms added up, as LaTeX; None where one of them is too long for a line."""
    written = [_written(term) for term in terms]
    if not all(written):
        return None
    text = ""
    for one in written:
        text += one if not text else f" - {one[1:].lstrip()}" if one.startswith("-") else f" + {one}"
    return text


def _written(expr: Any) -> str:
    return "" if expr is None else "1" if expr == 1 else latex_of(expr)
