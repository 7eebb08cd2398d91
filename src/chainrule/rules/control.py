"""Rules of the kind Control: steps that hold Programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.rule import Control, Cost, register

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
    made = []
    for one in program.outputs:
        kind = program.type_of(one)
        made.append(((), np.dtype(kind)) if isinstance(kind, type) else (kind.shape, kind.dtype))
    return made


def _call_cost(types: Any, params: Any, outs: Any) -> Cost:
    cost = params[0].cost()
    return Cost(cost.flops, cost.calls)


register(
    Control(
        name="call",
        value=_call_value,
        params=("program",),
        infer=_call_infer,
        expand=lambda builder, arguments, params: builder.replay(params[0], arguments),
        latex=r"\operatorname{{call}}({0})",
        cost=_call_cost,
    )
)
