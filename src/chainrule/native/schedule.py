"""The order of the work: nests, scalars and calls; which nest computes which array, and which arrays get memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from chainrule.native.forms import CALLS, Scribe
from chainrule.native.loops import Affine, Buffer, Item, Store, Value
from chainrule.native.nests import Nest, Root, canonical, loops_of
from chainrule.native.nodes import Memory, NeedsMemory, Node, Number, Pieces, Pointwise, Scalars, View, children

__all__ = ["Direct", "Schedule"]


@dataclass(eq=False, slots=True)
class Direct:
    """Items that stand for themselves: a call, or scalars (``open`` for more of them)."""

    items: list[Item]
    open: bool = False
    #: What makes the items when it is their turn.
    late: Callable[[], list[Item]] | None = None


Task: TypeAlias = Nest | Direct


#: How many values the body of a loop may have before no more joins it: LLVM takes more than twice as long for twice
#: as many.
MOST_VALUES = 320


class Schedule:
    """Collects tasks; turns them into items."""

    def __init__(self, outer: Schedule | None = None) -> None:
        #: That of the loop's surroundings, for what a loop repeats.
        self.outer = outer
        self.tasks: list[Task] = []
        self.buffers: list[Buffer] = [] if outer is None else outer.buffers
        #: Scalars outside of every nest, each computed once.
        self.scribe = Scribe()
        self.body: list[Item] = []
        self._done: set[Any] = set()
        self._homes: dict[Value, Task] = {}
        self._ranks: dict[Any, int] = {}

    # -- memory

    def buffer(
        self, shape: tuple[int, ...], kind: str, role: str = "arena", place: int = -1, data: Any = None
    ) -> Buffer:
        size = 1
        for extent in shape:
            size *= extent
        made = Buffer(kind, size, role, place, data, shape)
        self.buffers.append(made)
        return made

    def realised(self, node: Node, contiguous: bool = False) -> Memory:
        """The array in memory, when the tasks so far are done."""
        memory = node if isinstance(node, Memory) else node.memory
        if memory is not None and (memory.contiguous or not contiguous):
            return memory
        target = Memory(node.shape, self.buffer(node.shape, node.kind))
        self.keep(node, target)
        return target

    def keep(self, node: Node, target: Memory) -> None:
        """Compute an array into memory."""
        if isinstance(node, Scalars):
            self.spill(node, target)
        elif isinstance(node, Pieces) and node.memory is None and not self.is_cheap(node):
            for task in self.written(node, target):
                self.add(task)
        else:
            self.join(Root(node, node.shape, target), needed_by(node))
        # What a loop fills anew each time is no place to read from after it.
        if node.memory is None and not isinstance(node, Memory) and not target.place.terms:
            node.memory = target

    def is_cheap(self, node: Pieces) -> bool:
        """Whether an array with pieces is evaluated element by element, the pieces told apart by boxes."""
        one: Node | None = node
        while isinstance(one, Pieces) and one.memory is None:
            if one.part.box is None:
                return False
            one = one.base
        return node.depth <= 6

    def written(self, node: Pieces, target: Memory) -> list[Task]:
        """Tasks that fill the base of an array and then write its parts over it."""
        chain: list[Pieces] = []
        base: Node | None = node
        while isinstance(base, Pieces) and (base is node or base.memory is None):
            chain.append(base)
            base = base.base
        tasks: list[Task] = []
        if base is not None:
            tasks.append(Nest(canonical(node.shape), [Root(base, node.shape, target)], closed=True))
        for one in reversed(chain):
            part = one.part
            place = target.place.plus(part.place)
            region = Memory(part.shape, target.buffer, None, place, part.strides)
            given = spread_to(part.node, part.shape)
            combine = "" if not part.adds else "or" if node.kind == "b1" else "add"
            tasks.append(Nest(canonical(part.shape), [Root(given, part.shape, region, combine=combine)], closed=True))
        target.task = tasks[-1]
        return tasks

    def keep_closed(self, node: Node, target: Memory) -> None:
        """Compute an array into memory that will be written to."""
        if isinstance(node, Scalars):
            self.spill(node, target)
        elif isinstance(node, Pieces) and node.memory is None and not self.is_cheap(node):
            for task in self.written(node, target):
                self.add(task)
        else:
            target.task = self.add(Nest(canonical(node.shape), [Root(node, node.shape, target)], closed=True))

    def scatter(self, node: Node, shape: tuple[int, ...], region: Memory, scatter: Any, combine: str) -> None:
        """Write an array to where index arrays say."""
        given = spread_to(node, shape)
        root = Root(given, shape, region, combine=combine, scatter=scatter)
        self.add(Nest(canonical(shape), [root], closed=True))

    def spill(self, node: Scalars, target: Memory) -> None:
        """Store the elements of a small array."""
        target.task = self.block()
        target.task.items += spilled(node, target)

    # -- scalars

    def block(self) -> Direct:
        """The task at the end that takes scalars."""
        last = self.tasks[-1] if self.tasks else None
        if isinstance(last, Direct) and last.open:
            return last
        made = Direct([], open=True)
        self.add(made)
        return made

    def add(self, task: Task) -> Task:
        """Put a task at the end."""
        self._ranks[task] = len(self._ranks)
        self.tasks.append(task)
        return task

    def owns(self, value: Value, task: Task) -> None:
        """Say which task computes a value."""
        self._homes[value] = task

    def scalars(self, values: Any, kind: str, before: int) -> Scalars:
        """A small array of values, of which those that the scribe wrote after ``before`` are new."""
        new = self.scribe.values[before:]
        if new:
            block = self.block()
            block.items += new
            for one in new:
                self._homes[one] = block
        tasks = {self._homes[one] for one in values.ravel().tolist() if one in self._homes}
        return Scalars(values, kind, max(tasks, key=self._ranks.__getitem__, default=None))

    # -- nests

    def join(self, root: Root, needed: dict[Any, bool]) -> Nest:
        """Let a nest of the same domain compute it if there is one that may, else a new one."""
        domain = canonical(root.shape)
        best = None
        if root.target is None or root.target.task is None:
            for task in reversed(self.tasks):
                if isinstance(task, Nest) and not task.closed and task.domain == domain and needed.get(task, True):
                    if (task.reach | root.node.reach).bit_count() <= MOST_VALUES:
                        best = task
                    else:
                        task.closed = True
                if task in needed:
                    break
        if best is None:
            best = Nest(domain)
            self.add(best)
        best.roots.append(root)
        best.reach |= root.node.reach
        if root.target is not None:
            root.target.task = best
        return best

    def reduced(self, node: Node, op: str, axes: tuple[int, ...], shape: tuple[int, ...]) -> Node:
        """A reduction along axes."""
        root = Root(node, node.shape, None, op, axes)
        size = 1
        for extent in shape:
            size *= extent
        if size == 1:
            root.result = Value("result", (), node.kind)
            home = self._homes[root.result] = self.join(root, needed_by(node))
            values = np.empty(shape, object)
            values[...] = root.result
            made: Node = Scalars(values, node.kind, home)
        else:
            root.target = made = Memory(shape, self.buffer(shape, node.kind))
            self.join(root, needed_by(node))
        return made

    # -- arrays that several nests need

    def share(self) -> None:
        """Give memory to arrays that are dear and would be computed more than once."""
        first: dict[Node, _Visits] = {}
        for task in list(self.tasks):
            if not isinstance(task, Nest):
                continue
            for root in list(task.roots):
                self._visit(root, task, first)

    def _visit(self, root: Root, nest: Nest, first: dict[Node, _Visits]) -> None:
        count = 1
        for extent in nest.domain:
            count *= extent
        stack: list[tuple[Node, tuple[Any, ...], int]] = [(root.node, (), count)]
        seen: set[tuple[int, tuple[Any, ...]]] = set()
        while stack:
            node, path, count = stack.pop()
            if isinstance(node, Memory | Number | Scalars):
                continue
            if (id(node), path) in seen:
                continue
            seen.add((id(node), path))
            if node is root.node and not path and not root.op:
                stack += stepped(node, path, count)
                continue
            if node.memory is not None:
                continue
            if isinstance(node, Pointwise):
                known = first.get(node)
                if known is None:
                    known = first[node] = _Visits(nest, {path}, count)
                    again = count / max(node.size, 1)
                elif known.home is nest and path in known.paths:
                    again = 0.0
                else:
                    known.count += count
                    again = known.count / max(node.size, 1)
                if again > 1.25 and is_dear(node, again - 1.0):
                    alone = known.home is not nest and known.paths == {()}
                    if not alone or not self._at_home(node, known.home):
                        self._separately(node, known.home)
                    continue
                if path and path[-1][0] == "b" and is_wasted(nest, node) and is_dear(node, 4.0):
                    self._separately(node, known.home)
                    continue
                if known.home is nest:
                    known.paths.add(path)
            stack += stepped(node, path, count)

    def _at_home(self, node: Node, home: Nest) -> bool:
        """Store the array in the nest that computes it first."""
        if home.domain != canonical(node.shape) or home.closed:
            return False
        target = Memory(node.shape, self.buffer(node.shape, node.kind), home)
        node.memory = target
        home.roots.insert(0, Root(node, node.shape, target))
        return True

    def _separately(self, node: Node, home: Nest) -> None:
        """Compute the array in a nest of its own before the one that needs it first."""
        target = Memory(node.shape, self.buffer(node.shape, node.kind))
        nest = Nest(canonical(node.shape), [Root(node, node.shape, target)])
        self.tasks.insert(self.tasks.index(home), nest)
        target.task = nest
        node.memory = target

    # -- items

    def items(self) -> list[Item]:
        """The items of all tasks, in order."""
        self.share()
        for task in self.tasks:
            self._build(task)
        return self.body

    def _ready(self, memory: Memory) -> bool:
        if memory.task is None or memory.task in self._done:
            return True
        return self.outer is not None and self.outer._ready(memory)  # noqa: SLF001 - another of its kind

    def absorb(self, inner: Schedule) -> None:
        """What a loop repeats is done."""
        self._done |= inner._done

    def _build(self, task: Task) -> None:
        if isinstance(task, Direct):
            if task.late is not None:
                task.items = task.late()
            self.body += task.items
            self._done.add(task)
            return
        made: list[Item] | None = None
        while made is None:
            try:
                made = loops_of(task, self._ready)
            except NeedsMemory as need:
                self._keep_now(need.node)
        self.body += made
        self._done.add(task)

    def _keep_now(self, node: Node) -> None:
        """Compute an array into memory before what is built next."""
        target = Memory(node.shape, self.buffer(node.shape, node.kind))
        before: list[Task]
        if isinstance(node, Scalars):
            before = [Direct(spilled(node, target))]
        elif isinstance(node, Pieces):
            before = self.written(node, target)
        else:
            before = [Nest(canonical(node.shape), [Root(node, node.shape, target)])]
        target.task = before[-1]
        for one in before:
            self._build(one)
        node.memory = target


def spilled(node: Scalars, target: Memory) -> list[Item]:
    """Stores of the elements of a small array."""
    items: list[Item] = []
    for index in np.ndindex(*node.shape):
        place = target.place.const + sum(one * stride for one, stride in zip(index, target.strides, strict=True))
        items.append(Store(target.buffer, Affine(place, target.place.terms), node.values[index]))
    return items


def spread_to(node: Node, shape: tuple[int, ...]) -> Node:
    """The array broadcast to a shape."""
    if node.shape == shape:
        return node
    return Pointwise("positive", node.kind, shape, (node,), (node.kind,), 0)


def needed_by(node: Node) -> dict[Any, bool]:
    """The tasks that must be done before an array is computed; True where the same nest may do both."""
    found: dict[Any, bool] = {}
    seen: set[tuple[int, bool]] = set()
    stack = [(node, True)]
    while stack:
        one, same = stack.pop()
        if (id(one), same) in seen:
            continue
        seen.add((id(one), same))
        if one.memory is not None:
            own = isinstance(one.memory.task, Nest) and any(root.node is one for root in one.memory.task.roots)
            found[one.memory.task] = found.get(one.memory.task, True) and same and own
        elif isinstance(one, Memory | Scalars):
            if one.task is not None:
                own = isinstance(one.task, Nest) and any(root.target is one and not root.op for root in one.task.roots)
                found[one.task] = found.get(one.task, True) and same and own
        else:
            if one.task is not None:
                found[one.task] = False
            stack += [(child, same and alike) for child, alike in children(one)]
    return found


@dataclass(eq=False, slots=True)
class _Visits:
    """How a nest, the first that needs an array, comes to its elements, and how many are computed in all nests."""

    home: Nest
    paths: set[Any]
    count: float


def is_dear(node: Node, times: float) -> bool:
    """Whether computing an array so many times more costs more than to keep it in memory."""
    work = calls = 0
    seen: set[int] = set()
    stack = [node]
    while stack and work < 64:
        one = stack.pop()
        if id(one) in seen or one.memory is not None:
            continue
        seen.add(id(one))
        if isinstance(one, Pointwise):
            work += DEAR.get(one.form, 1)
            calls += CALLS.get(one.form, 0)
        stack += [child for child, _ in children(one)]
    return calls > 0 or work * times > 16


def is_wasted(nest: Nest, node: Node) -> bool:
    """Whether a nest would compute an array one by one, outside of an innermost loop too short for vectors."""
    shape = canonical(node.shape)
    return len(shape) < len(nest.domain) and node.size >= 64 and nest.domain[-1] < 8 and nest.domain[:-1] == shape


#: Operations that take as long as several others.
DEAR = {"divide": 4, "sqrt": 5, "reciprocal": 4}


def stepped(node: Node, path: tuple[Any, ...], count: int) -> list[tuple[Node, tuple[Any, ...], int]]:
    """What an array is computed of, each with the way on which its index came about, and how often."""
    if isinstance(node, Pointwise):
        made = []
        for one in node.args:
            if one.shape == node.shape:
                made.append((one, path, count))
            else:
                shape = canonical(one.shape)
                outside = canonical(node.shape)[: len(shape)] == shape
                made.append((one, (*path, ("b", one.shape)), min(count, one.size) if outside else count))
        return made
    if isinstance(node, View):
        return [(node.source, (*path, ("v", node.offset, node.strides)), count)]
    if isinstance(node, Pieces):
        box = node.part.box
        place = ("p", box.lows, box.highs, box.axes) if box is not None else ("p", id(node))
        size = 1
        for extent in node.part.shape:
            size *= extent
        inner = [(node.part.node, (*path, place), count * size // max(node.size, 1))]
        return [*inner, (node.base, path, count)] if node.base is not None else inner
    return [(one, (*path, ("t", id(node))), count) for one, _ in children(node)]
