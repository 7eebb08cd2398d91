"""What the transforms need to enter a loop: its parts by name, what is carried by what, a new loop made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from chainrule.build import Builder, Value
from chainrule.expand import loop_rule
from chainrule.program import Literal, Operand, Program, Step, Var
from chainrule.rule import Cost, Discrete, Elementwise, Gather, Loop, Opaque

__all__ = [
    "Parts", "carried_on", "left_behind", "masked_loops", "merged", "parts_of", "pruned", "reached", "record_loop",
    "steps_for",
]  # fmt: skip


class Parts(NamedTuple):
    """The variables of a loop's body, and beside them what the loop is given."""

    body: Program
    trips: int
    reverse: bool
    number: Var
    carries: tuple[Var, ...]
    sequences: tuple[Var, ...]
    invariants: tuple[Var, ...]
    #: What the body gives: the carries of the next iteration, and the results.
    following: tuple[Operand, ...]
    results: tuple[Operand, ...]
    initial: tuple[Operand, ...]
    stacks: tuple[Operand, ...]
    shared: tuple[Operand, ...]
    #: What the loop gives: the last carries, and the stacked results.
    finals: tuple[Var, ...]
    stacked: tuple[Var, ...]


def parts_of(step: Step) -> Parts:
    """A Loop step taken apart."""
    body, trips, carries, sequences, reverse = step.params
    inputs, given = body.inputs[1:], step.inputs
    end = carries + sequences
    return Parts(
        body, trips, reverse, body.inputs[0], inputs[:carries], inputs[carries:end], inputs[end:],
        body.outputs[:carries], body.outputs[carries:], given[:carries], given[carries:end], given[end:],
        step.outputs[:carries], step.outputs[carries:],
    )  # fmt: skip


def carried_on(
    step: Step, chosen: Iterable[Var], spread: Callable[[Program, Sequence[int]], set[Var]]
) -> tuple[set[Var], set[Var]]:
    """The inputs of the body that have a property which ``chosen`` arguments have, and all its variables that do.

    ``spread(body, positions)`` says which variables get it from these inputs; a carry that gets it in one iteration has
    it in the next.
    """
    chosen = set(chosen)
    body, _, carries, _, _ = step.params
    positions = {1 + place for place, one in enumerate(step.inputs) if type(one) is int and one in chosen}
    while True:
        found = spread(body, sorted(positions))
        more = {
            1 + place
            for place, one in enumerate(body.outputs[:carries])
            if type(one) is int and one in found and 1 + place not in positions
        }
        if not more:
            return {body.inputs[place] for place in positions}, found
        positions |= more


def reached(program: Program, wrt: Sequence[int]) -> set[Var]:
    """Every variable that depends on the inputs number ``wrt``."""
    found = {program.inputs[place] for place in wrt}
    for step in program.steps:
        if any(type(one) is int and one in found for one in step.inputs):
            found.update(step.outputs)
    return found


def merged(step: Step) -> tuple[Step, dict[Var, Var]]:
    """The loop without what it is given or gives twice; and for each output that has gone the one that it equals."""
    parts = parts_of(step)
    body = parts.body
    same: dict[Operand, Operand] = {}
    seen: dict[Any, Var] = {}
    inputs, given = list(body.inputs[: 1 + len(parts.carries)]), list(parts.initial)
    counts = []
    for variables, operands in ((parts.sequences, parts.stacks), (parts.invariants, parts.shared)):
        before = len(inputs)
        for var, one in zip(variables, operands, strict=True):
            key = (variables is parts.sequences, one, body.types[var])
            if key in seen:
                same[var] = seen[key]
            else:
                seen[key] = var
                inputs.append(var)
                given.append(one)
        counts.append(len(inputs) - before)
    steps = [one._replace(inputs=tuple([same.get(item, item) for item in one.inputs])) for one in body.steps]
    gone: dict[Var, Var] = {}
    first: dict[Operand, Var] = {}
    results, outputs = [same.get(one, one) for one in parts.following], list(parts.finals)
    for one, var in zip(parts.results, parts.stacked, strict=True):
        now = same.get(one, one)
        if now in first:
            gone[var] = first[now]
        else:
            first[now] = var
            results.append(now)
            outputs.append(var)
    if not same and not gone:
        return step, gone
    made = Program(
        name=body.name, types=body.types, inputs=inputs, steps=steps, outputs=results, sites=body.sites,
        names=body.names,
    )  # fmt: skip
    params = (made, parts.trips, len(parts.carries), counts[0], parts.reverse)
    return Step(step.rule, tuple(given), params, tuple(outputs)), gone


def steps_for(steps: Sequence[Step], wanted: Iterable[Operand]) -> list[Step]:
    """The steps that these variables need."""
    needed: set[Operand] = {one for one in wanted if not isinstance(one, Literal)}
    kept = []
    for step in reversed(steps):
        if any(var in needed for var in step.outputs):
            needed.update(one for one in step.inputs if not isinstance(one, Literal))
            kept.append(step)
    kept.reverse()
    return kept


def record_loop(
    builder: Builder,
    source: Builder,
    trips: int,
    reverse: bool,
    number: Var,
    carries: Sequence[tuple[Var, Operand, Any]],
    sequences: Sequence[tuple[Var, Any]],
    invariants: Sequence[tuple[Var, Any]],
    results: Sequence[Operand],
    name: str,
) -> tuple[list[Value], list[Value]]:
    """Record a loop whose body are steps of ``source``: its last carries, and its stacked results.

    A carry is (what it is in the body, what it is for the next iteration, its first value). Arrays that ``source``
    captured become invariants. Steps and arguments that nothing needs are left out.
    """
    shared = [*invariants, *((var, array) for var, array in zip(source.captures, source.constants, strict=True))]
    outputs = [*(following for _, following, _ in carries), *results]
    steps = steps_for(source.steps, outputs)
    read = {one for step in steps for one in step.inputs} | set(outputs)
    sequences = [one for one in sequences if one[0] in read]
    shared = [one for one in shared if one[0] in read]
    inputs = [number, *[one[0] for one in carries], *[one[0] for one in sequences], *[one[0] for one in shared]]
    body = Program(
        name=name, types=source.types, inputs=inputs,
        steps=steps, outputs=outputs, sites=source.sites, names=source.names,
    )  # fmt: skip
    given = [*(one[2] for one in carries), *(one[1] for one in (*sequences, *shared))]
    operands = tuple([builder.operand(one) for one in given])
    made = builder.add(loop_rule(), operands, (body, trips, len(carries), len(sequences), reverse))
    values = [Value(builder, var) for var in made]
    return values[: len(carries)], values[len(carries) :]


def pruned(step: Step, read: set[Any]) -> Step:
    """The loop without results and carries that nobody reads, and without what only these needed."""
    parts = parts_of(step)
    kept = {place for place, var in enumerate(parts.finals) if var in read}
    results = [place for place, var in enumerate(parts.stacked) if var in read]
    while True:
        wanted = [*(parts.following[place] for place in kept), *(parts.results[place] for place in results)]
        steps = steps_for(parts.body.steps, wanted)
        needed = {*wanted, *[one for other in steps for one in other.inputs]}
        more = {place for place, var in enumerate(parts.carries) if var in needed} - kept
        if not more:
            break
        kept |= more
    carries = sorted(kept)
    sequences = [place for place, var in enumerate(parts.sequences) if var in needed]
    invariants = [place for place, var in enumerate(parts.invariants) if var in needed]
    body = parts.body
    body = Program(
        name=body.name, types=body.types,
        inputs=[
            parts.number, *(parts.carries[place] for place in carries),
            *(parts.sequences[place] for place in sequences), *(parts.invariants[place] for place in invariants),
        ],
        steps=steps,
        outputs=[*(parts.following[place] for place in carries), *(parts.results[place] for place in results)],
        sites=body.sites, names=body.names,
    )  # fmt: skip
    inputs = (
        *(parts.initial[place] for place in carries),
        *(parts.stacks[place] for place in sequences),
        *(parts.shared[place] for place in invariants),
    )
    outputs = (*(parts.finals[place] for place in carries), *(parts.stacked[place] for place in results))
    return Step(step.rule, inputs, (body, parts.trips, len(carries), len(sequences), parts.reverse), outputs)


# --- backwards --------------------------------------------------------------------------------------------------------


def left_behind(
    builder: Builder, recorded: int, carries: Sequence[Operand], free: set[Operand], outputs: Sequence[Operand]
) -> list[Var]:
    """What a loop must leave for its sweep: variables of its first ``recorded`` steps that the others read.

    What is cheap is computed again, from ``free`` inputs and from what is left anyway. A carry is left only where the
    sweep itself reads it: an array that the iterations write to is not copied in each of them.
    """
    made_by = {var: step for step in builder.steps[:recorded] for var in step.outputs}
    read = {one for step in steps_for(builder.steps[recorded:], outputs) for one in step.inputs} | set(outputs)
    carried = set(carries)
    wanted = sorted(one for one in read if type(one) is int and (one in made_by or one in carried))
    kept = {one for one in wanted if one in carried or not _cheap(made_by[one])}
    again: dict[Operand, bool] = {}

    def possible(one: Operand) -> bool:
        if isinstance(one, Literal) or one in free or one in kept:
            return True
        if one not in again:
            step = made_by.get(one)
            again[one] = step is not None and _cheap(step) and all(map(possible, step.inputs))
        return again[one]

    for one in wanted:
        if not possible(one):
            kept.add(one)
            again.clear()
    return sorted(kept)


def _cheap(step: Step) -> bool:
    rule = step.rule
    if isinstance(rule, Elementwise | Discrete):
        return isinstance(rule.cost, Cost) and not rule.cost.calls
    return rule.aliases


class _Traits(NamedTuple):
    """What a part of a program does with masks of elements that were not selected (see ``backprop``)."""

    #: It makes a mask: an index by which elements are left out; a selection by value.
    leaves_out: bool
    selects: bool
    #: It needs one: its partial is infinite somewhere; it has a partial that may overflow.
    singular: bool
    varies: bool


def masked_loops(
    program: Program, active: set[Var], spread: Callable[[Program, Sequence[int]], set[Var]]
) -> set[tuple[Var, ...]]:
    """The loops (by their outputs) through which a mask would have to pass, which a loop does not carry.

    A mask matters where an element is left out and, before it, a partial is infinite: then 0 * inf must be kept out.
    Such a loop is written out before it is differentiated.
    """
    traits = [_traits(program, step, active, spread) for step in program.steps]
    found = set()
    for place, step in enumerate(program.steps):
        if not isinstance(step.rule, Loop):
            continue
        before, after = traits[: place + 1], traits[place:]
        weak, strong = any(one.leaves_out for one in after), any(one.selects for one in after)
        if (strong and any(one.varies for one in before)) or ((weak or strong) and any(one.singular for one in before)):
            found.add(step.outputs)
    return found


def _traits(program: Program, step: Step, active: set[Var], spread: Any) -> _Traits:
    rule = step.rule
    acting = [place for place, one in enumerate(step.inputs) if type(one) is int and one in active]
    if not acting:
        return _Traits(False, False, False, False)
    if isinstance(rule, Loop):
        _, inside = carried_on(step, active, spread)
        body = step.params[0]
        inner = [_traits(body, one, inside, spread) for one in body.steps]
        return _Traits(*[any(one[trait] for one in inner) for trait in range(4)])
    if isinstance(rule, Elementwise):
        arguments = [one.value if isinstance(one, Literal) else program.types[one] for one in step.inputs]
        singular = rule.singular(*arguments) if callable(rule.singular) else bool(rule.singular)
        return _Traits(False, rule.selects, singular, any(callable(rule.partials[place]) for place in acting))
    if isinstance(rule, Gather):
        size = program.types[step.outputs[0]].size
        indexed = rule.linear is not None and len(step.inputs) > len(rule.linear)
        sizes = [program.types[step.inputs[place]].size for place in acting]  # type: ignore[index]
        return _Traits(any(one > size or (one < size and indexed) for one in sizes), False, False, False)
    if isinstance(rule, Opaque):
        return _Traits(rule.selects, rule.selects, False, True)
    return _Traits(False, False, False, False)
