"""Where a program repeats itself: runs of steps that are copies of each other, found without knowing the source."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.program import Literal, Operand, Program
from chainrule.rule import Elementwise, Rule

__all__ = ["LEAST", "Facts", "Run", "moving_parts", "runs_of"]

#: So many iterations make a loop.
LEAST = 3
#: An iteration reads values of at most so many iterations before it.
_LAGS = 8
#: A value that was made so many steps before is read as something of the neighbourhood.
_NEAR = 64
#: So many distances are tried as the length of an iteration.
_PERIODS = 256

_Ints = Any


@dataclass(frozen=True)
class Run:
    """``trips`` blocks of ``period`` steps that are copies of each other, from step number ``start``.

    ``operands`` are the codes of what the blocks read (see ``Facts``), a row a block. ``lags`` says for each column how
    many blocks before the value is made (0: the same block); -1 where the column is no value of the blocks.
    ``parts`` has for each step of a block whose parameters move the integers in them, a row a block.
    """

    start: int
    period: int
    trips: int
    operands: _Ints
    lags: _Ints
    parts: dict[int, _Ints]

    @property
    def stop(self) -> int:
        """The number of the step after the last one."""
        return self.start + self.period * self.trips


def moving_parts(rule: Rule, params: tuple[Any, ...], number: Rule) -> tuple[Any, tuple[int, ...]]:
    """Parameters with the integers taken out that may grow from one iteration to the next, and these integers."""
    if rule is number:
        start, *rest = params
        return (None, *rest), (start,) if type(start) is int else ()
    template: list[Any] = []
    ints: list[int] = []
    for one in params[0]:
        moved, start = _start_of(one)
        template.append(moved)
        if start is not None:
            ints.append(start)
    return (tuple(template), *params[1:]), tuple(ints)


def _start_of(one: Any) -> tuple[Any, int | None]:
    if type(one) is int:
        # Counted from the end or from the beginning, but not both.
        return ("int", one < 0), one
    if type(one) is tuple:
        inner, start = _start_of(one[1])
        return ("affine", inner, *one[2:]), start
    if type(one) is str and ":" in one:
        first, last, *step = one.split(":")
        if first.isdigit() and last.isdigit():
            return ("slice", int(last) - int(first), *step), int(first)
    return one, None


class Facts:
    """A program as tables of integers.

    ``codes`` has for each operand of each step the number of the variable, or ``-1 - k`` for literal number k. ``rank``
    numbers the results of steps in their order; it is -1 for inputs and captures.
    """

    def __init__(self, program: Program, number: Rule) -> None:
        self.program = program
        steps = program.steps
        rank = [-1] * len(program.types)
        made_at = [-1] * len(program.types)
        outs_before, operands_before, codes = [0], [0], list[int]()
        self.literals: list[Literal] = []
        literal_codes: dict[int, int] = {}
        self.parts: list[tuple[int, ...]] = []
        coarse, fine, exact = list[int](), list[int](), list[int]()
        jumps = list[tuple[int, int]]()
        last_ints: dict[int, tuple[int, ...]] = {}
        known: dict[Any, int] = {}
        abstract: dict[Any, tuple[Any, tuple[int, ...]]] = {}
        types = program.types
        count = 0
        for place, (rule, inputs, params, outputs) in enumerate(steps):
            ints: tuple[int, ...] = ()
            shown: Any = params
            if (rule.moving or rule is number) and (rule is number or "?" not in params[0]):
                found = abstract.get((rule, params))
                if found is None:
                    found = abstract[rule, params] = moving_parts(rule, params, number)
                shown, ints = found
            self.parts.append(ints)
            near: list[Any] = []
            absolute: list[Any] = []
            given: list[Any] = []
            simple = isinstance(rule, Elementwise)
            for one in inputs:
                if type(one) is int:
                    codes.append(one)
                    back = place - made_at[one]
                    if made_at[one] < 0 or back > _NEAR:
                        near.append(None)
                        absolute.append(-1 - one)
                    else:
                        near.append(back)
                        absolute.append(back)
                    if not simple:
                        given.append(types[one])
                else:
                    code = literal_codes.get(id(one))
                    if code is None:
                        code = literal_codes[id(one)] = -1 - len(self.literals)
                        self.literals.append(one)  # type: ignore[arg-type]
                    codes.append(code)
                    near.append(None)
                    absolute.append(one)
                    if not simple:
                        given.append((one.shape, str(one.dtype)))  # type: ignore[union-attr]
            kind = (rule, shown, len(inputs), tuple([types[var] for var in outputs]), *given)
            one_coarse = known.setdefault(kind, len(known))
            coarse.append(one_coarse)
            fine.append(known.setdefault((one_coarse, tuple(near)), len(known)))
            exact.append(known.setdefault((one_coarse, ints, tuple(absolute)), len(known)))
            if ints:
                before = last_ints.get(one_coarse, ints)
                moved = (one_coarse, *[one - other for one, other in zip(ints, before, strict=True)], None)
                jumps.append((place, known.setdefault(moved, len(known))))
                last_ints[one_coarse] = ints
            for var in outputs:
                rank[var] = count
                made_at[var] = place
                count += 1
            outs_before.append(count)
            operands_before.append(len(codes))
        self.last_read = self._last_read(codes, operands_before, rank, count)
        numbers: dict[int, int] = {}
        self._kinds = np.array([numbers.setdefault(id(kind), len(numbers)) for kind in types], dtype=np.int64)
        self._scalars = {numbers[id(kind)] for kind in types if kind.shape == ()} | {-1}
        self.coarse = np.array(coarse, dtype=np.int64)
        #: Labels of steps whose recurrence hints at a period: (the number of the step, the label).
        self.labels = [list(enumerate(fine)), list(enumerate(exact)), list(enumerate(coarse)), jumps]
        self.fine = fine
        self.codes = np.array(codes, dtype=np.int64)
        self.rank = np.array(rank, dtype=np.int64)
        self.made_at = np.array(made_at, dtype=np.int64)
        self.outs_before = np.array(outs_before, dtype=np.int64)
        self.operands_before = np.array(operands_before, dtype=np.int64)

    def _last_read(self, codes: list[int], operands_before: list[int], rank: list[int], count: int) -> _Ints:
        """For each result of a step the last step that reads it; results and guards are read by the end."""
        last = np.full(count, -1, dtype=np.int64)
        read = np.array(codes, dtype=np.int64)
        readers = np.repeat(np.arange(len(operands_before) - 1), np.diff(operands_before))
        ranks = np.where(read >= 0, np.array(rank, dtype=np.int64)[np.maximum(read, 0)], -1)
        np.maximum.at(last, ranks[ranks >= 0], readers[ranks >= 0])
        ends = [one for one in self.program.outputs if type(one) is int] + [var for var, _ in self.program.guards]
        last[[rank[var] for var in ends if rank[var] >= 0]] = len(self.program.steps)
        return last

    def kinds_of_steps(self, start: int, period: int) -> int:
        """How many kinds of steps are in a block."""
        return len(set(self.fine[start + period : start + 2 * period]))

    def kinds(self, codes: _Ints) -> _Ints:
        """Numbers of the types of operands; -1 for literals."""
        return np.where(codes >= 0, self._kinds[np.maximum(codes, 0)], -1)

    def is_number(self, kinds: _Ints) -> _Ints:
        """Which of these types are those of single numbers."""
        return np.array([kind in self._scalars for kind in kinds.tolist()], dtype=bool)

    def operand(self, code: int) -> Operand:
        """What a code stands for."""
        return int(code) if code >= 0 else self.literals[-1 - int(code)]

    def ranks(self, codes: _Ints) -> _Ints:
        """The ranks of operands; -2 for literals."""
        return np.where(codes >= 0, self.rank[np.maximum(codes, 0)], -2)


# --- candidates -------------------------------------------------------------------------------------------------------


def _periods(facts: Facts) -> list[int]:
    """The distances at which steps of a kind come again, the most frequent first."""
    counts: dict[int, int] = {}
    for labels in facts.labels:
        last: dict[int, int] = {}
        for place, label in labels:
            before = last.get(label)
            if before is not None:
                counts[place - before] = counts.get(place - before, 0) + 1
            last[label] = place
    longest = len(facts.coarse) // LEAST
    found = [period for period, many in counts.items() if many >= LEAST - 1 and period <= longest]
    found.sort(key=lambda period: (-counts[period], period))
    return found[:_PERIODS]


def _regions(coarse: _Ints, period: int) -> Iterator[tuple[int, int]]:
    """Where the kinds of steps come again after ``period`` steps, and again: (start, stop)."""
    same = np.empty(len(coarse) - period + 2, dtype=bool)
    same[0] = same[-1] = False
    np.equal(coarse[period:], coarse[:-period], out=same[1:-1])
    edges = np.flatnonzero(same[1:] != same[:-1])
    starts, stops = edges[::2], edges[1::2]
    long = stops - starts >= (LEAST - 1) * period
    for start, stop in zip(starts[long].tolist(), stops[long].tolist(), strict=True):
        yield start, stop + period


def runs_of(facts: Facts) -> list[Run]:
    """Runs that do not overlap, in the order of the program: those that save the most steps.

    The steps of a run are counted as the kinds of steps in one block, since what repeats in a block is folded too: so
    the outer loop is found before the inner one.
    """
    if len(facts.coarse) < 2 * LEAST - 2:
        return []
    #: Saved steps (negative: the most come first), the period, which region it is, and the runs in it once known.
    waiting: list[tuple[int, int, int, int, list[Run] | None]] = []
    regions: dict[tuple[int, int], int] = {}
    for number, period in enumerate(_periods(facts)):
        for start, stop in _regions(facts.coarse, period):
            saved = stop - start - facts.kinds_of_steps(start, period)
            waiting.append((-saved, period, number, start, None))
            regions[number, start] = stop
    heapq.heapify(waiting)
    free = np.ones(len(facts.coarse), dtype=bool)
    found: list[Run] = []
    while waiting:
        saved, period, number, start, runs = heapq.heappop(waiting)
        if runs is not None and all(free[run.start : run.stop].all() for run in runs):
            found += runs
            for run in runs:
                free[run.start : run.stop] = False
            continue
        stop = regions[number, start]
        edges = np.flatnonzero(np.diff(np.concatenate([[False], free[start:stop], [False]])))
        runs = [
            run
            for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
            for run in _runs_in(facts, start + first, start + last, period)
        ]
        if runs:
            saved = -sum(run.stop - run.start - facts.kinds_of_steps(run.start, period) for run in runs)
            heapq.heappush(waiting, (saved, period, number, start, runs))
    found.sort(key=lambda run: run.start)
    return found


def _runs_in(facts: Facts, start: int, stop: int, period: int) -> Iterator[Run]:
    """The runs of this period in a region where the kinds of steps are periodic."""
    waiting = [(start, stop)]
    while waiting:
        start, stop = waiting.pop()
        trips = (stop - start) // period
        if trips < LEAST:
            continue
        shift = _phase(facts, start, period, trips)
        if shift and (stop - start - shift) // period >= LEAST:
            start += shift
            trips = (stop - start) // period
        first, last, run = _longest(facts, start, period, trips)
        if run is not None and _pays(facts, run):
            yield run
            waiting.append((run.stop, stop))
            if first:
                waiting.append((start, run.start))
        elif last < trips:
            waiting.append((start + last * period, stop))


def _columns(facts: Facts, start: int, period: int, trips: int) -> tuple[_Ints, _Ints, int, int]:
    first = facts.operands_before[start]
    width = int(facts.operands_before[start + period] - first)
    codes = facts.codes[first : first + trips * width].reshape(trips, width)
    base = int(facts.outs_before[start])
    results = int(facts.outs_before[start + period]) - base
    return codes, facts.ranks(codes), base, results


def _middle(trips: int) -> int:
    return (trips - 1) // 2


def _lags(ranks: _Ints, base: int, results: int) -> _Ints:
    """For each column how many blocks before its value is made, judged in the middle of the run."""
    row = _middle(len(ranks)) + 1
    steady = (ranks[row] - ranks[row - 1] == results) & (ranks[row] >= base)
    lags = row - (ranks[row] - base) // max(results, 1)
    return np.where(steady & (lags <= _LAGS), lags, -1)


def _phase(facts: Facts, start: int, period: int, trips: int) -> int:
    """Where in the region the first iteration begins: where the fewest values pass from one iteration to the next.

    Among such places the one at which the user's code jumps the farthest: the head of the loop.
    """
    codes, ranks, base, results = _columns(facts, start, period, trips)
    lags = _lags(ranks, base, results)
    row = _middle(trips) + 1
    columns = np.flatnonzero(lags >= 0)
    if not len(columns):
        return 0
    offsets = facts.operands_before[start : start + period + 1] - facts.operands_before[start]
    readers = start + row * period + np.searchsorted(offsets, columns, side="right") - 1
    makers = facts.made_at[codes[row, columns]]
    # A value made at q and last read at k passes the places q + 1 .. k.
    last: dict[int, tuple[int, int]] = {}
    for rank, maker, reader in zip(ranks[row, columns].tolist(), makers.tolist(), readers.tolist(), strict=True):
        key = (rank - base) % results
        if key not in last or reader - maker > last[key][1]:
            last[key] = (maker, reader - maker)
    crossing = np.zeros(period + 1, dtype=np.int64)
    everywhere = 0
    for maker, length in last.values():
        everywhere += length // period
        begin = (maker + 1 - start) % period
        end = begin + length % period
        crossing[begin] += 1
        if end <= period:
            crossing[end] -= 1
        else:
            crossing[period] -= 1
            crossing[0] += 1
            crossing[end - period] -= 1
    crossing = np.cumsum(crossing)[:period]
    fewest = np.flatnonzero(crossing == crossing.min())
    return max(fewest.tolist(), key=lambda shift: (_jump(facts.program, start + shift, period), -shift))


def _jump(program: Program, place: int, period: int) -> int:
    """How far the user's code jumps between the step before this place, one block on, and the step there."""
    before, after = program.steps[place + period - 1], program.steps[place + period]
    one, other = program.sites.get(before.outputs[0]), program.sites.get(after.outputs[0])
    return abs(one[1] - other[1]) if one is not None and other is not None and one[0] is other[0] else 0


# --- one run ----------------------------------------------------------------------------------------------------------


def _longest(facts: Facts, start: int, period: int, trips: int) -> tuple[int, int, Run | None]:
    """The blocks around the middle that are copies of each other: (first, last) of them, and the run."""
    codes, ranks, base, results = _columns(facts, start, period, trips)
    lags = _lags(ranks, base, results)
    middle = _middle(trips)
    rows = np.arange(trips)[:, None]
    before = ranks < base
    fits = before.copy()
    inside = lags >= 0
    steady = ranks == ranks[middle + 1] + (rows - middle - 1) * results
    fits[:, inside] = (steady | (before & (rows < lags)))[:, inside]
    # What nearly all blocks read is the same for all; the others are left out.
    shared = (codes == codes[middle]) & before
    mostly = ~inside & (shared.mean(axis=0) >= 0.7) & (trips >= 8)
    fits[:, mostly] = shared[:, mostly]
    good = fits.all(axis=1)
    good &= _same_types(facts, codes)
    parts: dict[int, _Ints] = {}
    for place in range(period):
        if facts.parts[start + place]:
            table = np.array([facts.parts[start + place + row * period] for row in range(trips)], dtype=np.int64)
            stride = table[middle + 1] - table[middle]
            good &= (table == table[middle] + (rows - middle) * stride).all(axis=1)
            parts[place] = table
    bad = np.flatnonzero(~good)
    first = int(bad[bad <= middle][-1]) + 1 if (bad <= middle).any() else 0
    last = int(bad[bad > middle][0]) if (bad > middle).any() else trips
    if last - first < LEAST:
        return first, max(last, 1), None
    run = Run(
        start + first * period, period, last - first, codes[first:last], lags,
        {place: table[first:last] for place, table in parts.items()},
    )  # fmt: skip
    return first, last, run


def _same_types(facts: Facts, codes: _Ints) -> _Ints:
    """The blocks whose operands have the types of those of the middle block; a literal may stand for a number."""
    kinds = facts.kinds(codes)
    wanted = kinds[_middle(len(codes)) + 1]
    for column in np.flatnonzero(wanted < 0):
        typed = kinds[kinds[:, column] >= 0, column]
        if len(typed):
            wanted[column] = typed[0]
    return np.asarray(((kinds == wanted) | ((kinds < 0) & facts.is_number(wanted))).all(axis=1))


def _pays(facts: Facts, run: Run) -> bool:
    """Whether the loop is shorter than what it stands for, together with what it is given and leaves."""
    base = int(facts.outs_before[run.start])
    stop = int(facts.outs_before[run.stop])
    length = run.period * run.trips
    written = run.period + 1.0
    seen: set[bytes] = set()
    for column in np.flatnonzero(run.lags < 0):
        codes = run.operands[:, column]
        if (codes == codes[0]).all() or codes.tobytes() in seen:
            continue
        seen.add(codes.tobytes())
        ranks = facts.ranks(codes)
        regular = len(set(np.diff(ranks).tolist())) == 1 and ranks[0] >= 0
        written += 1 + (0 if regular else 0.5 * np.count_nonzero(ranks >= 0))
    read = facts.last_read[base:stop].reshape(run.trips, -1) >= run.stop
    for slot in np.flatnonzero(read.any(axis=0)):
        count = int(np.count_nonzero(read[:, slot]))
        if not (count == 1 and read[-1, slot]):
            written += count if count < run.trips - 2 else 1
    written += 0.25 * sum(type(one) is int and base <= facts.rank[one] < stop for one in facts.program.outputs)
    return bool(length - written >= 2 and written <= 0.75 * length)
