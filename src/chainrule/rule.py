"""What the library knows of one primitive, as data: the kinds of rule, and the table that holds them all."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "FUNCTIONS",
    "IDENTITIES",
    "LAZY",
    "RULES",
    "UFUNCS",
    "Control",
    "Cost",
    "Discrete",
    "Elementwise",
    "Gather",
    "Index",
    "Loop",
    "Opaque",
    "Rule",
    "Undefined",
    "View",
    "apply",
    "implements",
    "load_for",
    "load_module",
    "register",
    "rule_named",
]

#: A partial derivative: a number, or code ``(y, *arguments) -> array`` that runs on numbers and on recorded values.
Partial = Any
#: Shapes and dtypes: rules are handed objects with ``.shape``, ``.ndim``, ``.size`` and ``.dtype``.
Types = Sequence[Any]


class Undefined:
    """The partial of an argument in which there is no derivative (an integer order, a boolean): asking is an error."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"Undefined({self.why!r})"


@dataclass(frozen=True, slots=True)
class Cost:
    """Work per element of the result: floating-point operations, and calls of the maths library."""

    flops: float
    calls: float = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class View:
    """How a view and its base hang together.

    ``write_back(whole, part, params, *index)`` is the base after ``part`` was written through the view that the rule
    made with these further arguments (None: read-only).
    ``kind(whole, part, params, layout)`` says, from the types of base and view, what NumPy makes: ``"view"``,
    ``"copy"``, or ``"either"`` where that can not be known; ``layout()`` gives an array with the base's strides and no
    memory of its own, or None. ``apply(layout, index, params)`` gives the layout of the view.
    ``by_key``: the first parameter is an index. ``reorders``: elements of the view of a C-ordered block are in another
    order; ``disorders(params)`` says so of the copy.
    """

    write_back: Callable[..., Any] | None
    kind: Callable[..., str]
    apply: Callable[..., Any]
    by_key: bool = False
    reorders: bool = False
    disorders: Callable[..., bool] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rule:
    """What every kind of rule states. All facets without a default are required: an incomplete rule is a TypeError.

    ``value(*arguments, *params)`` computes it with NumPy. ``latex`` has ``{0}``, ``{1}``... for the arguments and
    ``{name}`` for the parameters. ``cost(types, params, outs)`` (or a ``Cost`` per element) is its work.
    ``points`` are argument lists for the tests: ``((arguments...), (params...))``.
    """

    name: str
    value: Callable[..., Any]
    latex: str
    cost: Any
    params: tuple[str, ...] = ()
    points: Any = ()
    #: True where the result may share memory with its first argument.
    aliases: bool = False
    #: Of a rule whose result is, in NumPy, a view of its first argument: what a tracer must know of it.
    view: View | None = None
    #: Of two in a row only the last one matters (reshape).
    merges: bool = False
    #: The same as ``value``, but overwriting its first argument; None where there is no such form.
    update: Callable[..., Any] | None = None
    #: True where ``value`` may raise for some values (a singular matrix), which the user's code may want to catch.
    raises: bool = False
    #: What happens at kinks and singular points, a sentence for readers.
    convention: str = ""
    #: The name of the rule that does the same at a position that depends on the number of an iteration.
    moving: str = ""
    #: Of a rule that reads numbers of iterations: what it is when they are literals. ``settle(operands, params)`` gives
    #: the static ``(rule, operands, params)``, or a bare number; None where a number is not known.
    settle: Callable[..., Any] | None = None
    #: What compiled code does, by a name that ``chainrule.native`` knows: ``"reduce maximum"``, ``"scan add"``. Where
    #: it knows none it asks Python for ``value``. The C that ``chainrule.derive`` writes goes by the same names.
    native: str = ""
    #: How tightly the LaTeX binds: 12 a name, 10 a function or fraction, 8 a power, 6 a product, 4 a sum, 3 a relation.
    binds: int = 10
    #: The LaTeX between two arrays, where that differs (a product of numbers, and entry by entry).
    entrywise: str = ""
    #: What readers call it, where that is not its name (``matrix product``).
    words: str = ""
    #: What it is in the algebra of real numbers (``times``, ``over``, ``plus``...), for identities that are read.
    algebra: str = ""
    #: How it is written in plain NumPy: a Python expression with ``{0}``, ``{1}``... for the arguments, ``{*}`` for all
    #: of them and ``{name}`` for the parameters, or code ``(types, params, numbers)`` that gives such an expression;
    #: ``numbers`` are the arguments that are bare numbers, and None for the others. Of a rule with ``update`` it is a
    #: statement that overwrites ``{0}``; ``{call:f}`` is the function f of the rule's own module, which is printed too.
    #: Empty: ``value`` is called, a function of NumPy or SciPy by its name.
    source: Any = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} rule {self.name}>"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Elementwise(Rule):
    """One number from each of one to three numbers; the engine broadcasts, batches and differentiates.

    ``partials`` has one entry an argument. ``domain`` gives for each argument the interval that tests draw from.
    ``selects`` says that the result is one of the arguments (where, maximum): a NaN in the arguments not chosen
    never reaches the gradient. ``neutral`` is a value c with ``rule(x, c)`` exactly x for every float (or None for
    each argument position); ``involution`` says that the rule undoes itself.
    """

    nin: int
    partials: tuple[Partial, ...]
    native: str
    domain: tuple[tuple[float, float], ...]
    dtype: Callable[[Sequence[Any]], Any] | None = None
    selects: bool = False
    #: True where a partial is infinite or NaN at some finite arguments (sqrt at 0), or a function of the arguments that
    #: says so (x**2 is not singular, x**0.5 is).
    singular: Any = False
    #: Users choose by it what is to be left out (``where``, ``fmax``): a NaN in *any* function above an argument that
    #: was not chosen is kept out, not only one from a singular point.
    shields: bool = False
    #: The rule is ``where``: its first argument chooses between the other two.
    chooses: bool = False
    neutral: tuple[Any, ...] = ()
    involution: bool = False

    def __post_init__(self) -> None:
        if len(self.partials) != self.nin or len(self.domain) != self.nin:
            msg = f"rule {self.name}: {self.nin} arguments need as many partials and domains"
            raise TypeError(msg)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Index(Rule):
    """A sum of products given by letters, e.g. ``"ik,kj->ij"``: linear in each argument by itself.

    ``letters(types, params)`` gives ``(input letters, output letters)``, ``infer(types, params)`` the result's
    ``(shape, dtype)``, ``contract(inputs, output, arguments, extents)`` writes any such sum with rules of this kind.
    """

    letters: Callable[[Types, tuple[Any, ...]], tuple[tuple[str, ...], str]]
    infer: Callable[[Types, tuple[Any, ...]], tuple[tuple[int, ...], Any]]
    contract: Callable[..., Any]
    batch: Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Gather(Rule):
    """Says where each element comes from: linear in its ``linear`` arguments taken together.

    ``transpose(k, g, types, arguments, params)`` is the adjoint of argument ``k``: a scatter.
    ``batch(batched, size, arguments, params)`` does it with a leading axis on the arguments marked ``batched``.
    """

    infer: Callable[[Types, tuple[Any, ...]], tuple[tuple[int, ...], Any]]
    transpose: Callable[..., Any]
    batch: Callable[..., Any]
    #: The positions of the linear arguments; the others are integer indices. None: all.
    linear: tuple[int, ...] | None = None
    #: True where the result is the first argument plus something, so that a sum of such results is one chain.
    adds: bool = False
    #: ``lands(whole, k, types, params)``: the part of the result, as a view of ``whole``, that argument ``k`` is put
    #: in, broadcast: later arguments over earlier ones, or added to them if ``adds``. None where only values can tell.
    lands: Callable[..., Any] | None = None
    #: ``holes(whole, params)`` of an index by integer arrays: the part of the indexed array, as a view of ``whole``,
    #: that is met when every index is 0; the ``(stride, extent)`` of the axis that each index array goes along; the
    #: axis of the part at which the axes of the index arrays stand in the result.
    holes: Callable[..., Any] | None = None
    #: ``moves(whole, params)`` of a position that depends on numbers of iterations: the part of the array where every
    #: moving position is 0, as a view of ``whole``, and for each of these ``(stride, extent, start, span, factors)``:
    #: it is at ``start + factors . numbers`` and as long as ``span`` (0: one place, counted from the end if negative).
    moves: Callable[..., Any] | None = None
    #: ``takes(whole, k, params)``: the part of argument ``k``, as a view of ``whole``, that is put where it lands.
    takes: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Opaque(Rule):
    """Stated in both directions by hand.

    ``infer(types, params)`` gives a ``(shape, dtype)``, or a list of them for several results;
    ``forward(tangents, y, arguments, params)`` the tangent of the result (``None`` stands for a zero tangent);
    ``pullback(g, y, arguments, params, wanted)`` the adjoints, one an argument (``None`` for zero or not wanted);
    ``batch(batched, size, arguments, params)`` the rule with a leading axis.
    """

    infer: Callable[[Types, tuple[Any, ...]], Any]
    forward: Callable[..., Any]
    pullback: Callable[..., Any]
    batch: Callable[..., Any]
    outputs: int = 1
    #: True where the result is one of the entries (max): a NaN among the others never reaches the gradient.
    selects: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Discrete(Rule):
    """The result is an integer, a boolean or piecewise constant, so its derivative is zero wherever it exists."""

    infer: Callable[[Types, tuple[Any, ...]], tuple[tuple[int, ...], Any]]
    batch: Callable[..., Any]
    #: As that of a Gather.
    holes: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Control(Rule):
    """A step that holds Programs (in ``params``); transforms enter them.

    ``expand(builder, arguments, params)`` writes the steps of the held programs out, and gives the results. Where an
    argument or a result has one entry an iteration, it may be the list of the entries.
    """

    infer: Callable[[Types, tuple[Any, ...]], Any]
    expand: Callable[..., Any]
    outputs: int = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class Loop(Control):
    """The step that runs a Program several times; its parameters are (body, trips, carries, sequences, reverse).

    The body is given the number of the iteration, the carries, one entry of each sequence, and the invariants. It
    gives the carries of the next iteration, then results, which are stacked in the order of the numbers. ``reverse``
    goes from the last number to the first.

    Three rules stand beside it: ``pack(*entries; dtype, runs)`` makes one array of what the iterations take (an
    argument with a run ``(start, stop, step)`` stands for these entries of it), ``unpack(array; entry)`` takes one
    entry, ``number(*numbers; start, strides, dtype, weak)`` is a number that grows by a fixed amount.
    """

    pack: Rule
    unpack: Rule
    number: Rule


#: Every rule by its name.
RULES: dict[str, Rule] = {}
#: NumPy's and SciPy's ufuncs (and functions that are elementwise) -> their rule.
UFUNCS: dict[Any, Elementwise] = {}
#: NumPy's, SciPy's and Python's functions -> code with their signature, written with functions that have a rule.
FUNCTIONS: dict[Any, Callable[..., Any]] = {}

#: Pairs of functions of numbers that are equal for all reals: the second one is plainer to read.
IDENTITIES: list[tuple[Callable[..., Any], Callable[..., Any]]] = []


def register(rule: Any, *functions: Any) -> Any:
    """Put a rule into the table, under its name and under the functions that users call."""
    if rule.name in RULES:
        msg = f"two rules are named {rule.name}"
        raise TypeError(msg)
    RULES[rule.name] = rule
    for function in functions:
        if isinstance(rule, Elementwise):
            UFUNCS[function] = rule
        else:
            FUNCTIONS[function] = lambda *arguments, _rule=rule: apply(_rule, arguments)
    return rule


def implements(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say that the decorated code, written with functions that have a rule, is what ``functions`` do."""

    def keep(code: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            if function in FUNCTIONS:
                msg = f"{function!r} is implemented twice"
                raise TypeError(msg)
            FUNCTIONS[function] = code
        return code

    return keep


def apply(rule: Rule, arguments: Sequence[Any], params: tuple[Any, ...] = ()) -> Any:
    """Record the rule where an argument is being recorded, else compute its value."""
    top = None
    for argument in arguments:
        level = getattr(argument, "_chainrule_level", None)
        if level is not None and (top is None or level > top._chainrule_level):
            top = argument
    if top is None:
        return rule.value(*arguments, *params)
    return top._chainrule_record(rule, arguments, params)


# --- rules of modules that may never be imported --------------------------------------------------------------------

#: A module of users' functions -> the module with its rules, which is imported when the first of them is met.
LAZY = {
    "scipy.linalg": "chainrule.rules.scipy_linalg",
    "scipy.special": "chainrule.rules.special",
}


def load_module(home: str) -> bool:
    """Import the rules of the functions in the module ``home``; say whether they were missing until now."""
    rules = LAZY.get(home)
    if rules is None or rules in sys.modules:
        return False
    importlib.import_module(rules)
    return True


def load_for(function: Any) -> bool:
    """Import the rules of the module that ``function`` is from; say whether they were missing until now."""
    for home, rules in LAZY.items():
        module = sys.modules.get(home)
        if module is None or rules in sys.modules:
            continue
        # By identity: a ufunc does not know its module, and some go by several names.
        if getattr(module, getattr(function, "__name__", ""), None) is function or any(
            one is function for one in vars(module).values()
        ):
            return load_module(home)
    return False


def rule_named(name: str) -> Rule | None:
    """The rule of this name, in whichever module of rules it is."""
    for home in LAZY:
        if name in RULES:
            break
        load_module(home)
    return RULES.get(name)
