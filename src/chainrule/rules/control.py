"""Rules of the kind Control: steps that hold Programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.rule import Control, Cost, Loop, apply, register
from chainrule.rules.iterations import number, pack, unpack

__all__: list[str] = []


def _call_value(*rest: Any) -> Any:
    *arguments, program = rest
    results = program.run(arguments)
    return results[0] if len(results) == 1 else tuple(results)


def _call_infer(types: Any, params: Any) -> list[tuple[tuple[int, ...], Any]]:
    (program,) = params
    declared = [program.types[var] for var in program.inputs]
    if [(one.shape, one.dtype) for one in types] != [(one.shape, one.dtype) for one in declared]:
        msg = f"the held program takes {declared}, got {list(types)}"
        raise ValueError(msg)
    return _results(program)


def _call_cost(types: Any, params: Any, outs: Any) -> Cost:
    cost = params[0].cost()
    return Cost(cost.flops, cost.calls)


register(
    Control(
        name="call",
        native="call",
        value=_call_value,
        params=("program",),
        infer=_call_infer,
        expand=lambda builder, arguments, params: builder.replay(params[0], arguments),
        latex=r"\operatorname{{call}}({0})",
        cost=_call_cost,
    )
)


# --- repetition -------------------------------------------------------------------------------------------------------


def _loop_value(*rest: Any) -> Any:
    *arguments, body, trips, carries, sequences, reverse = rest
    results = body.repeat(arguments, trips, carries, sequences, reverse)
    return results[0] if len(results) == 1 else tuple(results)


def _fits(given: Any, declared: Any) -> bool:
    """Whether a value of one type is taken where the other is declared: a bare number becomes a number of any dtype."""
    if given.shape == declared.shape and given.dtype == declared.dtype:
        return True
    return given.shape == declared.shape == () and np.can_cast(given.dtype, declared.dtype, casting="same_kind")


def _loop_infer(types: Any, params: Any) -> list[tuple[tuple[int, ...], Any]]:
    body, trips, carries, sequences, _ = params
    declared = [body.types[var] for var in body.inputs]
    if body.captures or body.guards:
        msg = "the body of a loop captures nothing and guards nothing: it is given what it reads"
        raise ValueError(msg)
    if trips < 0 or len(declared) != 1 + len(types) or carries + sequences > len(types):
        msg = f"a loop of {trips} trips with {carries} carries and {sequences} sequences, {len(types)} arguments"
        raise ValueError(msg)
    if declared[0].shape != () or declared[0].dtype != np.dtype(np.int64):
        msg = f"the first input of a loop's body is the number of the iteration, an int64, not {declared[0]}"
        raise ValueError(msg)
    for place, (one, kind) in enumerate(zip(types, declared[1:], strict=True)):
        if carries <= place < carries + sequences:
            fits = one.shape == (trips, *kind.shape) and one.dtype == kind.dtype
        else:
            fits = _fits(one, kind)
        if not fits:
            msg = f"argument {place} of a loop is {one}, its body takes {kind}"
            raise ValueError(msg)
    made = _results(body)
    if not made or len(made) < carries:
        msg = f"the body gives {len(made)} results, there are {carries} carries"
        raise ValueError(msg)
    for place, (want, (shape, dtype)) in enumerate(zip(declared[1 : 1 + carries], made, strict=False)):
        if (shape, dtype) != (want.shape, want.dtype):
            msg = f"carry {place} is {want} before an iteration and {dtype.name}{list(shape)} after it"
            raise ValueError(msg)
    return [*made[:carries], *(((trips, *shape), dtype) for shape, dtype in made[carries:])]


def _results(body: Any) -> list[tuple[tuple[int, ...], Any]]:
    kinds = [body.type_of(one) for one in body.outputs]
    return [((), np.dtype(one)) if isinstance(one, type) else (one.shape, one.dtype) for one in kinds]


def _loop_cost(types: Any, params: Any, outs: Any) -> Cost:
    cost = params[0].cost()
    return Cost(params[1] * cost.flops, params[1] * cost.calls)


def _loop_expand(builder: Any, arguments: Any, params: Any) -> list[Any]:
    body, trips, carries, sequences, reverse = params
    held, rest = list(arguments[:carries]), arguments[carries:]
    rows: list[Any] = [None] * trips
    if not trips:
        kinds = [body.types[var] for var in body.inputs[1 : 1 + carries]]
        stacked = [((0, *shape), dtype) for shape, dtype in _results(body)[carries:]]
        held = [one if hasattr(one, "shape") else kind.dtype.type(one) for one, kind in zip(held, kinds, strict=True)]
        return [*held, *(builder.constant_array(dtype.type(0), shape) for shape, dtype in stacked)]
    for l in reversed(range(trips)) if reverse else range(trips):
        slices = [one[l] if isinstance(one, list) else apply(unpack, (one,), (l,)) for one in rest[:sequences]]
        made = builder.replay(body, [np.int64(l), *held, *slices, *rest[sequences:]])
        held, rows[l] = made[:carries], made[carries:]
    return [*held, *(list(column) for column in zip(*rows, strict=True))]


register(
    Loop(
        name="loop",
        value=_loop_value,
        params=("body", "trips", "carries", "sequences", "reverse"),
        infer=_loop_infer,
        expand=_loop_expand,
        latex=r"\operatorname{{loop}}({0})",
        cost=_loop_cost,
        pack=pack,
        unpack=unpack,
        number=number,
    )
)
