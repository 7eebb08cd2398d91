"""Program -> Derivation -> text, LaTeX, page, source: the chain rule written down, each line verified by numbers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from types import CodeType, ModuleType
from typing import Any

from chainrule.arguments import Point, name_of
from chainrule.containers import unflatten
from chainrule.derive.derivation import (
    Adjoint,
    Contribution,
    Derivation,
    Gradient,
    Input,
    Item,
    Listing,
    Local,
    Partial,
    Verdict,
    WholeCheck,
)  # fmt: skip
from chainrule.derive.evidence import gather
from chainrule.derive.story import Story
from chainrule.derive.witness import whole_check
from chainrule.errors import ArgumentError
from chainrule.program import Literal
from chainrule.source import Site

__all__ = [
    "Adjoint", "Contribution", "Derivation", "Gradient", "Input", "Item", "Listing", "Local", "Partial", "Verdict",
    "WholeCheck", "derive",
]  # fmt: skip


def derive(f: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0, **kwargs: Any) -> Derivation:
    """The gradient of a scalar function, derived step by step in the user's names, each line verified by numbers.

    ``argnums`` as for ``grad``. The derivation holds at this point: the branches taken and the numbers are those of
    this call. Raises ShapeError (the result is not one number), ArgumentError, TraceError and NoRule as ``grad`` does.

    Sources: the chain rule from the last step to the first, S. Linnainmaa (1970); the text is written from the rules
    that compute the gradient, so it can not say anything else.

    >>> import numpy as np
    >>> d = derive(lambda x: np.sum(x**2), np.array([1.0, 2.0]))
    >>> d.gradient[0].value
    array([2., 4.])
    """
    from chainrule.operators import refuse_non_scalar

    point = Point(f, args, kwargs, argnums)
    program, _, _ = point.trace()
    refuse_non_scalar(program)
    (made,) = program.outputs
    if isinstance(made, Literal):
        raise ArgumentError(
            f"{name_of(f)} gives {made.value!r} whatever its arguments are: there is nothing to derive",
            cure="its gradient is zero everywhere; chainrule.grad gives it, in the shapes of the arguments",
        )
    evidence = gather(program, point.leaves)
    story = Story(evidence, point.names, _outside(f, args))
    items = story.items()
    inputs = story.inputs()
    (output,) = evidence.program.outputs
    assert not isinstance(output, Literal)
    wrt = evidence.program.inputs
    check = whole_check(evidence, wrt, point.call)
    return Derivation(
        function=name_of(f),
        listings=_listings(f, evidence.program.sites.values()),
        argnums=point.argnums,
        inputs=inputs,
        items=items,
        locals=story.locals(),
        output=story.leaf(output),
        value=evidence.values[output],
        gradient=story.gradient(inputs),
        check=check,
        evidence=evidence,
        choices=story.choices(),
        story=story,
        call=(f, _as_given(point), kwargs, argnums),
    )


def _as_given(point: Point) -> tuple[Any, ...]:
    """The arguments of the call, those that are differentiated by as they were when it was made."""
    args = list(point.args)
    start = 0
    for position, tree in zip(point.argnums, point.trees, strict=True):
        args[position] = unflatten(tree, point.leaves[start : start + tree.size])
        start += tree.size
    return tuple(args)


def _outside(f: Callable[..., Any], args: Sequence[Any]) -> list[tuple[str, Any]]:
    """Arrays that the function can reach besides its differentiated arguments, under their names."""
    from chainrule.arguments import parameter_names

    found = list(zip(parameter_names(f, len(args)), args, strict=True))
    code = getattr(f, "__code__", None)
    if code is not None:
        cells = getattr(f, "__closure__", None) or ()
        for name, cell in zip(code.co_freevars, cells, strict=False):
            try:
                found.append((name, cell.cell_contents))
            except ValueError:
                continue
        names = getattr(f, "__globals__", {})
        found.extend((name, names[name]) for name in code.co_names if name in names)
    return found


def _listings(f: Callable[..., Any], sites: Iterable[Site]) -> tuple[Listing, ...]:
    """The functions of the user's in which the steps were made, with their lines; none for those without source."""
    codes: dict[CodeType, None] = {}
    first = getattr(inspect.unwrap(f), "__code__", None)
    if isinstance(first, CodeType):
        codes[first] = None
    codes.update((code, None) for code, _ in sites)
    made = []
    for code in codes:
        try:
            lines, start = inspect.getsourcelines(code)
        except (OSError, TypeError, IndexError):
            continue
        numbered = tuple((max(start, 1) + n, line.rstrip("\n")) for n, line in enumerate(lines))
        made.append(Listing(code.co_qualname, code.co_filename, numbered))
    return tuple(made)


class _Callable(ModuleType):
    """The package and its function have one name: ``chainrule.derive`` is called, whichever it is bound to."""

    def __call__(self, *args: Any, **options: Any) -> Derivation:
        return derive(*args, **options)


sys.modules[__name__].__class__ = _Callable
