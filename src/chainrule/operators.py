"""The public operators: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp, vmap, stop_gradient, trace.

The only module that knows every arrow: function -trace-> Program -transform-> Program -execute-> numbers.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import chainrule.rules  # noqa: F401 - fills the table
from chainrule.arguments import Point, name_of, parameter_names, reached_by
from chainrule.build import is_recorded
from chainrule.containers import Structure, flatten, leaf_paths, unflatten
from chainrule.errors import ArgumentError, NotDifferentiable, ShapeError
from chainrule.hasten import Uses
from chainrule.program import Literal, Program
from chainrule.source import excerpt
from chainrule.trace.standin import StandIn, lowered
from chainrule.trace.tracer import execute, trace_leaves
from chainrule.transforms.backprop import active_variables, backprop
from chainrule.transforms.batch import batch
from chainrule.transforms.forward import forward
from chainrule.transforms.partition import partition
from chainrule.transforms.simplify import simplify

__all__ = [
    "Operator", "grad", "hessian", "hvp", "jacobian", "jvp", "program_of", "reading", "stop_gradient", "trace",
    "value_and_grad", "vjp", "vmap",
]  # fmt: skip


# --- programs seen before -------------------------------------------------------------------------------------------


class _Cache:
    """The transformed programs of the programs that were traced lately, bounded by their steps in all."""

    def __init__(self, most: int = 400_000) -> None:
        self.most = most
        self.total = 0
        self.held: OrderedDict[Any, tuple[Any, int, Uses]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: Any, size: int, make: Callable[[], Any]) -> Any:
        with self.lock:
            found = self.held.get(key)
            if found is not None:
                self.held.move_to_end(key)
        if found is not None:
            found[2].again()
            return found[0]
        made = make()
        with self.lock:
            if key not in self.held:
                self.held[key] = (made, size, Uses(made if isinstance(made, tuple) else (made,)))
                self.total += size
            while self.total > self.most and len(self.held) > 1:
                _, (_, dropped, _) = self.held.popitem(last=False)
                self.total -= dropped
        return made


_CACHE = _Cache()


class _Reading(threading.local):
    """On while a program is made to be read."""

    on = False


_READING = _Reading()


@contextmanager
def reading() -> Iterator[None]:
    """Within the block programs are made with the names and lines of the function at hand."""
    before, _READING.on = _READING.on, True
    try:
        yield
    finally:
        _READING.on = before


def _transformed(program: Program, kind: Any, make: Callable[[Program], Any]) -> Any:
    # A cached program carries the names and lines of the function that it was first made for: readers get a fresh one.
    if _READING.on:
        return make(program)
    return _CACHE.get((kind, program.key), len(program.steps) + 10, lambda: make(program))


def _bare(program: Program, traced: int) -> Program:
    """The program without the first arrays that it captured, those of the traced function, which a cache must not keep.

    The others were captured by the rules that a transform asked (positions in a batch) and belong to the program.
    """
    program.constants = (*(None,) * traced, *program.constants[traced:])
    return program


# --- results --------------------------------------------------------------------------------------------------------


def _own(values: list[Any], given: Sequence[Any]) -> list[Any]:
    """Results that share no memory with each other or with what was given."""
    made = []
    seen = {id(one) for one in given}
    for value in values:
        if type(value) is np.ndarray and (id(value) in seen or not value.flags.owndata or not value.flags.writeable):
            value = value.copy()
        seen.add(id(value))
        made.append(value)
    return made


def _scalar_output(program: Program, name: str) -> None:
    if len(program.outputs) != 1 or program.out_tree is None or program.out_tree.kind is not None:
        raise ShapeError(
            f"{name} returned a container of {len(program.outputs)} values; a gradient is of one number",
            cure="return a scalar; for several results use jacobian or vjp; for extra results, has_aux=True",
        )
    kind = program.type_of(program.outputs[0])
    shape = getattr(kind, "shape", ())
    if shape != ():
        raise ShapeError(
            f"{name} returned an array of shape {shape}; a gradient is of one number",
            where=excerpt(_site_of_output(program)),
            cure="sum or average it, or use jacobian or vjp",
        )


def refuse_non_scalar(program: Program) -> None:
    """Refuse a program that has no gradient: its result is not one real number that depends on the inputs.

    Raises ShapeError, ArgumentError or NotDifferentiable with the line at which the result was made.
    """
    _scalar_output(program, program.name)
    _float_output(program, program.name)
    _refuse_lost_path(program)


def _site_of_output(program: Program) -> Any:
    operand = program.outputs[0]
    return None if isinstance(operand, Literal) else program.sites.get(operand)


_KINDS = {"i": "an integer", "u": "an integer", "b": "a truth value", "c": "a complex number"}


def _float_output(program: Program, name: str) -> None:
    for operand in program.outputs:
        kind = program.type_of(operand)
        dtype = np.dtype(kind) if isinstance(kind, type) else kind.dtype
        if dtype.kind != "f":
            raise ArgumentError(
                f"{name} returned {_KINDS.get(dtype.kind, 'no number')} ({dtype}): there is nothing to differentiate",
                where=excerpt(_site_of_output(program)),
                cure="return floating-point numbers",
            )


def _refuse_lost_path(program: Program) -> None:
    """Refuse a result that depends on the input through integers and comparisons alone: a zero would be silent."""
    (output,) = program.outputs
    if isinstance(output, Literal) or output in active_variables(program, range(len(program.inputs))):
        return
    reached = set(program.inputs)
    for step in program.steps:
        if step.rule.name != "stop_gradient" and any(one in reached for one in step.inputs if type(one) is int):
            reached.update(step.outputs)
    if output in reached:
        raise NotDifferentiable(
            f"the result of {program.name} depends on its input only through integers, comparisons or an order "
            "(astype(int), x > 0, argsort): it is piecewise constant",
            where=excerpt(_site_of_output(program)),
            cure="if zero is what you want, say so: chainrule.stop_gradient(x)",
        )


# --- operators ------------------------------------------------------------------------------------------------------


class Operator:
    """A differentiated function: call it like the function; ``program(*args)`` is the Program that the call runs."""

    def __init__(
        self, function: Callable[..., Any], word: str, run: Callable[..., Any], options: dict[str, Any]
    ) -> None:
        if not callable(function):
            raise ArgumentError(f"{word} takes a function, got {function!r:.60}")
        self._run = run
        self._word = word
        self._options = options
        self.__wrapped__ = function
        for name in ("__module__", "__doc__"):
            value = getattr(function, name, None)
            if isinstance(value, str):
                setattr(self, name, value)
        self.__name__ = f"{word}_{name_of(function)}"
        self.__qualname__ = self.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The derivative at these arguments."""
        return self._run(self.__wrapped__, args, kwargs, **self._options)

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The Program that a call with these arguments runs, with all floating-point arguments as its inputs."""
        return program_of(self, self.__wrapped__, args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<{self._word} of {getattr(self.__wrapped__, '__qualname__', self.__wrapped__)!s}>"


def _operator(word: str, run: Callable[..., Any], function: Callable[..., Any], **options: Any) -> Operator:
    made = Operator(function, word, run, options)
    # What is derived from a compiled function is compiled.
    compiled = getattr(type(function), "recompiled", None)
    return made if compiled is None else compiled(function, made)


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Operator:
    """The gradient of a scalar function, by one sweep of backpropagation.

    ``grad(f)(*args, **kwargs)`` has the shapes, dtypes and containers of the arguments ``argnums`` (a tuple of them if
    ``argnums`` is a tuple). With ``has_aux`` the function returns ``(value, aux)``, the result is ``(gradient, aux)``.
    Arguments that are not in ``argnums``, and keyword arguments, are passed through. The caller's arrays are not
    changed, even where the function writes into its argument.

    Raises ArgumentError (arguments that can not be differentiated by), ShapeError (the result is not a scalar),
    TraceError (a dependence on the input would be lost), NoRule (a function without a rule).

    Source: reverse accumulation, S. Linnainmaa (1970); the cheap-gradient bound, W. Baur and V. Strassen (1983).

    >>> import numpy as np
    >>> grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0, 3.0]))
    array([2., 4., 6.])
    """
    return _operator("grad", _run_grad, f, argnums=argnums, has_aux=has_aux, with_value=False)


def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Operator:
    """``(value, gradient)`` of a scalar function, computed together; arguments and errors as for ``grad``.

    With ``has_aux`` the result is ``((value, aux), gradient)``.

    >>> value_and_grad(lambda x: x * x)(3.0)
    (np.float64(9.0), np.float64(6.0))
    """
    return _operator("value_and_grad", _run_grad, f, argnums=argnums, has_aux=has_aux, with_value=True)


def _traced(point: Point, has_aux: bool) -> tuple[Program, Any]:
    """The program of the differentiated part, and the auxiliary result as ordinary values."""
    if not has_aux:
        program, _, _ = point.trace()
        return program, None
    held: list[Any] = []

    def first(standins: Sequence[Any]) -> Any:
        result = point.call(standins)
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentError(
                f"has_aux=True, but {name_of(point.function)} returned {type(result).__name__}",
                cure="return a pair (value, aux)",
            )
        held.append(result[1])
        return result[0]

    program, _, _ = point.trace(function=first)
    leaves, tree = flatten(held[0])
    return program, unflatten(tree, [_settled(one) for one in leaves])


def _settled(value: Any) -> Any:
    """A stand-in of a finished trace as the value that it had."""
    value = lowered(value, None)
    if type(value) is StandIn and value.is_plain:
        return value._array().copy()
    if isinstance(value, np.ndarray) and not is_recorded(value):
        return value.copy() if not value.flags.owndata else value
    return value


def _run_grad(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    argnums: Any,
    has_aux: bool,
    with_value: bool,
) -> Any:
    point = Point(f, args, kwargs, argnums)
    program, aux = _traced(point, has_aux)
    _scalar_output(program, program.name)
    _float_output(program, program.name)

    def make(traced: Program) -> Program:
        _refuse_lost_path(traced)
        made = simplify(backprop(traced, range(len(point.leaves)), with_value=with_value))
        return _bare(made, len(traced.constants))

    gradient = _transformed(program, ("grad", with_value), make)
    results = _own(execute(gradient, point.leaves, program.constants), point.leaves)
    if with_value:
        value, *results = results
        shaped = point.shaped(results)
        return ((value, aux), shaped) if has_aux else (value, shaped)
    shaped = point.shaped(results)
    return (shaped, aux) if has_aux else shaped


def vjp(f: Callable[..., Any], *args: Any, argnums: int | Sequence[int] | None = None, has_aux: bool = False) -> Any:
    """``(value, pullback)``: the value of ``f(*args)``, and the function from its adjoint to those of the arguments.

    ``pullback(v)`` takes an array (or container) of the value's shape and returns a tuple with one entry an argument
    (or, if ``argnums`` is given, what ``grad`` would return the shapes of). The forward part runs once.

    >>> y, pullback = vjp(lambda x: x**2, np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    point = Point(f, args, {}, tuple(range(len(args))) if argnums is None else argnums)
    program, aux = _traced(point, has_aux)
    _float_output(program, program.name)
    count = len(program.outputs)

    def make(traced: Program) -> tuple[Program, Program]:
        swept = simplify(backprop(traced, range(len(point.leaves)), seeded=True, with_value=True))
        known = [True] * len(traced.inputs) + [False] * count
        first, second = partition(swept, known, count)
        return _bare(first, len(traced.constants)), second

    first, second = _transformed(program, "vjp", make)
    made = execute(first, point.leaves, program.constants)
    kinds = [program.type_of(one) for one in program.outputs]
    residuals = made[count:]
    values = _own(made[:count], [*point.leaves, *residuals])
    out_tree = program.out_tree
    assert out_tree is not None

    def pullback(adjoint: Any) -> Any:
        adjoints, tree = flatten(adjoint)
        if tree != out_tree:
            raise ShapeError(f"the adjoint has the structure {tree!r}, the value has {out_tree!r}")
        given = [_matching(one, kind) for one, kind in zip(adjoints, kinds, strict=True)]
        results = execute(second, [*given, *residuals], ())
        return point.shaped(_own(results, [*given, *residuals]))

    value = unflatten(out_tree, values)
    return (value, pullback, aux) if has_aux else (value, pullback)


def _matching(value: Any, kind: Any) -> Any:
    """An adjoint or tangent, checked against the type of what it belongs to."""
    shape = getattr(kind, "shape", ())
    dtype = np.dtype(kind) if isinstance(kind, type) else kind.dtype
    if is_recorded(value):
        if value.shape != shape:
            raise ShapeError(f"expected an array of shape {shape}, got {value.shape}")
        return value if value.dtype == dtype else value.astype(dtype)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"expected real numbers, got an array of dtype {array.dtype}")
    if array.shape != shape:
        raise ShapeError(
            f"expected an array of shape {shape}, got {array.shape}", cure="give it the shape of what it belongs to"
        )
    return array.astype(dtype, copy=False)[()] if shape == () else array.astype(dtype, copy=False)


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """``(value, tangent)``: the value of ``f(*primals)`` and its derivative along ``tangents``, in one forward sweep.

    ``primals`` and ``tangents`` are tuples with one entry an argument, of the same structure and shapes.

    Source: R. E. Wengert (1964).

    >>> jvp(lambda x: x**3, (2.0,), (1.0,))
    (np.float64(8.0), np.float64(12.0))
    """
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise ArgumentError("primals and tangents must be tuples with one entry an argument", cure="jvp(f, (x,), (v,))")
    if len(primals) != len(tangents):
        raise ArgumentError(f"{len(primals)} primals but {len(tangents)} tangents")
    point = Point(f, tuple(primals), {}, tuple(range(len(primals))))
    directions, tree = flatten(tuple(tangents))
    if tree != point.tree:
        raise ShapeError(f"the tangents have the structure {tree!r}, the primals {point.tree!r}")
    program, aux = _traced(point, has_aux)
    _float_output(program, program.name)
    given = [_matching(one, program.types[var]) for one, var in zip(directions, program.inputs, strict=True)]
    pushed = _transformed(
        program, "jvp",
        lambda traced: _bare(simplify(forward(traced, range(len(traced.inputs)))), len(traced.constants)),
    )  # fmt: skip
    made = _own(execute(pushed, [*point.leaves, *given], program.constants), [*point.leaves, *given])
    count = len(program.outputs)
    assert program.out_tree is not None
    value, tangent = unflatten(program.out_tree, made[:count]), unflatten(program.out_tree, made[count:])
    return (value, tangent, aux) if has_aux else (value, tangent)


def jacobian(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, mode: str = "auto", has_aux: bool = False
) -> Operator:
    """All partial derivatives of all results: arrays of shape ``result.shape + argument.shape``.

    ``mode`` is ``"forward"`` (one sweep an input element), ``"reverse"`` (one an output element), or ``"auto"``: the
    one with fewer sweeps. Containers of results hold containers of arguments.

    >>> jacobian(lambda x: x[:2] * x[2])(np.array([1.0, 2.0, 3.0]))
    array([[3., 0., 1.],
           [0., 3., 2.]])
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ArgumentError(f"mode must be 'auto', 'forward' or 'reverse', got {mode!r}")
    return _operator("jacobian", _run_jacobian, f, argnums=argnums, mode=mode, has_aux=has_aux)


def _run_jacobian(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, argnums: Any, mode: str, has_aux: bool
) -> Any:
    point = Point(f, args, kwargs, argnums)
    program, aux = _traced(point, has_aux)
    _float_output(program, program.name)
    rows = [program.type_of(one) for one in program.outputs]
    shapes = [getattr(kind, "shape", ()) for kind in rows]
    ins = [program.types[var] for var in program.inputs]
    sizes_out, sizes_in = sum(map(_size, shapes)), sum(kind.size for kind in ins)
    if mode == "auto":
        mode = "forward" if sizes_in < sizes_out else "reverse"
    blocks = _forward_blocks if mode == "forward" else _reverse_blocks
    made = blocks(program, point, shapes, ins)
    by_output = []
    for place, row in enumerate(made):
        owned = _own(row, [])
        by_output.append(point.shaped(owned))
        del place
    assert program.out_tree is not None
    result = unflatten(program.out_tree, by_output)
    return (result, aux) if has_aux else result


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def _unit_vectors(shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> list[Any]:
    """For each block of an identity matrix over all elements: ``(total, *shape)``."""
    total = sum(map(_size, shapes))
    start = 0
    made = []
    for shape, dtype in zip(shapes, dtypes, strict=True):
        size = _size(shape)
        block = np.zeros((total, size), dtype=dtype)
        block[np.arange(start, start + size), np.arange(size)] = 1
        made.append(block.reshape(total, *shape))
        start += size
    return made


def _reverse_blocks(program: Program, point: Point, shapes: Any, ins: Any) -> list[list[Any]]:
    dtypes = [_dtype(program.type_of(one)) for one in program.outputs]
    total = sum(map(_size, shapes))
    count, leaves = len(program.outputs), len(point.leaves)

    def make(traced: Program) -> tuple[Program, Program]:
        swept = simplify(backprop(traced, range(leaves), seeded=True))
        first, second = partition(swept, [True] * leaves + [False] * count, 0)
        residuals = len(second.inputs) - count
        pulled = simplify(batch(second, [True] * count + [False] * residuals, total))
        return _bare(first, len(traced.constants)), pulled

    first, second = _transformed(program, ("jacobian reverse", total), make)
    residuals = execute(first, point.leaves, program.constants)
    made = execute(second, [*_unit_vectors(shapes, dtypes), *residuals], ())
    rows, start = [], 0
    for shape in shapes:
        stop = start + _size(shape)
        rows.append([one[start:stop].reshape((*shape, *kind.shape)) for one, kind in zip(made, ins, strict=True)])
        start = stop
    return rows


def _forward_blocks(program: Program, point: Point, shapes: Any, ins: Any) -> list[list[Any]]:
    total = sum(kind.size for kind in ins)
    count, leaves = len(program.outputs), len(point.leaves)

    def make(traced: Program) -> tuple[Program, Program]:
        pushed = simplify(forward(traced, range(leaves)))
        only = Program(
            name=pushed.name, types=pushed.types, inputs=pushed.inputs, captures=pushed.captures,
            constants=pushed.constants, steps=pushed.steps, outputs=pushed.outputs[count:], sites=pushed.sites,
            names=pushed.names,
        )  # fmt: skip
        first, second = partition(only, [True] * leaves + [False] * leaves, 0)
        residuals = len(second.inputs) - leaves
        pulled = simplify(batch(second, [True] * leaves + [False] * residuals, total))
        return _bare(first, len(traced.constants)), pulled

    first, second = _transformed(program, ("jacobian forward", total), make)
    residuals = execute(first, point.leaves, program.constants)
    directions = _unit_vectors([kind.shape for kind in ins], [kind.dtype for kind in ins])
    made = execute(second, [*directions, *residuals], ())
    rows = []
    for one, shape in zip(made, shapes, strict=True):
        row, start = [], 0
        for kind in ins:
            block = one[start : start + kind.size]
            moved = np.moveaxis(block, 0, -1)
            row.append(moved.reshape((*shape, *kind.shape)))
            start += kind.size
        rows.append(row)
    return rows


def _dtype(kind: Any) -> Any:
    return np.dtype(kind) if isinstance(kind, type) else kind.dtype


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Operator:
    """Second partial derivatives of a scalar function: forward over reverse, one sweep an input element.

    The shape is ``argument.shape + argument.shape`` (blocks in containers of containers for several arguments).

    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return _operator("hessian", _run_hessian, f, argnums=argnums, has_aux=has_aux)


def _run_hessian(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, argnums: Any, has_aux: bool
) -> Any:
    gradient = grad(f, argnums, has_aux=has_aux)
    return _run_jacobian(gradient, args, kwargs, argnums=argnums, mode="forward", has_aux=has_aux)


def hvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a scalar function times a vector: forward over reverse, at the cost of a few gradients.

    ``primals`` and ``tangents`` as for ``jvp``; the result is like ``primals[0]``, or a tuple for several arguments.

    Source: B. A. Pearlmutter (1994).

    >>> hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    if not isinstance(primals, tuple | list):
        raise ArgumentError("primals and tangents must be tuples with one entry an argument", cure="hvp(f, (x,), (v,))")
    argnums = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(f, argnums), primals, tangents)[1]


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: int = 0) -> Operator:
    """``f`` for each entry along an axis of its arguments, all at once.

    ``in_axes`` is an int for all arguments, or a tuple with an int or None (not batched) for each; ``out_axes`` is
    where the batch goes in each result. The function is traced once, so it can not branch on values: use numpy.where.

    >>> vmap(lambda a, b: a @ b)(np.ones((3, 2)), np.ones((3, 2)))
    array([2., 2., 2.])
    """
    return _operator("vmap", _run_vmap, f, in_axes=in_axes, out_axes=out_axes)


def _run_vmap(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, in_axes: Any, out_axes: int
) -> Any:
    axes = in_axes if isinstance(in_axes, tuple | list) else (in_axes,) * len(args)
    if len(axes) != len(args):
        raise ArgumentError(f"in_axes has {len(axes)} entries for {len(args)} arguments")
    leaves: list[Any] = []
    names: list[str] = []
    trees: list[tuple[int, Structure]] = []
    size: int | None = None
    labels = parameter_names(f, len(args))
    for position, (arg, axis) in enumerate(zip(args, axes, strict=True)):
        if axis is None:
            continue
        parts, tree = flatten(arg)
        for one, path in zip(parts, leaf_paths(tree, labels[position]), strict=True):
            array = one if is_recorded(one) else np.asarray(one)
            if array.ndim == 0 or not -array.ndim <= axis < array.ndim or array.dtype.kind not in "fiub":
                raise ArgumentError(
                    f"argument {path} of shape {array.shape} and dtype {array.dtype} has no axis {axis} to batch over"
                )
            if size is not None and array.shape[axis] != size:
                raise ShapeError(f"the batched arguments differ in extent: {size} and {array.shape[axis]} ({path})")
            size = int(array.shape[axis])
            leaves.append(np.moveaxis(array, axis, 0))
            names.append(path)
        trees.append((position, tree))
    if size is None:
        raise ArgumentError(
            "vmap needs an argument with an axis to batch over", cure="set one entry of in_axes to an int"
        )

    def call(standins: Sequence[Any]) -> Any:
        given = list(args)
        start = 0
        for position, tree in trees:
            given[position] = unflatten(tree, standins[start : start + tree.size])
            start += tree.size
        return f(*given, **kwargs)

    examples = [np.zeros(one.shape[1:], dtype=one.dtype) if one.ndim > 1 else one.dtype.type(0) for one in leaves]
    program, _, _ = trace_leaves(
        call, examples, names, name=name_of(f), reached=reached_by(f, args, kwargs), abstract=True
    )
    batched = _transformed(
        program,
        ("vmap", size),
        lambda traced: _bare(simplify(batch(traced, [True] * len(leaves), size)), len(traced.constants)),
    )
    made = _own(execute(batched, leaves, program.constants), leaves)
    assert program.out_tree is not None
    return unflatten(program.out_tree, [one if out_axes == 0 else np.moveaxis(one, 0, out_axes) for one in made])


def stop_gradient(x: Any) -> Any:
    """The same values, with no derivative: the only way to drop a path on purpose. Containers are taken apart.

    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    leaves, tree = flatten(x)
    return unflatten(tree, [_stopped(one) for one in leaves])


def _stopped(value: Any) -> Any:
    from chainrule.rule import RULES, apply

    value = lowered(value, None) if type(value) is StandIn else value
    if not is_recorded(value) or (type(value) is StandIn and value.is_plain):
        return value
    return apply(RULES["stop_gradient"], (value,))


def trace(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Program:
    """The Program of ``f(*args, **kwargs)``: what the function does, step by step, in the user's own names.

    Every floating-point argument (and every float in a container) is an input.

    >>> print(trace(lambda x: x * 2.0, 3.0))  # doctest: +ELLIPSIS
    program f(x: float64[]):
        v1: float64[] = multiply(x, 2.0)...
        return v1
    """
    return program_of(f, f, args, kwargs)


def program_of(
    callee: Callable[..., Any], function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Program:
    """The Program of a call of ``callee``, which is the function or an operator's form of it."""
    positions = [place for place, one in enumerate(args) if _is_differentiable(one)]
    if not positions:
        raise ArgumentError(
            f"no argument of {name_of(function)} is a float, an array of floats, or a container of them",
            cure="pass floating-point arguments, e.g. 3.0 or x.astype(float)",
        )
    point = Point(function, args, kwargs, tuple(positions))

    def call(standins: Sequence[Any]) -> Any:
        point.function = callee
        return point.call(standins)

    with reading():
        program, _, _ = point.trace(function=call, constant=callee is not function)
    program.name = name_of(callee)
    return simplify(program) if callee is not function else program


def _is_differentiable(value: Any) -> bool:
    leaves, _ = flatten(value)
    return bool(leaves) and all(
        is_recorded(one)
        or isinstance(one, float | np.floating)
        or (isinstance(one, np.ndarray) and one.dtype.kind == "f" and type(one) in (np.ndarray, np.memmap))
        for one in leaves
    )
