"""The Program: a typed, straight-line list of steps, made by ``trace`` and ``transforms``; verified and priced here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from chainrule.containers import Structure
from chainrule.errors import NoRule, ProgramError, ShapeError
from chainrule.rule import RULES, Control, Cost, Discrete, Elementwise, Gather, Index, Opaque, Rule
from chainrule.source import Site, assigned_name, excerpt

__all__ = ["ArrayType", "Literal", "Operand", "Program", "ProgramCost", "Step", "Var", "array_type", "infer", "literal"]

#: A variable is its number: the position of its type in ``Program.types``.
Var: TypeAlias = int


class ArrayType:
    """Shape and dtype of a variable; interned, so that tables of types are looked up by identity."""

    __slots__ = ("dtype", "ndim", "shape", "size")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        size = 1
        for extent in shape:
            size *= extent
        self.size = size

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


_TYPES: dict[tuple[tuple[int, ...], np.dtype[Any]], ArrayType] = {}


def array_type(shape: tuple[int, ...], dtype: Any) -> ArrayType:
    """The one ArrayType of this shape and dtype."""
    key = (shape, dtype)
    found = _TYPES.get(key)
    if found is None:
        dtype = np.dtype(dtype)
        if not dtype.isnative:
            dtype = dtype.newbyteorder("=")
        found = _TYPES.setdefault((shape, dtype), ArrayType(shape, dtype))
        _TYPES[key] = found
    return found


class Literal:
    """A Python or NumPy scalar in a program. A Python scalar is weak: it takes the dtype of what it meets (NEP 50)."""

    __slots__ = ("dtype", "ndim", "shape", "size", "type", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.shape: tuple[int, ...] = ()
        self.ndim = 0
        self.size = 1
        kind = type(value)
        #: The Python type of a weak scalar, else an ArrayType.
        self.type: Any = (
            kind if kind is float or kind is int or kind is complex else array_type((), np.asarray(value).dtype)
        )
        self.dtype: Any = kind if self.type is kind else self.type.dtype

    def __repr__(self) -> str:
        value = self.value
        if isinstance(value, np.generic):
            return f"{value.dtype.name}({value.item()!r})"
        return repr(value)


_LITERALS: dict[Any, Literal] = {}


def literal(value: Any) -> Literal:
    """The one Literal of this value (0.0 and -0.0 differ, so do 1 and 1.0 and True)."""
    kind = type(value)
    key = (kind, value) if value and value == value else (kind, repr(value))  # noqa: PLR0124 - NaN is not itself
    found = _LITERALS.get(key)
    if found is None:
        if len(_LITERALS) > 20_000:
            _LITERALS.clear()
        found = _LITERALS[key] = Literal(value)
    return found


Operand: TypeAlias = Var | Literal


class Step(NamedTuple):
    """One application of a rule: ``outputs = rule(inputs; params)``."""

    rule: Rule
    inputs: tuple[Operand, ...]
    params: tuple[Any, ...]
    outputs: tuple[Var, ...]


class ProgramCost(NamedTuple):
    """Work of one run: floating-point operations, calls of the maths library, bytes read and written."""

    flops: float
    calls: float
    bytes: float

    @property
    def operations(self) -> float:
        """Floating-point operations, a call of the maths library counted as 20 of them."""
        return self.flops + 20 * self.calls


# --- types of results ---------------------------------------------------------------------------------------------

_INFERRED: dict[Any, tuple[ArrayType, ...]] = {}


def infer(rule: Rule, types: tuple[Any, ...], params: tuple[Any, ...]) -> tuple[ArrayType, ...]:
    """Types of a rule's results; ``types`` are ArrayTypes, or ``float``/``int`` for weak scalars.

    Raises ShapeError (a ValueError) where NumPy would.
    """
    key = (rule, types, params)
    found = _INFERRED.get(key)
    if found is None:
        if len(_INFERRED) > 50_000:
            _INFERRED.clear()
        found = _INFERRED[key] = _infer(rule, types, params)
    return found


def _infer(rule: Rule, types: tuple[Any, ...], params: tuple[Any, ...]) -> tuple[ArrayType, ...]:
    if isinstance(rule, Elementwise):
        shapes = [kind.shape for kind in types if isinstance(kind, ArrayType)]
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            listed = " ".join(str(one).replace(" ", "") for one in shapes)
            raise ShapeError(
                f"operands could not be broadcast together with shapes {listed} (in {rule.name})"
            ) from None
        return (array_type(shape, _elementwise_dtype(rule, types)),)
    strong = [kind if isinstance(kind, ArrayType) else array_type((), np.dtype(kind)) for kind in types]
    assert isinstance(rule, Index | Gather | Opaque | Discrete | Control)
    made = rule.infer(strong, params)
    if isinstance(made, list):
        return tuple(array_type(tuple(shape), np.dtype(dtype)) for shape, dtype in made)
    shape, dtype = made
    return (array_type(tuple(shape), np.dtype(dtype)),)


def _elementwise_dtype(rule: Elementwise, types: tuple[Any, ...]) -> Any:
    given = [kind.dtype if isinstance(kind, ArrayType) else kind for kind in types]
    if rule.dtype is not None:
        return rule.dtype(given)
    try:
        return rule.value.resolve_dtypes((*given, None))[-1]  # type: ignore[attr-defined]
    except TypeError as refusal:
        raise NoRule(f"{rule.name} is not defined for {', '.join(map(str, given))}: {refusal}") from None


# --- the program --------------------------------------------------------------------------------------------------


class Program:
    """A typed, straight-line list of steps: immutable by convention, compared by structure.

    ``inputs`` are given at each run; ``captures`` are arrays met along the way, held in ``constants``; ``outputs`` are
    variables or literals. ``names`` and ``sites`` (by variable) say what the user calls things and where they were
    made; they do not enter comparison.
    """

    __slots__ = (
        "_bodies",
        "_key",
        "_plan",
        "captures",
        "constants",
        "guards",
        "inputs",
        "name",
        "names",
        "out_tree",
        "outputs",
        "sites",
        "steps",
        "types",
    )

    def __init__(
        self,
        *,
        name: str,
        types: Sequence[ArrayType],
        inputs: Sequence[Var],
        steps: Sequence[Step],
        outputs: Sequence[Operand],
        captures: Sequence[Var] = (),
        constants: Sequence[Any] = (),
        guards: Sequence[tuple[Var, Any]] = (),
        sites: dict[Var, Site] | None = None,
        names: dict[Var, Any] | None = None,
        out_tree: Structure | None = None,
    ) -> None:
        self.name = name
        self.types = list(types)
        self.inputs = tuple(inputs)
        self.steps = list(steps)
        self.outputs = tuple(outputs)
        self.captures = tuple(captures)
        self.constants = tuple(constants)
        self.guards = tuple(guards)
        self.sites = sites or {}
        self.names = names or {}
        self.out_tree = out_tree
        #: How it is run, and how as the body of a loop with so many carries.
        self._plan: Any = None
        self._bodies: dict[int, Any] = {}
        self._key: Any = None

    # -- identity

    @property
    def key(self) -> Any:
        """What makes two programs the same: everything but names, sites, contents of captured arrays."""
        if self._key is None:
            self._key = (
                self.inputs,
                self.captures,
                tuple([self.types[var] for var in (*self.inputs, *self.captures)]),
                tuple(self.steps),
                self.outputs,
            )
        return self._key

    def _normal(self) -> tuple[Any, ...]:
        """The key under a numbering of variables by first appearance."""
        number: dict[Var, int] = {}
        for var in (*self.inputs, *self.captures):
            number[var] = len(number)
        steps = []
        for step in self.steps:
            for var in step.outputs:
                number[var] = len(number)
            held = tuple(one._normal() if isinstance(one, Program) else one for one in step.params)
            ins = tuple(one if isinstance(one, Literal) else number[one] for one in step.inputs)
            steps.append((step.rule.name, ins, held, tuple(number[var] for var in step.outputs)))
        types = tuple(repr(self.types[var]) for var in number)
        outs = tuple(one if isinstance(one, Literal) else number[one] for one in self.outputs)
        guards = tuple((number[var], value) for var, value in self.guards)
        return len(self.inputs), len(self.captures), types, tuple(steps), outs, guards

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Program) and self._normal() == other._normal())

    def __hash__(self) -> int:
        # Not by variables: programs that only number them differently are equal.
        return hash((len(self.inputs), len(self.outputs), *[step.rule.name for step in self.steps[:64]]))

    def __len__(self) -> int:
        return len(self.steps)

    def type_of(self, operand: Operand) -> Any:
        """The ArrayType of a variable, or the type of a literal."""
        return operand.type if isinstance(operand, Literal) else self.types[operand]

    def given_names(self) -> dict[Var, str]:
        """The names that were given to variables, before they are made unique and readable."""
        return {var: name for var, name in self.names.items() if isinstance(name, str)}

    def readable_names(self) -> dict[Var, str]:
        """A unique, readable name for each variable: the user's where there is one."""
        return _readable_names(self)

    # -- text

    def __str__(self) -> str:
        from chainrule.program_text import to_text

        return to_text(self)

    def __repr__(self) -> str:
        return f"<Program {self.name}: {len(self.inputs)} inputs, {len(self.steps)} steps>"

    @staticmethod
    def parse(text: str, constants: Sequence[Any] = ()) -> Program:
        """The program that ``str(program)`` printed; ``constants`` are the arrays of its captures.

        Raises ProgramError where the text is not a well-formed program.
        """
        from chainrule.program_text import parse

        return parse(text, constants)

    # -- correctness

    def verify(self) -> Program:
        """Return the program if it is well-formed; raise ProgramError, with an arrow at the step, if not."""
        defined: set[Var] = set()
        for var in (*self.inputs, *self.captures):
            if var in defined or not 0 <= var < len(self.types):
                raise self._ill("an input is declared twice or has no type", None)
            defined.add(var)
        if len(self.captures) != len(self.constants):
            raise self._ill(f"{len(self.captures)} captures but {len(self.constants)} constants", None)
        for var, constant in zip(self.captures, self.constants, strict=True):
            kind = self.types[var]
            if constant is not None and (tuple(constant.shape) != kind.shape or constant.dtype != kind.dtype):
                raise self._ill(
                    f"capture v{var} is declared {kind!r}, its constant is {constant.dtype}{list(constant.shape)}", None
                )
        for number, step in enumerate(self.steps):
            self._verify_step(step, number, defined)
            defined.update(step.outputs)
        for operand in self.outputs:
            if not isinstance(operand, Literal) and operand not in defined:
                raise self._ill(f"result v{operand} is never computed", None)
        for var, _ in self.guards:
            if var not in defined:
                raise self._ill(f"guarded v{var} is never computed", None)
        return self

    def _verify_step(self, step: Step, number: int, defined: set[Var]) -> None:
        if RULES.get(step.rule.name) is not step.rule:
            raise self._ill(f"{step.rule.name!r} is not a rule of the table", number)
        for operand in step.inputs:
            if not isinstance(operand, Literal) and operand not in defined:
                raise self._ill(f"v{operand} is used before it is computed", number)
        for var in step.outputs:
            if var in defined or not 0 <= var < len(self.types):
                raise self._ill(f"v{var} is computed twice or has no type", number)
        if len(step.params) != len(step.rule.params):
            raise self._ill(f"{step.rule.name} has parameters {step.rule.params}, got {step.params!r}", number)
        for held in step.params:
            if isinstance(held, Program):
                held.verify()
        if isinstance(step.rule, Elementwise) and len(step.inputs) != step.rule.nin:
            raise self._ill(f"{step.rule.name} takes {step.rule.nin} arguments, got {len(step.inputs)}", number)
        try:
            outs = infer(step.rule, tuple(map(self.type_of, step.inputs)), step.params)
        except Exception as refusal:
            raise self._ill(f"{step.rule.name} refuses its arguments: {refusal}", number) from refusal
        if outs != tuple(self.types[var] for var in step.outputs):
            declared = ", ".join(repr(self.types[var]) for var in step.outputs)
            raise self._ill(f"declared {declared}, but {step.rule.name} gives {', '.join(map(repr, outs))}", number)

    def _ill(self, what: str, number: int | None) -> ProgramError:
        if number is None:
            return ProgramError(f"ill-formed program {self.name}: {what}")
        step = self.steps[number]
        shown = f"{', '.join(f'v{var}' for var in step.outputs)} = {step.rule.name}{step.inputs!r} {step.params!r}"
        site = self.sites.get(step.outputs[0]) if step.outputs else None
        return ProgramError(
            f"ill-formed program {self.name}, step {number}: {what}",
            where=f"  --> {shown}\n{excerpt(site)}".rstrip(),
            cure="this is a mistake in chainrule, or in the text that was parsed; please report it with the program",
        )

    # -- work

    def cost(self) -> ProgramCost:
        """Floating-point operations, maths-library calls and bytes moved, by the rules' own figures."""
        flops = calls = moved = 0.0
        for step in self.steps:
            one = step_cost(self, step)
            flops, calls, moved = flops + one.flops, calls + one.calls, moved + one.bytes
        return ProgramCost(flops, calls, moved)

    def run(self, inputs: Sequence[Any], constants: Sequence[Any] | None = None) -> list[Any]:
        """The results for these inputs (arrays or numbers of the declared types), through NumPy.

        Floating-point warnings are not raised: infinities and NaN go where IEEE 754 says.
        """
        plan = self._plan
        if plan is None:
            from chainrule.run import plan_of

            plan = self._plan = plan_of(self)
        return plan(inputs, self.constants if constants is None else constants)  # type: ignore[no-any-return]

    def repeat(
        self, arguments: Sequence[Any], trips: int, carries: int, sequences: int, reverse: bool = False
    ) -> list[Any]:
        """The results of running the program as the body of a loop (see ``rule.Loop``), through NumPy."""
        from chainrule.run import plan_of_body, repeated

        planned = self._bodies.get(carries)
        if planned is None:
            planned = self._bodies[carries] = plan_of_body(self, carries)
        return repeated(self, planned, arguments, trips, carries, sequences, reverse)

    def take_plan(self, plan: Any) -> None:
        """Run by this function of (inputs, constants) from now on."""
        self._plan = plan

    def last_uses(self) -> Iterator[tuple[int, tuple[Var, ...]]]:
        """For each step the variables that nothing reads after it."""
        seen: set[Var] = {one for one in self.outputs if not isinstance(one, Literal)}
        dead: list[tuple[Var, ...]] = []
        for step in reversed(self.steps):
            ending = [one for one in (*step.inputs, *step.outputs) if not isinstance(one, Literal) and one not in seen]
            seen.update(ending)
            dead.append(tuple(dict.fromkeys(ending)))
        return iter(enumerate(reversed(dead)))


def step_cost(program: Program, step: Step) -> ProgramCost:
    """Work of one step."""
    outs = [program.types[var] for var in step.outputs]
    ins = [program.types[one] for one in step.inputs if not isinstance(one, Literal)]
    moved = float(sum(kind.size * kind.dtype.itemsize for kind in (*ins, *outs)))
    cost = step.rule.cost
    if not isinstance(cost, Cost):
        types = [
            one.type
            if isinstance(one, Literal) and isinstance(one.type, ArrayType)
            else array_type((), np.dtype(np.float64))
            if isinstance(one, Literal)
            else program.types[one]
            for one in step.inputs
        ]
        cost = cost(types, step.params, outs)
        assert isinstance(cost, Cost)
        return ProgramCost(cost.flops, cost.calls, 0.0 if step.rule.aliases else moved)
    size = sum(kind.size for kind in outs)
    return ProgramCost(cost.flops * size, cost.calls * size, 0.0 if step.rule.aliases else moved)


def _readable_names(program: Program) -> dict[Var, str]:
    wanted: dict[Var, Any] = dict(program.names)
    for position, step in enumerate(program.steps):
        if not step.outputs or step.outputs[0] in wanted:
            continue
        site = program.sites.get(step.outputs[0])
        if site is None:
            continue
        # NumPy functions of several steps share one site: only the last of them is what the user assigned.
        following = program.steps[position + 1] if position + 1 < len(program.steps) else None
        if following is not None and following.outputs and program.sites.get(following.outputs[0]) is site:
            continue
        if len(step.outputs) == 1:
            wanted[step.outputs[0]] = assigned_name(site)
    taken: set[str] = set()
    names: dict[Var, str] = {}
    counts: dict[str, int] = {}
    order = [*program.inputs, *program.captures, *(var for step in program.steps for var in step.outputs)]
    for position, var in enumerate(order):
        name = wanted.get(var)
        if isinstance(name, tuple):
            # The adjoint or the tangent of another variable is named after it.
            name = f"{name[0]}{names[name[1]]}" if name[1] in names and not names[name[1]].startswith("v") else None
        if name is None or not _is_name(name):
            name = None if name is None else _as_name(name)
        if name is None:
            name = f"c{position}" if var in program.captures else f"v{position}"
        unique = name
        while unique in taken:
            counts[name] = counts.get(name, 1) + 1
            unique = f"{name}_{counts[name]}"
        taken.add(unique)
        names[var] = unique
    return names


def _is_name(name: str) -> bool:
    return name.isidentifier() and name not in _RESERVED


_RESERVED = frozenset({"program", "return", "guard", "where", "inf", "nan", "True", "False", "None", "array"})


def _as_name(path: str) -> str | None:
    kept = "".join(char if char.isalnum() or char == "_" else "_" for char in path).strip("_")
    while "__" in kept:
        kept = kept.replace("__", "_")
    if kept and not kept[0].isidentifier():
        kept = f"x_{kept}"
    return sys.intern(kept) if kept and _is_name(kept) else None
