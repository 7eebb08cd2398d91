"""Rearrangements in C: parts of arrays, arrays put side by side, reading and writing at indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.derive.c_arrays import (
    Affine,
    Constant,
    Counter,
    Lazy,
    Memory,
    Node,
    c_strides,
    fake,
    offset_of,
    symbol,
    token,
)
from chainrule.derive.c_expression import cast, literal_as
from chainrule.derive.identifiers import is_numbered
from chainrule.program import ArrayType, Literal, Step
from chainrule.rule import Gather
from chainrule.source import place as place_of

__all__ = ["holes", "line_of", "part", "picked", "put", "view"]


def view(body: Any, step: Step) -> bool:
    """A part of an array, or the array in another order, costs nothing: only its places are others."""
    rule = step.rule
    (var,) = step.outputs
    out = body.program.types[var]
    node = body.node(step.inputs[0]) if step.inputs and rule.update is None else None
    if rule.native == "same" and node is not None:
        body.nodes[var] = node
        return True
    if isinstance(node, Constant) and rule.aliases and len(step.inputs) == 1:
        body.nodes[var] = Constant(out.shape, out.dtype, literal_as(Literal(node.value), out.dtype))
        return True
    numbers = step.inputs[1:]
    static = _settled(body, step, 1) if node is not None else None
    if static is not None:
        rule, key, shifts = static
        params: Any = (key,)
    else:
        params, shifts = step.params, []
        if numbers or node is None:
            return False
    if rule.view is None or node is None:
        return False
    if not isinstance(node, Memory):
        if not node.shape:
            body.nodes[var] = _spread(node, out)
            return True
        node = body.temporary(node, f"{body.names[var]}_held")
    for attempt in (node, None):
        whole = attempt if attempt is not None else body.temporary(node, f"{body.names[var]}_held")
        if 0 in out.shape or 0 in whole.shape:
            body.nodes[var] = Memory(out.shape, out.dtype, whole.buffer, c_strides(out.shape), whole.offset)
            return True
        layout = fake(whole.shape, whole.strides)
        made = rule.view.apply(layout, (), params)
        if made is not None and made.shape == out.shape:
            offset = whole.offset.plus(Affine(offset_of(made, layout)))
            for axis, shift in shifts:
                offset = offset.plus(shift.times(whole.strides[axis]))
            body.nodes[var] = Memory(out.shape, out.dtype, whole.buffer, made.strides, offset)
            return True
    return False


def _spread(node: Node, out: ArrayType) -> Node:
    """A number in every place of an array."""
    if isinstance(node, Constant):
        return Constant(out.shape, out.dtype, node.value)
    return Lazy(out.shape, out.dtype, lambda _: node.at(()), node.reads)


def _settled(body: Any, step: Step, first: int) -> tuple[Any, tuple[Any, ...], list[tuple[int, Affine]]] | None:
    """Of a key that moves with iterations: the static rule, the key without the moves, and these, by axis."""
    rule = step.rule
    if rule.settle is None or not rule.params or not step.params or not isinstance(step.params[0], tuple):
        return None
    zeros = [Literal(0) for _ in step.inputs[first:]]
    made = rule.settle([*step.inputs[:first], *zeros], step.params)
    if made is None or not isinstance(made, tuple) or len(made) != 3:
        return None
    static = made[0]
    numbers = [body.node(one) for one in step.inputs[first:]]
    shape = body.type_of(step.inputs[0]).shape
    key: list[Any] = []
    shifts: list[tuple[int, Affine]] = []
    axis = 0
    template = step.params[0]
    for one in template:
        if type(one) is tuple:
            _, start, *strides = one
            low = start if type(start) is int else int(start.split(":")[0])
            place = Affine(low)
            least: float = low
            most: float = low
            for node, stride in zip(numbers, strides, strict=True):
                if isinstance(node, Constant):
                    place = place.plus(Affine(int(node.value) * stride))
                    least, most = least + int(node.value) * stride, most + int(node.value) * stride
                elif isinstance(node, Counter):
                    place = place.plus(symbol(node.name).times(stride))
                    ends = (0, stride * max(node.trips - 1, 0))
                    least, most = least + min(ends), most + max(ends)
                elif stride:
                    place = place.plus(symbol(node.at(()).text).times(stride))
                    least, most = -math.inf, math.inf
            width = 1 if type(start) is int else int(start.split(":")[1]) - low
            if type(start) is int:
                place = _wrapped(body, place, least, most, shape[axis])
                key.append(0)
            else:
                key.append(":".join(["0", str(width), *start.split(":")[2:]]))
            if most == math.inf:
                failure = body.file.fails(f"an index is out of range ({line_of(body, step)})")
                body.say(f"if ({place} < 0 || {place} > {shape[axis] - width}) return {failure};")
            shifts.append((axis, place))
        else:
            key.append(one)
        axis += len(shape) - sum(other not in (None, "...") for other in template) if one == "..." else one is not None
    return static, tuple(key), shifts


def _wrapped(body: Any, place: Affine, least: float, most: float, extent: int) -> Affine:
    """An index that counts from the end where it is negative."""
    if least >= 0:
        return place
    if most < 0:
        return place.plus(Affine(extent))
    name = body.file.names.new("at")
    body.say(f"const {body.file.index_type} {name} = {place} < 0 ? {place.plus(Affine(extent))} : {place};")
    return symbol(name)


def part(body: Any, step: Step, whole: Any = None) -> Any:
    """The part of the first argument that a step writes to, of an array of its shape; None where values decide."""
    static = _settled(body, step, 2)
    rule: Any = step.rule if static is None else static[0]
    params = step.params if static is None else (static[1],)
    kinds = [body.type_of(one) for one in step.inputs[: 2 if static is not None else None]]
    layout = fake(kinds[0].shape, c_strides(kinds[0].shape)) if whole is None else whole
    return rule.lands(layout, 1, kinds, params)


def put(body: Any, count: int, step: Step) -> bool:
    """Arrays put side by side, or written or added into another one."""
    rule = step.rule
    if not isinstance(rule, Gather):
        return False
    (var,) = step.outputs
    static = _settled(body, step, 2) if rule.update is not None else None
    lands = rule.lands if static is None else static[0].lands
    if rule.update is not None and static is None and len(step.inputs) > 2:
        return _scatter(body, count, step)
    if lands is None:
        return _from_positions(body, count, step)
    body.cite(count)
    if rule.update is None:
        target = body.room(var)
        kinds = [body.type_of(one) for one in step.inputs]
        layout = fake(target.shape, target.strides)
        for place, one in enumerate(step.inputs):
            given = _taken(body, rule, body.node(one), place, step.params)
            _store(body, given, target, layout, lands(layout, place, kinds, step.params))
        body.nodes[var] = target
        return True
    value = _apart(body, body.node(step.inputs[1]), body.node(step.inputs[0]))
    target = _base(body, count, step)
    layout = fake(target.shape, target.strides)
    here = part(body, step, layout)
    _store(body, value, target, layout, here, [] if static is None else static[2], "+=" if rule.adds else "=")
    body.nodes[var] = target
    return True


def _taken(body: Any, rule: Gather, node: Node, place: int, params: tuple[Any, ...]) -> Node:
    """The part of an argument that is put where it lands: all of it, or what the rule says."""
    if rule.takes is None:
        return node
    memory = node if isinstance(node, Memory) else body.temporary(node, "held")
    layout = fake(memory.shape, memory.strides)
    taken = rule.takes(layout, place, params)
    offset = memory.offset.plus(Affine(offset_of(taken, layout)))
    return Memory(taken.shape, memory.dtype, memory.buffer, taken.strides, offset)


def _apart(body: Any, value: Node, target: Node) -> Node:
    """What is written, in memory of its own where it is made of the array that is written to."""
    return body.temporary(value, "held") if value.reads & target.reads else value


def _base(body: Any, count: int, step: Step) -> Memory:
    """The array that a step writes to: its first argument if that is dead, else a copy."""
    node, (var,) = body.node(step.inputs[0]), step.outputs
    mine = count in body.reading.overwrites and isinstance(node, Memory) and node.buffer.role == "arena"
    if mine and isinstance(node, Memory) and node.is_whole:
        if not is_numbered(body.names[var]):
            node.buffer.name = body.names[var]
        return node
    target: Memory = body.room(var)
    if target.buffer in node.reads:
        target = body.temporary(node, body.names[var])
    else:
        body.copy(node, target)
    return target


def _store(
    body: Any,
    node: Node,
    target: Memory,
    layout: Any,
    part: Any,
    shifts: Sequence[tuple[int, Affine]] = (),
    sign: str = "=",
) -> None:
    """Put an array, broadcast, into a part of another one."""
    if 0 in part.shape:
        return
    offset = target.offset.plus(Affine(offset_of(part, layout)))
    for axis, shift in shifts:
        offset = offset.plus(shift.times(target.strides[axis]))
    body.copy(node, Memory(part.shape, target.dtype, target.buffer, part.strides, offset), sign)


def holes(body: Any, step: Step, memory: Memory, first: int) -> tuple[Any, Any]:
    """Of an index by arrays: the shape of the part that is met, and the place of one of its elements.

    The place writes lines that read the index arrays, and leaves the function where one is out of range.
    """
    rule: Any = step.rule
    layout = fake(memory.shape, memory.strides)
    part, axes, start = rule.holes(layout, step.params)
    arrays = [body.node(one) for one in step.inputs[first:]]
    arrays = [body.temporary(one, "index") if isinstance(one, Lazy) and one.shape else one for one in arrays]
    inside = np.broadcast_shapes(*[one.shape for one in arrays])
    shape = (*part.shape[:start], *inside, *part.shape[start:])
    base = memory.offset.plus(Affine(offset_of(part, layout)))
    failure = body.file.fails(f"an index is out of range ({line_of(body, step)})")

    def place(index: Sequence[Affine]) -> Affine:
        made = base
        for one, stride in zip((*index[:start], *index[start + len(inside) :]), part.strides, strict=True):
            made = made.plus(one.times(stride))
        for array, (stride, extent) in zip(arrays, axes, strict=True):
            name = body.file.names.new("at")
            term = array.under(index[start : start + len(inside)])
            body.say(f"int64_t {name} = {term.text};")
            body.say(f"if ({name} < 0) {name} += {extent};")
            body.say(f"if ({name} < 0 || {name} >= {extent}) return {failure};")
            made = made.plus(symbol(name).times(stride))
        return made

    return shape, place


def line_of(body: Any, step: Step) -> str:
    """The user's line, for the list of what can fail."""
    where = place_of(body.program.sites.get(step.outputs[0]))
    return f"line {where.line}: {where.text}" if where is not None else step.rule.name


def _scatter(body: Any, count: int, step: Step) -> bool:
    """Elements written or added at the places that index arrays say."""
    if not isinstance(step.rule, Gather) or step.rule.holes is None:
        return False
    (var,) = step.outputs
    body.cite(count)
    value = _apart(body, body.node(step.inputs[1]), body.node(step.inputs[0]))
    target = _base(body, count, step)
    shape, place = holes(body, step, target, 2)
    sign = "+=" if step.rule.adds else "="

    def entry(index: list[Affine]) -> None:
        where = place(index)
        term = cast(value.under(index), value.dtype, target.dtype)
        body.say(f"{token(target.buffer)}[{where}] {sign} {term.text};")

    body.nest(shape, entry)
    body.nodes[var] = target
    return True


def picked(body: Any, count: int, step: Step) -> bool:
    """Elements read at the places that index arrays say."""
    if not isinstance(step.rule, Gather) or step.rule.holes is None or step.rule.update is not None:
        return False
    (var,) = step.outputs
    body.cite(count)
    source = body.node(step.inputs[0])
    source = source if isinstance(source, Memory) else body.temporary(source, "held")
    shape, place = holes(body, step, source, 1)
    target = body.room(var)

    def entry(index: list[Affine]) -> None:
        where = place(index)
        body.say(f"{target.at(index).text} = {token(source.buffer)}[{where}];")

    body.nest(shape, entry)
    body.nodes[var] = target
    return True


def _from_positions(body: Any, count: int, step: Step) -> bool:
    """Any rearrangement: the rule itself says, given the numbers of the elements, where each of them goes."""
    rule = step.rule
    if not isinstance(rule, Gather) or rule.linear is not None or rule.adds or rule.update is not None:
        return False
    (var,) = step.outputs
    out = body.program.types[var]
    ids, start = [], 0
    for one in step.inputs:
        kind = body.type_of(one)
        ids.append(np.arange(start, start + kind.size, dtype=np.float64).reshape(kind.shape))
        start += kind.size
    made = np.asarray(rule.value(*ids, *step.params)).astype(np.int64)
    if made.shape != out.shape:
        return False
    body.cite(count)
    target = body.room(var)
    start = 0
    for one in step.inputs:
        kind, node = body.type_of(one), body.node(one)
        mask = (made >= start) & (made < start + kind.size)
        if mask.any():
            _store_positions(body, node, target, made - start, mask)
        start += kind.size
    body.nodes[var] = target
    return True


def _store_positions(body: Any, node: Node, target: Memory, made: Any, mask: Any) -> None:
    """The elements of one argument in the places of the mask: a box of them, in loops, or one by one."""
    corners = [
        np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        for axis in range(mask.ndim)
    ]
    box = np.ix_(*corners)
    steps = [int(one[1] - one[0]) if len(one) > 1 else 1 for one in corners]
    even = all(len(one) < 2 or set(np.diff(one).tolist()) == {step} for one, step in zip(corners, steps, strict=True))
    shape = tuple(map(len, corners))
    inside = made[box] if made.ndim else made
    first = int(inside.reshape(-1)[0])
    strides = [
        int(inside[(0,) * axis + (1,)].reshape(-1)[0]) - first if extent > 1 else 0 for axis, extent in enumerate(shape)
    ]
    grid = first + sum(np.arange(extent).reshape(-1, *(1,) * (len(shape) - axis - 1)) * stride
                       for axis, (extent, stride) in enumerate(zip(shape, strides, strict=True)))  # fmt: skip
    offset = target.offset.plus(
        Affine(sum(int(one[0]) * stride for one, stride in zip(corners, target.strides, strict=True)))
    )
    whole = Memory(
        shape, target.dtype, target.buffer, tuple(a * b for a, b in zip(steps, target.strides, strict=True)), offset
    )
    block = node if not node.shape else body.in_memory(node)
    if not (
        even and (not made.ndim or mask[box].all()) and np.array_equal(inside, np.broadcast_to(grid, inside.shape))
    ):
        raise NotImplementedError
    if isinstance(block, Memory):
        block = Memory(shape, block.dtype, block.buffer, tuple(strides), block.offset.plus(Affine(first)))
    body.copy(block, whole)
