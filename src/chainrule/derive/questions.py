"""Questions to a derivation: by which paths an entry acts, and where something became zero, infinite, NaN or huge.

One entry is followed forwards: what a small change of it does to each step that reads it, to those that read these,
and so on to the result. Where such a change meets an adjoint, their product is what passes there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.derive.derivation import Derivation, Input, Item
from chainrule.derive.expression import Number
from chainrule.derive.names import unicode_number
from chainrule.derive.writing import written
from chainrule.errors import ArgumentError
from chainrule.program import Var
from chainrule.rule import Elementwise
from chainrule.source import Place, place
from chainrule.transforms.forward import forward

if TYPE_CHECKING:
    from chainrule.derive.block import Block
    from chainrule.derive.story import Story

__all__ = ["Nonfinite", "Path", "Why", "find", "where_nonfinite", "why"]

#: More paths than this are grouped by their first step.
MOST_PATHS = 12
#: A derivative this many times larger than the next factor is worth a remark.
_HUGE = 1e6


@dataclass(frozen=True, slots=True)
class Path:
    """One way from the entry to the result: the names on it, what passes along it, and the growth at each step."""

    names: tuple[str, ...]
    value: float
    growth: tuple[float, ...]

    def __str__(self) -> str:
        return f"{' → '.join(self.names)}: {_number(self.value)}"


@dataclass(frozen=True, slots=True)
class Why:
    """The answer of :meth:`Derivation.why`: the value of an entry's derivative, its paths and their sum, the reason.

    ``state`` is ``zero``, ``nan``, ``infinite``, ``huge`` or ``finite``; ``culprit`` the step that made it so.
    ``grouped`` says that the paths were too many: there is one entry for each step that reads the variable.
    """

    name: str
    index: tuple[int, ...]
    value: float
    state: str
    paths: tuple[Path, ...]
    grouped: bool
    culprit: str
    where: Place | None
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)


@dataclass(frozen=True, slots=True)
class Nonfinite:
    """Where something first became infinite or NaN: in a ``value``, or (all values being finite) in an ``adjoint``."""

    kind: str
    step: str
    index: tuple[int, ...]
    value: float
    where: Place | None
    #: What the step was given there, by name.
    factors: tuple[tuple[str, float], ...]
    reaches: bool
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)


# --- looking up -----------------------------------------------------------------------------------------------------


def find(d: Derivation, name: str) -> Item | Input:
    """The step or argument of this name; see :meth:`Derivation.find`."""
    for one in d.inputs:
        if name in (one.name, one.path):
            return one
    found: Item | None = None
    for item in d.walk():
        if item.name == name:
            found = item
            if item.kind != "group":
                return item
    if found is not None:
        return found
    known = [one.name for one in d.inputs] + [item.name for item in d.items]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    raise ArgumentError(
        f"nothing in the derivation of {d.function} is called {name!r}",
        cure=f"choose one of {', '.join(near or known[:12])}",
    )


def _variable(d: Derivation, name: str) -> Var:
    story = _story(d)
    names = {one.path: one.name for one in d.inputs}
    wanted = names.get(name, name)
    for var, one in story.names.items():
        if one == wanted:
            return var
    find(d, name)
    raise ArgumentError(
        f"{name!r} is a part of a step that is told as one", cure="ask for the step, or for what it reads"
    )


def _story(d: Derivation) -> Story:
    if d.story is None:
        raise ArgumentError("this derivation was made without its numbers", cure="ask one that chainrule.derive made")
    return d.story


# --- why ------------------------------------------------------------------------------------------------------------


def why(d: Derivation, name: str, index: Any = ()) -> Why:
    """Why an entry's derivative is what it is; see :meth:`Derivation.why`. Raises ArgumentError and IndexError."""
    story = _story(d)
    var = _variable(d, name)
    kind = story.program.types[var]
    at = tuple(int(one) for one in (index if isinstance(index, tuple | list) else (index,)))
    if len(at) != kind.ndim:
        raise ArgumentError(
            f"{name} has the shape {kind.shape}: an entry of it has {kind.ndim} numbers, not {len(at)}",
            cure=f"for instance d.why({name!r}, {(0,) * kind.ndim!r})",
        )
    at = tuple(range(extent)[one] for one, extent in zip(at, kind.shape, strict=True))
    label = story.names[var] + (f"[{', '.join(map(str, at))}]" if at else "")
    adjoint = story.evidence.adjoints.get(var)
    if adjoint is None:
        return _without(story, var, label, at, d)
    value = float(np.asarray(adjoint)[at])
    start = np.zeros(kind.shape, kind.dtype)
    start[at] = 1
    follow = _Follower(story)
    paths, grouped = follow.paths(var, start)
    said = [f"d{label} = {_number(value)}: the derivative of {d.function} with respect to {label}."]
    said += _told_paths(label, paths, grouped, follow.steps_of(var))
    if not np.isfinite(value):
        state = "nan" if np.isnan(value) else "infinite"
        culprit, where, more = _why_nonfinite(story, var, at)
    elif value == 0:
        state = "zero"
        culprit, where, more = _why_zero(story, follow, var, start)
    else:
        state, culprit, where, more = _why_large(story, value, paths)
    return Why(label, at, value, state, paths, grouped, culprit, where, (*said, *more))


def _without(story: Story, var: Var, label: str, at: tuple[int, ...], d: Derivation) -> Why:
    kind = story.program.types[var]
    if kind.dtype.kind not in "fc":
        reason = f"{label} is no real number ({kind.dtype}): it has no derivative."
    elif var in story.program.captures:
        reason = f"{label} is given to {d.function}, and not differentiated by."
    elif not story.readers.get(var):
        reason = f"no step of {d.function} reads {label}: whatever it is, the result stays the same."
    else:
        reason = f"{label} acts only on steps that are piecewise constant, or on none that reaches the result."
    where = place(story.program.sites.get(var))
    return Why(label, at, 0.0, "zero", (), False, "", where, (f"d{label} = 0. {reason}",))


def _told_paths(label: str, paths: Sequence[Path], grouped: bool, steps: int) -> Iterator[str]:
    if not paths:
        return
    if grouped:
        yield f"{label} acts through {steps} steps, by too many paths to list; what passes through each step first:"
    else:
        yield f"{label} reaches the result by {len(paths)} path{'s' if len(paths) > 1 else ''}:"
    for one in paths:
        yield f"  {one}"
    if len(paths) > 1:
        total = sum(one.value for one in paths)
        yield f"  together: {_number(total)}"


class _Follower:
    """Pushes a change of one variable along the steps."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.output = next(iter(var for var in story.program.outputs if isinstance(var, int)))

    def steps_of(self, var: Var) -> int:
        return len(self.readers(var))

    def readers(self, var: Var) -> list[Block]:
        """The steps through which the variable acts."""
        adjoints = self.story.evidence.adjoints
        return [block for block in self.story.readers.get(var, ()) if any(one in adjoints for one in block.makes)]

    def pushed(self, block: Block, var: Var, change: Any) -> dict[Var, Any]:
        """What a change of a variable makes of the results of a step that reads it."""
        values = self.story.evidence.values
        place_of = block.piece.reads.index(var)
        program = forward(block.piece.program, [place_of])
        given = [values[one] for one in block.piece.reads]
        with np.errstate(all="ignore"):
            made = program.run([*given, np.asarray(change)[()]])
        return dict(zip(block.makes, made[len(block.makes) :], strict=True))

    def count(self, var: Var, most: int, seen: dict[Var, int]) -> int:
        """How many paths lead from a variable to the result, counted up to ``most``."""
        if var == self.output:
            return 1
        if var not in seen:
            seen[var] = 0
            total = 0
            for block in self.readers(var):
                for one in block.makes:
                    if one in self.story.evidence.adjoints:
                        total = min(most, total + self.count(one, most, seen))
            seen[var] = total
        return seen[var]

    def paths(self, var: Var, start: Any) -> tuple[tuple[Path, ...], bool]:
        """All paths of an entry, or (if they are many or long) one for each step that reads it."""
        names = self.story.names
        few = len(self.story.blocks) <= 400 and self.count(var, MOST_PATHS + 1, {}) <= MOST_PATHS
        if few:
            made: list[Path] = []
            self.walk(var, start, (names[var],), (), made)
            return tuple(made), False
        first = []
        for block in self.readers(var):
            after = self.pushed(block, var, start)
            with np.errstate(all="ignore"):
                value = sum(
                    float(np.sum(np.asarray(change) * self.story.evidence.adjoints[one]))
                    for one, change in after.items()
                    if one in self.story.evidence.adjoints
                )
            growth = max((_size(change) for change in after.values()), default=0.0)
            first.append(Path((names[var], names[block.makes[0]], "…"), value, (growth,)))
        return tuple(first), True

    def walk(self, var: Var, change: Any, names: tuple[str, ...], growth: tuple[float, ...], made: list[Path]) -> None:
        if var == self.output:
            made.append(Path(names, float(np.asarray(change)), growth))
            return
        for block in self.readers(var):
            after = self.pushed(block, var, change)
            for one, moved in after.items():
                if one not in self.story.evidence.adjoints:
                    continue
                before, now = _size(change), _size(moved)
                with np.errstate(all="ignore"):
                    ratio = now / before if before else 0.0
                self.walk(one, moved, (*names, self.story.names[one]), (*growth, ratio), made)


def _size(change: Any) -> float:
    array = np.asarray(change, dtype=np.float64)
    return float(np.max(np.abs(array))) if array.size else 0.0


def _number(value: float) -> str:
    return unicode_number(float(f"{value:.6g}")) if np.isfinite(value) else unicode_number(value)


# --- zero, large ----------------------------------------------------------------------------------------------------


def _why_zero(story: Story, follow: _Follower, var: Var, change: Any) -> tuple[str, Place | None, list[str]]:
    """The first step on the way from the entry at which its action ends, or that several actions cancel."""
    name = story.names[var]
    readers = follow.readers(var)
    seen = 0
    while readers:
        seen += 1
        alive: list[tuple[Var, Any]] = []
        dead: list[Block] = []
        cancelling: list[float] = []
        for block in readers:
            for one, moved in follow.pushed(block, var, change).items():
                if one not in story.evidence.adjoints:
                    continue
                if _size(moved) == 0:
                    dead.append(block)
                    continue
                # Where nothing comes back, it does not matter what the change would be, be it infinite.
                adjoint = np.asarray(story.evidence.adjoints[one])
                back = np.broadcast_to(adjoint != 0, np.shape(moved))
                passed = np.asarray(moved)[back] * np.broadcast_to(adjoint, np.shape(moved))[back]
                cancelling += [float(x) for x in np.ravel(passed) if x]
                alive.append((one, moved))
        if cancelling:
            terms = ", ".join(_number(x) for x in cancelling[:6]) + (", …" if len(cancelling) > 6 else "")
            return "", None, [f"It is zero because what it does cancels: {terms} add up to 0."]
        if not alive:
            block = dead[0]
            return block.name, block.place, [f"It is zero because of step {block.label}. {_dead(block, story, name)}"]
        if follow.output in [one for one, _ in alive] or seen > len(story.blocks):
            break
        # The change passes, but what it makes does not act on: go on with the first of them.
        (var, change), name = alive[0], story.names[alive[0][0]]
        readers = follow.readers(var)
    return "", None, ["It is zero."]


def _dead(block: Block, story: Story, name: str) -> str:
    shown = _line(block, story)
    where = f" ({block.place.short}: {block.place.text.strip()})" if block.place is not None else ""
    partials = [one for one in block.partials() if one.operand.name == name]
    local = ""
    if partials and partials[0].expr is not None:
        word = f"∂{story.names[block.makes[0]]}/∂{name}" if partials[0].form == "partial" else f"d{name}"
        local = f" There the local derivative {word} = {written(partials[0].expr)} is 0 for what {name} is."
    return f"{shown}{where}.{local}"


def _line(block: Block, story: Story) -> str:
    expr = block.expression()
    return f"{story.names[block.makes[0]]} = {written(expr)}" if expr is not None else story.names[block.makes[0]]


def _why_large(story: Story, value: float, paths: Sequence[Path]) -> tuple[str, str, Place | None, list[str]]:
    size = max(abs(value), max((abs(one.value) for one in paths), default=0.0))
    steep = [
        (factor, one.names[at + 1]) for one in paths for at, factor in enumerate(one.growth) if at + 1 < len(one.names)
    ]
    if size < _HUGE or not steep:
        return "finite", "", None, []
    factor, name = max(steep)
    block = next(one for one in story.blocks if story.names[one.makes[0]] == name)
    said = f"It is large because of step {block.label}, which multiplies a change by {_number(factor)}: "
    said += _line(block, story)
    where = f" ({block.place.short}: {block.place.text.strip()})" if block.place is not None else ""
    given = _given(block, story, None)
    return "huge", name, block.place, [f"{said}{where}, with {given}."]


def _given(block: Block, story: Story, index: tuple[int, ...] | None) -> str:
    return ", ".join(f"{name} = {_number(value)}" for name, value in _factors(block, story, index)) or "no numbers"


def _factors(block: Block, story: Story, index: tuple[int, ...] | None) -> tuple[tuple[str, float], ...]:
    """What a step read at the entry of its result, by name; of arrays that are used as wholes, their extremes."""
    shape = story.program.types[block.makes[0]].shape
    elementwise = all(isinstance(step.rule, Elementwise) for step in block.steps)
    made: list[tuple[str, float]] = []
    for var in block.piece.reads:
        value = np.asarray(story.evidence.values[var])
        name = story.names[var]
        if value.dtype.kind not in "fiub" or value.size == 0:
            continue
        if value.ndim == 0:
            made.append((name, float(value)))
        elif elementwise and index is not None:
            spot = np.unravel_index(0, ()) if not shape else index
            whole = np.broadcast_to(value, shape)
            made.append((f"{name}[{', '.join(map(str, _own_index(value.shape, spot)))}]", float(whole[tuple(spot)])))
        else:
            worst = _most_telling(value)
            made.append((f"{name}[{', '.join(map(str, worst))}]", float(value[worst])))
    return tuple(made)


def _own_index(shape: tuple[int, ...], index: Sequence[Any]) -> tuple[int, ...]:
    mine = tuple(index)[len(index) - len(shape) :]
    return tuple(0 if extent == 1 else int(one) for one, extent in zip(mine, shape, strict=True))


def _most_telling(value: Any) -> tuple[int, ...]:
    """The entry that is not finite, or else the largest in size."""
    wide = value.astype(np.float64)
    bad = ~np.isfinite(wide)
    flat = int(np.argmax(bad)) if bad.any() else int(np.argmax(np.abs(wide)))
    return tuple(int(one) for one in np.unravel_index(flat, value.shape))


# --- infinite and NaN -----------------------------------------------------------------------------------------------


def _first_bad(value: Any) -> tuple[int, ...] | None:
    array = np.asarray(value)
    if array.dtype.kind not in "fc" or array.size == 0:
        return None
    bad = ~np.isfinite(array)
    if not bad.any():
        return None
    return tuple(int(one) for one in np.unravel_index(int(np.argmax(bad)), array.shape))


def where_nonfinite(d: Derivation) -> Nonfinite | None:
    """Where something first became infinite or NaN; see :meth:`Derivation.where_nonfinite`."""
    story = _story(d)
    return _bad_argument(d) or _bad_value(d, story) or _bad_adjoint(d, story)


def _bad_argument(d: Derivation) -> Nonfinite | None:
    for one in d.inputs:
        index = _first_bad(one.value)
        if index is not None:
            value = float(np.asarray(one.value)[index])
            label = _at(one.name, index)
            said = f"{label} is {_number(value)} already when {d.function} is called."
            reaches = not np.isfinite(d.value)
            return Nonfinite("value", one.name, index, value, None, ((label, value),), reaches, (said,))
    return None


def _at(name: str, index: Sequence[int]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if len(index) else name


def _bad_value(d: Derivation, story: Story) -> Nonfinite | None:
    for block in story.blocks:
        for one in [*block.parts, block]:
            var = one.makes[0]
            value = story.evidence.values[var]
            index = _first_bad(value)
            if index is None:
                continue
            bad = float(np.asarray(value)[index])
            factors = _factors(one, story, index)
            label = _at(story.names[var], index)
            expr = one.expression()
            shown = f" = {written(expr)}" if expr is not None else ""
            said = [f"{label} became {_number(bad)} in step {one.label}: {story.names[var]}{shown}"]
            said[0] += f", with {', '.join(f'{name} = {_number(x)}' for name, x in factors)}." if factors else "."
            said += _source(one)
            reaches = not np.isfinite(d.value)
            if reaches:
                said.append(f"The result of {d.function} is {_number(float(d.value))} because of it.")
            else:
                said.append(
                    "It does not reach the result: what is not selected further on is left out, gradient included."
                )
            return Nonfinite("value", story.names[var], index, bad, one.place, factors, reaches, tuple(said))
    return None


def _source(block: Block) -> list[str]:
    if block.place is None:
        return []
    return [f"  {block.place.file}:{block.place.line}: {block.place.text.strip()}"]


def _bad_adjoint(d: Derivation, story: Story) -> Nonfinite | None:
    for block in reversed(story.blocks):
        for var in block.piece.reads:
            found = _bad_contribution(story, block, var)
            if found is not None:
                index, bad, factors, sentences = found
                reaches = any(not np.all(np.isfinite(one.value)) for one in d.gradient)
                return Nonfinite(
                    "adjoint", story.names[var], index, bad, block.place, factors, reaches, tuple(sentences)
                )
    return None


def _bad_contribution(
    story: Story, block: Block, var: Var, asked: tuple[int, ...] | None = None
) -> tuple[tuple[int, ...], float, tuple[tuple[str, float], ...], list[str]] | None:
    """Whether the adjoint of a variable became bad in this step, whose own adjoint was still good."""
    adjoints = story.evidence.adjoints
    if var not in adjoints or any(_first_bad(adjoints[one]) for one in block.makes if one in adjoints):
        return None
    made = block.contribution(var)
    index = None if made is None else _first_bad(made.value)
    if made is None or index is None or _first_bad(adjoints[var]) is None:
        return None
    if asked is not None and len(asked) == len(index) and not np.isfinite(np.asarray(made.value)[asked]):
        index = asked
    bad = float(np.asarray(made.value)[index])
    factors = list(_local_factors(story, block, var, index))
    name = _at(story.names[var], index)
    formula = f" = {written(made.expr)}" if made.expr is not None else ""
    said = [
        f"d{name} became {_number(bad)} in step {block.label} ({_line(block, story)}): d{story.names[var]}{formula}"
    ]
    said[0] += f", with {', '.join(f'{label} = {_number(x)}' for label, x in factors)}." if factors else "."
    said += _source(block)
    return index, bad, tuple(factors), said


def _local_factors(story: Story, block: Block, var: Var, index: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    """The numbers that met in a contribution at an entry: values, adjoint, and the local derivative itself."""
    yield from _factors(block, story, index)
    for one in block.makes:
        for prefix, table in (("", story.evidence.values), ("d", story.evidence.adjoints)):
            if one not in table:
                continue
            value = np.asarray(table[one])
            spot = index if value.shape == np.shape(story.evidence.values[var]) else ()
            if value.ndim == 0 or spot:
                yield _at(prefix + story.names[one], spot), float(value[spot])
    partials = [each for each in block.partials() if each.operand.name == story.names[var]]
    if partials and partials[0].form == "partial" and partials[0].expr is not None:
        slope = block.partial_value(partials[0].expr, index)
        shown = f"∂{story.names[block.makes[0]]}/∂{story.names[var]}"
        if slope is not None:
            yield (shown if isinstance(partials[0].expr, Number) else f"{shown} = {written(partials[0].expr)}"), slope


def _why_nonfinite(story: Story, var: Var, at: tuple[int, ...]) -> tuple[str, Place | None, list[str]]:
    """The step at which what comes back to a variable was bad for the first time, going back from the result."""
    adjoints = story.evidence.adjoints
    readers = story.readers
    seen: set[Var] = set()
    while var not in seen:
        seen.add(var)
        for block in readers.get(var, ()):
            found = _bad_contribution(story, block, var, at if len(seen) == 1 else None)
            if found is not None:
                _, _, _, said = found
                return story.names[block.makes[0]], block.place, said
        worse = [
            one
            for block in readers.get(var, ())
            for one in block.makes
            if one in adjoints and _first_bad(adjoints[one]) is not None
        ]
        if not worse:
            break
        var = worse[0]
    for block in story.blocks:
        index = _first_bad(story.evidence.values[block.makes[0]])
        if index is not None:
            given = _given(block, story, index)
            said = [f"A value was not finite before: {_line(block, story)}, with {given}.", *_source(block)]
            return story.names[block.makes[0]], block.place, said
    return "", None, []
