"""The derivation of a gradient, as data: what a reader is told, step by step, before it is written in any form."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.derive.expression import Expr, Leaf
from chainrule.errors import ArgumentError, NoRule
from chainrule.source import Place

if TYPE_CHECKING:
    from chainrule.derive.evidence import Evidence
    from chainrule.derive.story import Story

__all__ = [
    "WHAT_IT_IS_NOT",
    "Adjoint",
    "Contribution",
    "Derivation",
    "Gradient",
    "Input",
    "Item",
    "Listing",
    "Local",
    "Partial",
    "Verdict",
    "WholeCheck",
]  # fmt: skip

#: The sentence at the top of every form.
WHAT_IT_IS_NOT = (
    "This is the derivative of a function, and nothing else: what you do with it (L-BFGS, Newton, a sampler, "
    "a sensitivity study) is another matter."
)


def _form(module: str, name: str) -> Callable[..., Any]:
    """A writer, loaded when it is asked for."""
    found = getattr(importlib.import_module(f"chainrule.derive.{module}"), name)
    assert callable(found)
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the numbers say of one line: ``ok`` is None where they can not decide (a kink, a NaN), and ``how`` says why.

    ``error`` is the greatest disagreement that was measured and ``bound`` what the witness allows, both relative.
    """

    ok: bool | None
    how: str
    error: float = 0.0
    bound: float = 0.0

    @property
    def word(self) -> str:
        """``verified``, ``NOT VERIFIED`` or ``undecided``."""
        return "undecided" if self.ok is None else "verified" if self.ok else "NOT VERIFIED"


@dataclass(frozen=True, slots=True)
class Listing:
    """A function of the user's: its file, and its lines with their numbers (none where there is no source)."""

    function: str
    file: str
    lines: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Input:
    """An argument (or an array met along the way, ``captured``); ``path`` is how the user addresses it."""

    name: str
    path: str
    leaf: Leaf
    shape: tuple[int, ...]
    dtype: str
    value: Any
    captured: bool = False
    #: Empty where it is not differentiated by.
    adjoint: Adjoint | None = None
    #: Of arguments that stand in a row here, one a pass of a loop: how many (``value`` and adjoint are stacked).
    passes: int = 0


@dataclass(frozen=True, slots=True)
class Partial:
    """A local derivative: of one step, in one of its operands.

    As a ``partial`` the expression is the derivative itself; as a ``pullback`` it is the operand's adjoint, computed
    from that of the result (what a matrix product, a sum or an index does is a whole array of partials).
    """

    operand: Leaf
    form: str
    expr: Expr | None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Local:
    """A kind of step with its local derivatives, in letters of its own (y from u, v, w): first-year calculus."""

    words: str
    result: Leaf
    expr: Expr
    partials: tuple[Partial, ...]
    domain: str
    convention: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contribution:
    """A term of an adjoint: what reaches the variable through one step that reads it.

    ``consumer`` is the label of the step, ``summed`` are the axes over which the term is added up because the operand
    was spread along them.
    """

    consumer: str
    expr: Expr | None
    value: Any
    verdict: Verdict
    summed: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    #: The leaf of the step's result, by whose adjoint the term is driven.
    through: Leaf | None = None


@dataclass(frozen=True, slots=True)
class Adjoint:
    """The derivative of the result with respect to a variable: the sum of its contributions.

    ``value`` is what the sweep of backpropagation computed, ``verdict`` says whether the line shown gives the same.
    ``seed`` marks the base case, the adjoint of the result itself, which is 1.
    """

    leaf: Leaf
    contributions: tuple[Contribution, ...]
    expr: Expr | None
    value: Any
    verdict: Verdict
    seed: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One step as a reader sees it. ``kind``: ``step``, ``group`` (has ``parts``, can be opened), ``loop`` (``body``).

    A loop is told once, with the index ``letter`` from ``first`` on, ``trips`` times; ``base`` and ``carried`` say how
    it begins and what goes from one pass to the next.
    """

    #: ``3``, and within an opened step ``3.1``.
    label: str
    name: str
    leaf: Leaf
    kind: str
    words: str
    shape: tuple[int, ...]
    dtype: str
    place: Place | None
    expr: Expr | None
    #: The names of what it reads, and the labels of the items that read it.
    reads: tuple[str, ...]
    consumers: tuple[str, ...]
    partials: tuple[Partial, ...]
    #: None where the result does not depend on the arguments through it.
    adjoint: Adjoint | None
    value: Any
    verdict: Verdict
    parts: tuple[Item, ...] = ()
    #: What is assigned here but not differentiated through (a comparison, an integer) says so.
    discrete: bool = False
    body: tuple[Item, ...] = ()
    letter: str = ""
    trips: int = 0
    induction: tuple[str, ...] = ()
    carries: tuple[Carry, ...] = ()
    #: The positions of the program's steps that this item stands for.
    steps: tuple[int, ...] = ()
    convention: str = ""

    def walk(self) -> Iterator[Item]:
        """The item, its parts and its body, from the outside in."""
        yield self
        for one in (*self.parts, *self.body):
            yield from one.walk()


@dataclass(frozen=True, slots=True)
class Carry:
    """What a loop hands from one pass to the next: ``leaf`` at the start is ``initial``, after a pass ``next``."""

    leaf: Leaf
    initial: Expr
    next: Expr


@dataclass(frozen=True, slots=True)
class Gradient:
    """The result, for one argument: in closed form where that fits (``closed``), else as its adjoint's line."""

    name: str
    leaf: Leaf
    closed: Expr | None
    value: Any


@dataclass(frozen=True, slots=True)
class WholeCheck:
    """The whole gradient against finite differences, and what each way costs.

    ``entries`` of ``size`` entries were differenced one by one (all, if they are few), the others together along
    random directions. ``operations`` of the function, and of the sweep that gives its value and gradient.
    """

    verdict: Verdict
    size: int
    entries: int
    evaluations: int
    operations: float
    gradient_operations: float

    @property
    def ratio(self) -> float:
        """Operations of value and gradient together, over those of the function."""
        return self.gradient_operations / self.operations if self.operations else float("nan")


@dataclass(frozen=True)
class Derivation:
    """The derivation of the gradient of a scalar function at a point; made by :func:`chainrule.derive`.

    ``print(d)`` writes it as text, ``d.latex()`` as LaTeX, ``d.html(path)`` as a page; ``d.why(name, index)`` and
    ``d.where_nonfinite()`` answer questions. Every number in it was computed at the call that made it.
    """

    function: str
    listings: tuple[Listing, ...]
    argnums: tuple[int, ...]
    inputs: tuple[Input, ...]
    items: tuple[Item, ...]
    locals: tuple[Local, ...]
    output: Leaf
    value: Any
    gradient: tuple[Gradient, ...]
    check: WholeCheck
    #: Choices that the function made at this point ("x[0] > 0 is True"): the derivation holds while they do.
    choices: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    story: Story | None = field(default=None, repr=False, compare=False)
    #: Function, arguments, keyword arguments and argnums of the call, for the forms that trace it again.
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any] | None = field(
        default=None, repr=False, compare=False
    )

    # -- looking things up

    def walk(self) -> Iterator[Item]:
        """Every item, those inside of groups and loops included."""
        for item in self.items:
            yield from item.walk()

    def find(self, name: str) -> Item | Input:
        """The step or the argument of this name (``z1``, ``v3``, or an argument's path such as ``p['w']``).

        Raises ArgumentError with the names that there are.
        """
        return _form("questions", "find")(self, name)  # type: ignore[no-any-return]

    @property
    def unverified(self) -> tuple[str, ...]:
        """The names of the steps that the numbers speak against."""
        return tuple(dict.fromkeys(item.name for item in self.walk() if item.verdict.ok is False))

    # -- questions

    def why(self, name: str, index: Any = ()) -> Any:
        """Why the gradient with respect to an entry is what it is: by which paths the entry reaches the result."""
        return _form("questions", "why")(self, name, index)

    def where_nonfinite(self) -> Any:
        """The first step at which a value, or an adjoint, became infinite or NaN, and the factors that made it."""
        return _form("questions", "where_nonfinite")(self)

    # -- forms

    def text(self, width: int = 100, *, colour: bool = False) -> str:
        """The derivation as text for a terminal of this width."""
        return str(_form("text", "text")(self, width=width, colour=colour))

    def latex(self, *, standalone: bool = False) -> str:
        """The derivation as LaTeX: a fragment, or a document that compiles as it is."""
        return str(_form("latex", "latex")(self, standalone=standalone))

    def html(self, path: str | Path | None = None) -> str:
        """The derivation as one self-contained page; written to ``path`` if that is given."""
        made = str(_form("page", "page")(self))
        if path is not None:
            Path(path).write_text(made, encoding="utf-8")
        return made

    def numpy_source(self) -> str:
        """Value and gradient as a module of plain NumPy, without chainrule: what ``chainrule.to_numpy`` writes."""
        return self._source("to_numpy")

    def c_source(self) -> str:
        """Value and gradient as self-contained C99: what ``chainrule.to_c`` writes."""
        return self._source("to_c")

    def _source(self, writer: str) -> str:
        from chainrule import export
        from chainrule.operators import value_and_grad

        if self.call is None:
            raise ArgumentError(
                "this derivation was made without its function", cure="ask one that chainrule.derive made"
            )
        function, args, kwargs, argnums = self.call
        write = getattr(export, writer, None)
        if write is None:
            raise NoRule(f"this version of chainrule has no {writer}", cure="take numpy_source()")
        return str(write(value_and_grad(function, argnums), *args, **kwargs))

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        state = "verified" if not self.unverified else f"NOT VERIFIED: {', '.join(self.unverified)}"
        open_ones = sum(item.verdict.ok is None for item in self.items)
        if open_ones and not self.unverified:
            state = f"verified but for {open_ones}, where the numbers can not decide"
        return f"<Derivation of {self.function}: {len(self.items)} steps, {state}>"

    def _repr_html_(self) -> str:
        from chainrule.derive.page import embedded

        return embedded(self)

    def _repr_latex_(self) -> str:
        return self.latex()
