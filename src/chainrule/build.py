"""The recorder that rules and transforms write programs with: NumPy code on recorded values -> steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.errors import NoRule, ProgramError, TraceError
from chainrule.program import ArrayType, Literal, Operand, Program, Step, Var, array_type, infer, literal
from chainrule.rule import FUNCTIONS, RULES, UFUNCS, Gather, Rule, load_for
from chainrule.source import Site

__all__ = ["Builder", "Operators", "Value", "dispatch", "dispatch_ufunc", "is_recorded", "nearest"]

_SCALARS = (bool, int, float, np.generic)


class Builder:
    """Collects steps; hands out variables."""

    level = 0

    def __init__(self, name: str = "program") -> None:
        self.name = name
        self.types: list[ArrayType] = []
        self.steps: list[Step] = []
        self.inputs: list[Var] = []
        self.captures: list[Var] = []
        self.constants: list[Any] = []
        self.sites: dict[Var, Site] = {}
        self.names: dict[Var, Any] = {}
        self.site: Site | None = None
        #: Steps recorded while this is set do not take the name of the variable that their line assigns.
        self.anonymous = False
        self._captured: dict[int, tuple[Any, Var]] = {}

    # -- variables

    def new(self, kind: ArrayType) -> Var:
        self.types.append(kind)
        return len(self.types) - 1

    def input(self, kind: ArrayType, name: str | None = None) -> Value:
        var = self.new(kind)
        self.inputs.append(var)
        if name is not None:
            self.names[var] = name
        return Value(self, var)

    def capture(self, array: Any) -> Var:
        """The variable of an array that the program reads besides its inputs."""
        found = self._captured.get(id(array))
        if found is not None:
            return found[1]
        plain = np.asarray(array)
        if plain.dtype.kind not in "fiubc":
            raise TraceError(
                f"an array of dtype {plain.dtype} is used together with values that are being differentiated",
                cure="convert it to numbers before the function is called",
            )
        var = self.new(array_type(plain.shape, plain.dtype))
        self.captures.append(var)
        self.constants.append(plain)
        self._captured[id(array)] = (array, var)
        return var

    def operand(self, value: Any) -> Operand:
        if isinstance(value, Literal):
            return value
        if type(value) is Value and value.builder is self:
            return value.var
        if isinstance(value, _SCALARS):
            return literal(value)
        if isinstance(value, np.ndarray):
            return literal(value[()]) if value.ndim == 0 else self.capture(value)
        if isinstance(value, list | tuple):
            if any(map(is_recorded, value)):
                return self.operand(FUNCTIONS[np.array](value))
            return self.operand(np.asarray(value))
        raise ProgramError(f"a recorder was given a {type(value).__name__}")

    def value(self, operand: Operand) -> Any:
        """What code computes with: a recorded value, or the bare number of a literal."""
        return operand.value if isinstance(operand, Literal) else Value(self, operand)

    # -- steps

    def add(self, rule: Rule, inputs: tuple[Operand, ...], params: tuple[Any, ...] = ()) -> tuple[Var, ...]:
        types = self.types
        kinds = infer(rule, tuple([types[one] if type(one) is int else one.type for one in inputs]), params)  # type: ignore[union-attr]
        if len(kinds) == 1:
            outs: tuple[Var, ...] = (len(types),)
            types.append(kinds[0])
        else:
            outs = tuple(range(len(types), len(types) + len(kinds)))
            types.extend(kinds)
        self.steps.append(Step(rule, inputs, params, outs))
        if self.site is not None:
            for var in outs:
                self.sites[var] = self.site
        if self.anonymous:
            for var in outs:
                self.names[var] = None
        return outs

    def constant_array(self, value: Any, shape: tuple[int, ...]) -> Any:
        """A recorded array of one number (a NumPy scalar, which decides the dtype)."""
        return Value(self, self.add(RULES["broadcast_to"], (literal(value),), (shape,))[0])

    def spread(self, value: Any, shape: tuple[int, ...]) -> Any:
        """The value broadcast to a shape."""
        return Value(self, self.add(RULES["broadcast_to"], (self.operand(value),), (shape,))[0])

    def fuse_addition(self, total: Any, term: Any) -> Any:
        """``total + term`` where the term adds elements to a blank array: add them to the total instead, or None."""
        if not isinstance(total, Value) or not isinstance(term, Value):
            return None
        place = len(self.steps) - 1
        if place < 0 or self.steps[place].outputs != (term.var,):
            return None
        step = self.steps[place]
        if not isinstance(step.rule, Gather) or not step.rule.adds or self.types[total.var] is not self.types[term.var]:
            return None
        blank = self.steps[place - 1] if place else None
        if blank is None or blank.outputs != (step.inputs[0],) or blank.rule is not RULES["broadcast_to"]:
            return None
        if not isinstance(blank.inputs[0], Literal) or blank.inputs[0].value != 0:
            return None
        self.steps[place] = Step(step.rule, (total.var, *step.inputs[1:]), step.params, step.outputs)
        return term

    def record(self, rule: Rule, arguments: Sequence[Any], params: tuple[Any, ...]) -> Any:
        outs = self.add(rule, tuple([self.operand(one) for one in arguments]), params)
        if len(outs) == 1:
            return Value(self, outs[0])
        return tuple(Value(self, var) for var in outs)

    def replay(self, program: Program, inputs: Sequence[Any]) -> list[Any]:
        """Record the steps of a program on these inputs; give back its results."""
        env: dict[Var, Operand] = {}
        for var, value in zip(program.inputs, inputs, strict=True):
            env[var] = self.operand(value)
        for var, constant in zip(program.captures, program.constants, strict=True):
            env[var] = self.operand(constant)
        self.replay_steps(program, program.steps, env)
        return [self.value(one if isinstance(one, Literal) else env[one]) for one in program.outputs]

    def replay_steps(self, program: Program, steps: Sequence[Step], env: dict[Var, Operand]) -> None:
        types = self.types
        for step in steps:
            site = program.sites.get(step.outputs[0])
            ins = tuple([env[one] if type(one) is int else one for one in step.inputs])
            rule, params = step.rule, step.params
            if rule.settle is not None:
                settled = rule.settle(ins, params)
                if settled is not None and not isinstance(settled, tuple):
                    env[step.outputs[0]] = literal(settled)
                    continue
                rule, ins, params = settled or (rule, ins, params)
            if any(type(one) is not int for one in ins):
                ins = self._as_declared(program, step, rule, ins, params)
            outs = tuple(range(len(types), len(types) + len(step.outputs)))
            for var, out in zip(step.outputs, outs, strict=True):
                types.append(program.types[var])
                env[var] = out
                if site is not None:
                    self.sites[out] = site
                if var in program.names:
                    self.names[out] = program.names[var]
            self.steps.append(Step(rule, ins, params, outs))

    def _as_declared(
        self, program: Program, step: Step, rule: Rule, ins: tuple[Operand, ...], params: tuple[Any, ...]
    ) -> tuple[Operand, ...]:
        """The operands, with a bare number in the place of a variable given the variable's dtype where that matters."""
        replaced = [
            type(one) is int and type(ins[place]) is not int for place, one in enumerate(step.inputs[: len(ins)])
        ]
        if not any(replaced):
            return ins
        kinds = tuple([one.type if isinstance(one, Literal) else self.types[one] for one in ins])
        if infer(rule, kinds, params) == tuple([program.types[var] for var in step.outputs]):
            return ins
        made: list[Operand] = []
        for place, one in enumerate(ins):
            if replaced[place] and isinstance(one, Literal):
                dtype = program.types[step.inputs[place]].dtype  # type: ignore[index]
                one = literal(dtype.type(one.value))
            made.append(one)
        return tuple(made)

    def finish(self, outputs: Sequence[Any]) -> Program:
        return Program(
            name=self.name, types=self.types, inputs=self.inputs, captures=self.captures, constants=self.constants,
            steps=self.steps, outputs=[self.operand(one) for one in outputs], sites=self.sites, names=self.names,
        )  # fmt: skip


# --- NumPy's protocols --------------------------------------------------------------------------------------------


def is_recorded(value: Any) -> bool:
    """Whether the value stands for a variable of a program."""
    return getattr(value, "_chainrule_level", None) is not None


def nearest(function: Any) -> str:
    """The names of the functions with a rule that look most like this one."""
    import difflib

    name = getattr(function, "__name__", str(function))
    known = sorted({getattr(one, "__name__", "") for one in (*UFUNCS, *FUNCTIONS)} - {""})
    return ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.5))


def no_rule(function: Any) -> NoRule:
    """The error for a function without a rule."""
    module = getattr(function, "__module__", "") or ""
    name = getattr(function, "__qualname__", getattr(function, "__name__", repr(function)))
    full = f"{module}.{name}" if module else name
    near = nearest(function)
    return NoRule(
        f"chainrule has no rule for {full}" + (f" (nearest with a rule: {near})" if near else ""),
        cure=f"write it with functions that have a rule, or give it one: chainrule.primitive({name}, pullback=...)",
    )


def dispatch_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``ufunc(...)``, ``ufunc.reduce(...)``, ``.accumulate``, ``.outer``, ``.at`` do on recorded values."""
    if method != "__call__":
        code = FUNCTIONS.get((ufunc, method)) or FUNCTIONS.get(method)
        if code is None:
            raise no_rule(getattr(ufunc, method))
        if (ufunc, method) in FUNCTIONS:
            return code(*inputs, **kwargs)
        return code(ufunc, *inputs, **kwargs)
    rule = UFUNCS.get(ufunc)
    if rule is None:
        code = FUNCTIONS.get(ufunc)
        if code is None:
            if load_for(ufunc):
                return dispatch_ufunc(ufunc, method, inputs, kwargs)
            raise no_rule(ufunc)
        return code(*inputs, **kwargs)
    if kwargs:
        return FUNCTIONS["ufunc keywords"](rule, inputs, **kwargs)
    top = max((one for one in inputs if is_recorded(one)), key=lambda one: one._chainrule_level)
    return top._chainrule_record(rule, inputs, ())


def dispatch(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a NumPy function does on recorded values."""
    code = FUNCTIONS.get(function)
    if code is not None:
        return code(*args, **kwargs)
    if function in UFUNCS:
        return dispatch_ufunc(function, "__call__", args, kwargs)
    if load_for(function):
        return dispatch(function, args, kwargs)
    raise no_rule(function)


def _binary(ufunc: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Any, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        return self._chainrule_ufunc(ufunc, (self, other))

    def reflected(self: Any, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        return self._chainrule_ufunc(ufunc, (other, self))

    return forward, reflected


def _is_operand(other: Any) -> bool:
    kind = type(other)
    if kind is float or kind is int or is_recorded(other):
        return True
    return isinstance(other, np.ndarray | np.generic | bool | int | float | list | tuple | complex)


class Operators:
    """Python's operators and the methods of an array, by NumPy's functions of the same name."""

    __slots__ = ()
    __array_priority__ = 1000.0

    def _chainrule_ufunc(self, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
        return dispatch_ufunc(ufunc, "__call__", inputs, {})

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return dispatch_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return dispatch(func, args, kwargs)

    __add__, __radd__ = _binary(np.add)
    __sub__, __rsub__ = _binary(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder)
    __matmul__, __rmatmul__ = _binary(np.matmul)
    __and__, __rand__ = _binary(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor)
    __lshift__, __rlshift__ = _binary(np.left_shift)
    __rshift__, __rrshift__ = _binary(np.right_shift)
    __lt__, __gt__ = _binary(np.less)[0], _binary(np.greater)[0]
    __le__, __ge__ = _binary(np.less_equal)[0], _binary(np.greater_equal)[0]
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        return self._chainrule_ufunc(np.equal, (self, other)) if _is_operand(other) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return self._chainrule_ufunc(np.not_equal, (self, other)) if _is_operand(other) else NotImplemented

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is not None or not _is_operand(other):
            return NotImplemented
        if (type(other) is int or type(other) is float) and other == 2 and self.dtype.kind == "f":
            # As ndarray's ** does: a multiplication, not a call of the maths library.
            return self._chainrule_ufunc(np.square, (self,))
        return self._chainrule_ufunc(np.power, (self, other))

    def __rpow__(self, other: Any) -> Any:
        return self._chainrule_ufunc(np.power, (other, self)) if _is_operand(other) else NotImplemented

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __neg__(self) -> Any:
        return self._chainrule_ufunc(np.negative, (self,))

    def __pos__(self) -> Any:
        return self._chainrule_ufunc(np.positive, (self,))

    def __abs__(self) -> Any:
        return self._chainrule_ufunc(np.absolute, (self,))

    def __invert__(self) -> Any:
        return self._chainrule_ufunc(np.invert, (self,))

    def __getitem__(self, key: Any) -> Any:
        return FUNCTIONS["getitem"](self, key)

    # -- attributes

    @property
    def _chainrule_type(self) -> ArrayType:
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        return self._chainrule_type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._chainrule_type.dtype

    @property
    def ndim(self) -> int:
        return self._chainrule_type.ndim

    @property
    def size(self) -> int:
        return self._chainrule_type.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        return FUNCTIONS[np.transpose](self)

    @property
    def mT(self) -> Any:  # noqa: N802 - NumPy's name
        return FUNCTIONS[np.swapaxes](self, -1, -2)

    @property
    def real(self) -> Any:
        return self

    @property
    def imag(self) -> Any:
        return FUNCTIONS[np.zeros_like](self)

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            msg = "len() of unsized object"
            raise TypeError(msg)
        return shape[0]

    def __iter__(self) -> Iterator[Any]:
        shape = self.shape
        if not shape:
            msg = "iteration over a 0-d array"
            raise TypeError(msg)
        return (self[position] for position in range(shape[0]))

    # -- methods

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
    ) -> Any:
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return FUNCTIONS["astype"](self, dtype, casting=casting)

    def copy(self, order: str = "C") -> Any:
        return FUNCTIONS[np.copy](self)

    def flatten(self, order: str = "C") -> Any:
        return FUNCTIONS[np.copy](FUNCTIONS[np.ravel](self, order=order))

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        return FUNCTIONS[np.reshape](self, shape[0] if len(shape) == 1 else shape, order=order, copy=copy)

    def transpose(self, *axes: Any) -> Any:
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list)):
            return FUNCTIONS[np.transpose](self, axes[0])
        return FUNCTIONS[np.transpose](self, axes or None)

    def dot(self, b: Any, out: Any = None) -> Any:
        return FUNCTIONS[np.dot](self, b) if out is None else FUNCTIONS[np.dot](self, b, out=out)

    def conj(self) -> Any:
        return self._chainrule_ufunc(np.conjugate, (self,))

    conjugate = conj

    def choose(self, choices: Any, out: Any = None, mode: str = "raise") -> Any:
        return dispatch(np.choose, (self, choices), {"out": out, "mode": mode})

    def item(self, *position: Any) -> Any:
        """The element itself, still recorded: NumPy's ``item`` gives a bare number and would lose the path."""
        if position:
            one = position[0] if len(position) == 1 and isinstance(position[0], tuple) else position
            return self.reshape(-1)[one[0]] if len(one) == 1 and self.ndim != 1 else self[tuple(one)]
        if self.size != 1:
            msg = "can only convert an array of size 1 to a Python scalar"
            raise ValueError(msg)
        return self.reshape(()) if self.ndim else self

    def tolist(self) -> Any:
        """Nested lists of recorded scalars."""
        return self if self.ndim == 0 else [one.tolist() for one in self]


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return dispatch(function, (self, *args), kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"``numpy.{name}`` of this array."
    return method


for _name in (
    "all any argmax argmin argpartition argsort clip compress cumprod cumsum diagonal max mean min nonzero prod ptp "
    "ravel repeat round searchsorted squeeze std sum swapaxes take trace var"
).split():
    setattr(Operators, _name, _method(_name))


class Value(Operators):
    """A variable of a Builder, for code that is recorded: rules' partials and pullbacks, transforms. Never changes."""

    __slots__ = ("builder", "var")
    _chainrule_level = 0

    def __init__(self, builder: Builder, var: Var) -> None:
        self.builder = builder
        self.var = var

    @property
    def _chainrule_type(self) -> ArrayType:
        return self.builder.types[self.var]

    def _chainrule_record(self, rule: Rule, arguments: Sequence[Any], params: tuple[Any, ...]) -> Any:
        return self.builder.record(rule, arguments, params)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TraceError(
            "a rule takes the memory of a recorded value", cure="write rules with NumPy functions that have one"
        )

    def __float__(self) -> float:
        raise TraceError("a rule takes the bare number of a recorded value", cure="write rules with NumPy functions")

    def __bool__(self) -> bool:
        raise TraceError(
            "a rule or a batched function branches on a value that is not known while it is recorded",
            cure="use numpy.where, or call the function for one point at a time",
        )

    def __repr__(self) -> str:
        return f"<{self._chainrule_type!r} v{self.var}>"
