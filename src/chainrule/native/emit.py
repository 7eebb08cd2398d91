"""Code -> the text of an LLVM module: loops with explicit vector types, and the entry point ``kernel``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.native.loops import (
    Accumulator,
    Affine,
    Axis,
    Begin,
    Buffer,
    Callback,
    Code,
    Copy,
    End,
    Guard,
    Item,
    LibraryCall,
    Loop,
    Store,
    Update,
    Value,
    items_within,
)
from chainrule.native.mathlib import SCALAR, SPECIAL, Machine
from chainrule.native.operations import OPERATIONS, memory_type, neutral, number, type_of

__all__ = ["CALLED_BACK", "WITHDRAWN", "called_functions", "module_text"]

#: What the kernel returns when a callback raised, and when the values are such that only the interpreter may answer.
CALLED_BACK = -1
WITHDRAWN = -2

#: A body of so many items is written once only.
LONG = 100
_ROLES = {"input": 0, "capture": 1, "output": 2}


# --- the emitter ----------------------------------------------------------------------------------------------------


class Lanes:
    """The part of a vector loop that is being written: its axis, width and, for the last part, its mask."""

    def __init__(self, axis: Axis, width: int, base: str, mask: str | None) -> None:
        self.axis = axis
        self.width = width
        self.base = base
        self.mask = mask
        self.values: dict[Value, str] = {}


class Emitter:
    """Writes the text of one function."""

    def __init__(self, code: Code, machine: Machine, declared: dict[str, str], prefix: str) -> None:
        self.code = code
        self.machine = machine
        self.declared = declared
        self.prefix = prefix
        self.lines: list[str] = []
        self.first: list[str] = []
        self.globals: list[str] = []
        self.count = 0
        self.block = "entry"
        self.values: dict[Value, str] = {}
        self.axes: dict[Axis, str] = {}
        self.bases: dict[int, str] = {}
        self.lanes: Lanes | None = None
        self.width = 1
        self.places: dict[Accumulator, list[tuple[str, int]]] = {}
        self.widths: dict[Accumulator, tuple[int, int]] = {}
        self.partials: dict[Accumulator, tuple[str, int]] = {}
        self.functions: list[str] = []

    # -- text

    def name(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def line(self, text: str) -> str:
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def label(self, word: str) -> str:
        self.count += 1
        return f"{word}{self.count}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def type(self, kind: str) -> str:
        one = type_of(kind)
        return one if self.width == 1 else f"<{self.width} x {one}>"

    def mangled(self, kind: str) -> str:
        one = {"f8": "f64", "f4": "f32"}.get(kind) or type_of(kind)
        return one if self.width == 1 else f"v{self.width}{one}"

    def literal(self, value: Any, kind: str) -> str:
        text = number(value, kind)
        return text if self.width == 1 else f"splat ({type_of(kind)} {text})"

    def declare(self, function: str, result: str, arguments: Sequence[str], attributes: str = "") -> None:
        if function not in self.declared:
            self.declared[function] = f"declare {result} @{function}({', '.join(arguments)}) {attributes}"

    def call(self, function: str, result: str, arguments: Sequence[str], given: str, more: str = "") -> str:
        kinds = [*arguments, *[one.split()[0] for one in more.split(",") if one.strip()]]
        self.declare(function, result, kinds)
        return self.line(f"call {result} @{function}({given})")

    # -- memory

    def base(self, buffer: Buffer) -> str:
        while buffer.instead is not None:
            buffer = buffer.instead
        found = self.bases.get(id(buffer))
        if found is not None:
            return found
        name = f"%p{len(self.bases)}"
        if buffer.role == "arena":
            self.first.append(f"  {name} = getelementptr inbounds i8, ptr %arena, i64 {buffer.place}")
        elif buffer.role == "constant":
            name = f"@constant{buffer.place}"
        else:
            table = ("%inputs", "%captures", "%outputs")[_ROLES[buffer.role]]
            self.first.append(f"  {name}a = getelementptr inbounds ptr, ptr {table}, i64 {buffer.place}")
            self.first.append(f"  {name} = load ptr, ptr {name}a")
        self.bases[id(buffer)] = name
        return name

    def position(self, place: Affine, without: Axis | None = None) -> str:
        """The affine position as an i64, the term of one axis left out."""
        total = ""
        for axis, factor in place.terms:
            if axis is without:
                continue
            here = self.axes[axis]
            if here == "0":
                continue
            term = here if factor == 1 else self.line(f"mul i64 {here}, {factor}")
            total = term if not total else self.line(f"add i64 {total}, {term}")
        if not total:
            return str(place.const)
        return total if place.const == 0 else self.line(f"add i64 {total}, {place.const}")

    def pointer(self, buffer: Buffer, place: Affine, at: str | None = None) -> str:
        """The address of a scalar; in a vector loop that of the first lane."""
        position = self.position(place)
        if at is not None:
            position = at if position == "0" else self.line(f"add i64 {position}, {at}")
        base = self.base(buffer)
        if position == "0":
            return base
        return self.line(f"getelementptr inbounds {memory_type(buffer.kind)}, ptr {base}, i64 {position}")

    def pointers(self, buffer: Buffer, place: Affine, at: str | None) -> str:
        """The address of each lane."""
        assert self.lanes is not None
        width, axis = self.width, self.lanes.axis
        wide = f"<{width} x i64>"
        start = self.position(place)
        total = self.spread("i64", start)
        factor = place.factor(axis)
        if factor:
            steps = ", ".join(f"i64 {lane * factor}" for lane in range(width))
            total = self.line(f"add {wide} {total}, <{steps}>")
        if at is not None:
            total = self.line(f"add {wide} {total}, {at}")
        return self.line(f"getelementptr {memory_type(buffer.kind)}, ptr {self.base(buffer)}, {wide} {total}")

    def spread(self, of: str, operand: str) -> str:
        """One scalar in every lane."""
        if not operand.startswith("%"):
            return f"splat ({of} {operand})"
        wide = f"<{self.width} x {of}>"
        first = self.line(f"insertelement {wide} poison, {of} {operand}, i64 0")
        return self.line(f"shufflevector {wide} {first}, {wide} poison, <{self.width} x i32> zeroinitializer")

    def mask(self) -> str:
        assert self.lanes is not None
        return self.lanes.mask or "splat (i1 true)"

    def load(self, value: Value) -> str:
        buffer, place = value.attr
        kind, of = value.kind, memory_type(value.kind)
        lanes = self.lanes
        at = self.operand(value.args[0]) if value.args else None
        if lanes is None:
            made = self.line(f"load {of}, ptr {self.pointer(buffer, place, at)}")
            return self.line(f"icmp ne i8 {made}, 0") if kind == "b1" else made
        width = self.width
        wide, stem = f"<{width} x {of}>", "f64" if kind == "f8" else "f32" if kind == "f4" else of
        factor = place.factor(lanes.axis)
        if at is None and factor == 1:
            address = self.pointer(buffer, place)
            if lanes.mask is None:
                made = self.line(f"load {wide}, ptr {address}, align {kind[1:]}")
            else:
                function = f"llvm.masked.load.v{width}{stem}.p0"
                self.declare(function, wide, ("ptr", "i32", f"<{width} x i1>", wide))
                made = self.line(
                    f"call {wide} @{function}(ptr {address}, i32 {kind[1:]}, <{width} x i1> {lanes.mask}, "
                    f"{wide} zeroinitializer)"
                )
        elif at is None and factor == 0:
            one = self.line(f"load {of}, ptr {self.pointer(buffer, place)}")
            made = self.spread(of, one)
        else:
            function = f"llvm.masked.gather.v{width}{stem}.v{width}p0"
            self.declare(function, wide, (f"<{width} x ptr>", "i32", f"<{width} x i1>", wide))
            made = self.line(
                f"call {wide} @{function}(<{width} x ptr> {self.pointers(buffer, place, at)}, i32 {kind[1:]}, "
                f"<{width} x i1> {self.mask()}, {wide} zeroinitializer)"
            )
        return self.line(f"icmp ne {wide} {made}, zeroinitializer") if kind == "b1" else made

    def store(self, item: Store) -> None:
        kind = item.buffer.kind
        of = memory_type(kind)
        value = self.operand(item.value)
        at = self.operand(item.at) if item.at is not None else None
        lanes = self.lanes
        if lanes is None:
            if kind == "b1":
                value = self.line(f"zext i1 {value} to i8")
            after = None
            if item.when is not None:
                inside, after = self.label("write"), self.label("written")
                self.lines.append(f"  br i1 {self.operand(item.when)}, label %{inside}, label %{after}")
                self.start(inside)
            address = self.pointer(item.buffer, item.place, at)
            if item.combine:
                before = self.line(f"load {of}, ptr {address}")
                if kind == "b1":
                    value = self.line(f"{item.combine} i8 {before}, {value}")
                else:
                    value = OPERATIONS[item.combine](self, kind, (kind, kind), (before, value))
            self.lines.append(f"  store {of} {value}, ptr {address}")
            if after is not None:
                self.lines.append(f"  br label %{after}")
                self.start(after)
            return
        width = self.width
        wide, stem = f"<{width} x {of}>", "f64" if kind == "f8" else "f32" if kind == "f4" else of
        if item.combine:
            before = self.load(Value("load", (), kind, (item.buffer, item.place)))
            value = OPERATIONS[item.combine](self, kind, (kind, kind), (before, value))
        if kind == "b1":
            value = self.line(f"zext <{width} x i1> {value} to {wide}")
        if at is not None or item.when is not None or item.place.factor(lanes.axis) != 1:
            assert at is None
            assert item.when is None
            function = f"llvm.masked.scatter.v{width}{stem}.v{width}p0"
            targets = self.pointers(item.buffer, item.place, None)
            self.declare(function, "void", (wide, f"<{width} x ptr>", "i32", f"<{width} x i1>"))
            self.lines.append(
                f"  call void @{function}({wide} {value}, <{width} x ptr> {targets}, i32 {kind[1:]}, "
                f"<{width} x i1> {self.mask()})"
            )
            return
        address = self.pointer(item.buffer, item.place)
        if lanes.mask is None:
            self.lines.append(f"  store {wide} {value}, ptr {address}, align {kind[1:]}")
            return
        function = f"llvm.masked.store.v{width}{stem}.p0"
        self.declare(function, "void", (wide, "ptr", "i32", f"<{width} x i1>"))
        self.lines.append(
            f"  call void @{function}({wide} {value}, ptr {address}, i32 {kind[1:]}, <{width} x i1> {lanes.mask})"
        )

    # -- values

    def operand(self, value: Value) -> str:
        """The operand that a value is in: a scalar, or in a vector loop a vector."""
        if value.op == "constant":
            return self.literal(value.attr, value.kind)
        lanes = self.lanes
        if lanes is None:
            return self.values[value]
        found = lanes.values.get(value)
        if found is None:
            found = lanes.values[value] = self.spread(type_of(value.kind), self.values[value])
        return found

    def compute(self, value: Value) -> None:
        table = self.values if self.lanes is None else self.lanes.values
        if value.op == "constant" or value in table:
            return
        if value.op == "load":
            made = self.load(value)
        elif value.op == "axis":
            made = self.counter(value.attr)
        elif value.op == "call":
            made = self.maths(value)
        else:
            kinds = [one.kind for one in value.args]
            made = OPERATIONS[value.op](self, value.kind, kinds, [self.operand(one) for one in value.args])
        table[value] = made

    def counter(self, place: Affine) -> str:
        made = self.position(place)
        if self.lanes is None:
            return made if made.startswith("%") else self.line(f"add i64 0, {made}")
        made = self.spread("i64", made)
        factor = place.factor(self.lanes.axis)
        if factor:
            steps = ", ".join(f"i64 {lane * factor}" for lane in range(self.width))
            made = self.line(f"add <{self.width} x i64> {made}, <{steps}>")
        return made

    def maths(self, value: Value) -> str:
        """A call of the maths library: its vector form, or the scalar one lane by lane."""
        kind, width = value.kind, self.width
        operands = [self.operand(one) for one in value.args]
        of, kinds = self.type(kind), [self.type(one.kind) for one in value.args]
        vector = self.machine.vector_function(value.attr, kind, width) if width > 1 else None
        function = vector or self.machine.scalar_function(value.attr, kind)
        # Functions of SciPy's Cython take a number more, which they do not look at.
        more = ["i32"] if function.startswith(SPECIAL) else []
        if width == 1 or vector is not None:
            self.declare(function, of, [*kinds, *more], "nounwind willreturn memory(none)")
            parts = [f"{one} {operand}" for one, operand in zip(kinds, operands, strict=True)]
            return self.line(f"call {of} @{function}({', '.join([*parts, *[f'{one} 0' for one in more]])})")
        scalars = [type_of(one.kind) for one in value.args]
        self.declare(function, type_of(kind), [*scalars, *more], "nounwind willreturn memory(none)")
        made = "poison"
        for lane in range(width):
            parts = [
                f"{scalar} " + self.line(f"extractelement {one} {operand}, i64 {lane}")
                for scalar, one, operand in zip(scalars, kinds, operands, strict=True)
            ] + [f"{one} 0" for one in more]
            result = self.line(f"call {type_of(kind)} @{function}({', '.join(parts)})")
            made = self.line(f"insertelement {of} {made}, {type_of(kind)} {result}, i64 {lane}")
        return made

    # -- reductions

    def begin(self, into: Accumulator) -> None:
        width, unroll = self.widths.get(into, (1, 1))
        start = number(neutral(into.op, into.kind), into.kind)
        places = []
        for _ in range(unroll):
            self.count += 1
            name = f"%a{self.count}"
            of = type_of(into.kind)
            wide = of if width == 1 else f"<{width} x {of}>"
            self.first.append(f"  {name} = alloca {wide}")
            self.lines.append(f"  store {wide} {start if width == 1 else f'splat ({of} {start})'}, ptr {name}")
            places.append((name, width))
        self.places[into] = places

    def update(self, item: Update, turn: int) -> None:
        into = item.into
        name, width = self.places[into][turn]
        value, of = self.operand(item.value), self.type(into.kind)
        assert width == self.width
        before = self.line(f"load {of}, ptr {name}")
        made = OPERATIONS[into.op](self, into.kind, (into.kind, into.kind), (before, value))
        if self.lanes is not None and self.lanes.mask is not None:
            made = self.line(f"select <{width} x i1> {self.lanes.mask}, {of} {made}, {of} {before}")
        self.lines.append(f"  store {of} {made}, ptr {name}")

    def end(self, into: Accumulator) -> None:
        """Lanes are combined in halves: lane k with lane k + width / 2, and so on."""
        if into in self.partials:
            self.gathered_sum(into)
            return
        places = self.places[into]
        width, kind = places[0][1], into.kind
        of = type_of(kind)
        kinds = (kind, kind)
        self.width = width
        parts = [self.line(f"load {self.type(kind)}, ptr {name}") for name, _ in places]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [OPERATIONS[into.op](self, kind, kinds, (parts[k], parts[k + half])) for k in range(half)]
        (made,) = parts
        while width > 1:
            wide, half = self.type(kind), width // 2
            low, high = (", ".join(f"i32 {k}" for k in part) for part in (range(half), range(half, width)))
            a = self.line(f"shufflevector {wide} {made}, {wide} poison, <{half} x i32> <{low}>")
            b = self.line(f"shufflevector {wide} {made}, {wide} poison, <{half} x i32> <{high}>")
            self.width = width = half
            if half == 1:
                a = self.line(f"extractelement <1 x {of}> {a}, i64 0")
                b = self.line(f"extractelement <1 x {of}> {b}, i64 0")
            made = OPERATIONS[into.op](self, kind, kinds, (a, b))
        self.width = 1
        self.values[into.result] = made

    # -- items

    def items(self, items: Sequence[Item], turn: int = 0) -> None:
        for item in items:
            if isinstance(item, Value):
                self.compute(item)
            elif isinstance(item, Store):
                self.store(item)
            elif isinstance(item, Update):
                self.update(item, turn)
            elif isinstance(item, Loop):
                self.loop(item)
            elif isinstance(item, Begin):
                self.begin(item.into)
            elif isinstance(item, End):
                self.end(item.into)
            elif isinstance(item, Copy):
                self.copy(item)
            elif isinstance(item, LibraryCall):
                self.library(item)
            elif isinstance(item, Callback):
                self.callback(item)
            elif isinstance(item, Guard):
                self.leave_unless(self.operand(item.value), item.status)

    def loop(self, loop: Loop) -> None:
        extent = loop.axis.extent
        if extent == 0:
            for carry in loop.carries:
                self.values[carry.result] = self.operand(carry.first)
            return
        if loop.chunk:
            self.shared(loop)
        elif loop.vector:
            self.vector_loop(loop)
        elif extent == 1 and not loop.carries:
            self.axes[loop.axis] = "0"
            self.items(loop.body)
        else:
            self.counted(loop, "0", str(extent), 1, lambda: self.items(loop.body))

    def counted(self, loop: Loop, start: str, stop: str, step: int, body: Callable[[], None]) -> None:
        """A loop from ``start`` to ``stop``, which is beyond it, in steps of ``step``."""
        head, done = self.label("loop"), self.label("done")
        before = self.block
        counter, following = self.name(), self.name()
        firsts = [self.operand(carry.first) for carry in loop.carries]
        self.lines.append(f"  br label %{head}")
        self.start(head)
        patched = len(self.lines)
        self.lines.append("")
        for carry in loop.carries:
            self.values[carry.here] = self.name()
            self.lines.append("")
        self.axes[loop.axis] = counter
        body()
        latch = self.block
        self.lines[patched] = f"  {counter} = phi i64 [ {start}, %{before} ], [ {following}, %{latch} ]"
        for place, (carry, first) in enumerate(zip(loop.carries, firsts, strict=True)):
            assert carry.after is not None
            after = self.operand(carry.after)
            of = type_of(carry.here.kind)
            self.lines[patched + 1 + place] = (
                f"  {self.values[carry.here]} = phi {of} [ {first}, %{before} ], [ {after}, %{latch} ]"
            )
            self.values[carry.result] = after
        self.lines.append(f"  {following} = add nuw nsw i64 {counter}, {step}")
        more = self.line(f"icmp ult i64 {following}, {stop}")
        self.lines.append(f"  br i1 {more}, label %{head}, label %{done}")
        self.start(done)

    def vector_loop(self, loop: Loop, piece: tuple[str, str] | None = None) -> None:
        """A loop in vectors; ``piece``: where a piece of it begins, and whether that is the last."""
        width = self.machine.width_for(loop)
        extent, unroll = loop.axis.extent, loop.unroll
        step = width * unroll
        full = extent // step * step
        outside = self._read_from_outside(loop)

        def part(base: str, mask: str | None, turn: int) -> None:
            self.width = width
            self.axes[loop.axis] = base
            self.lanes = Lanes(loop.axis, width, base, mask)
            self.lanes.values.update(spreads)
            self.items(loop.body, turn)
            self.lanes = None
            self.width = 1

        spreads: dict[Value, str] = {}
        self.width = width
        for value in outside:
            spreads[value] = self.spread(type_of(value.kind), self.values[value])
        self.width = 1

        def counted_lanes() -> None:
            counter = self.axes[loop.axis]
            wide, lanes = f"<{width} x i64>", ", ".join(f"i64 {lane}" for lane in range(width))
            self.width = width
            places = self.line(f"add {wide} {self.spread('i64', counter)}, <{lanes}>")
            inside = self.line(f"icmp ult {wide} {places}, splat (i64 {extent})")
            self.width = 1
            part(counter, inside, 0)

        def body() -> None:
            counter = self.axes[loop.axis]
            for turn in range(unroll):
                base = counter if turn == 0 else self.line(f"add i64 {counter}, {turn * width}")
                part(base, None, turn)

        def tail() -> None:
            rest, turn = full, 0
            while rest < extent:
                left = extent - rest
                lanes = ", ".join(f"i1 {str(k < left).lower()}" for k in range(width))
                part(str(rest), None if left >= width else f"<{lanes}>", turn)
                rest, turn = rest + width, turn + 1

        if piece is not None:
            start, last = piece
            stop = self.line(f"add i64 {start}, {loop.chunk}")
            stop = self.line(f"select i1 {last}, i64 {full}, i64 {stop}")
            self.when(self.line(f"icmp ult i64 {start}, {stop}"), lambda: self.counted(loop, start, stop, step, body))
            if full < extent:
                self.when(last, tail)
            return
        if len(loop.body) > LONG and full < extent and extent > width:
            # One body for all, its lanes counted: two would take LLVM twice as long.
            self.counted(Loop(loop.axis, []), "0", str(extent), width, counted_lanes)
            return
        if full == step:
            for turn in range(unroll):
                part(str(turn * width), None, turn)
        elif full:
            self.counted(Loop(loop.axis, []), "0", str(full), step, body)
        tail()

    def when(self, condition: str, body: Callable[[], None]) -> None:
        """Do something only where a condition holds; no value of it is used after it."""
        inside, after = self.label("when"), self.label("after")
        self.lines.append(f"  br i1 {condition}, label %{inside}, label %{after}")
        self.start(inside)
        body()
        self.lines.append(f"  br label %{after}")
        self.start(after)

    # -- loops in pieces

    def shared(self, loop: Loop) -> None:
        """A loop whose pieces are a function of their own, which threads may share."""
        pieces = -(-loop.axis.extent // loop.chunk)
        name = f"{self.prefix}piece{len(self.functions)}"
        inner = Emitter(self.code, self.machine, self.declared, f"{name}_")
        inner.widths, inner.bases = self.widths, {}
        slots = [("ptr", f"%{word}") for word in ("inputs", "captures", "outputs", "arena")]
        inner.first = [f"  %s{place} = getelementptr inbounds i64, ptr %frame, i64 {place}" for place in range(4)]
        inner.first += [f"  {slot[1]} = load ptr, ptr %s{place}" for place, slot in enumerate(slots)]
        values, axes, sums = outside_of(loop)
        for value in values:
            of = memory_type(value.kind)
            given = self.values[value]
            slots.append((of, self.line(f"zext i1 {given} to i8") if value.kind == "b1" else given))
            inner.values[value] = inner.from_frame(len(slots) - 1, value.kind)
        for axis in axes:
            slots.append(("i64", self.axes[axis]))
            inner.axes[axis] = inner.from_frame(len(slots) - 1, "i8")
        for into in sums:
            self.count += 1
            table = f"%a{self.count}"
            self.first.append(f"  {table} = alloca [{pieces} x {memory_type(into.kind)}]")
            slots.append(("ptr", table))
            self.partials[into] = (table, pieces)
        inner.piece(loop, pieces, sums, len(slots) - len(sums))
        self.functions += inner.functions
        self.globals += inner.globals
        self.functions.append(
            "\n".join([
                f"define internal void @{name}(ptr %frame, i64 %piece) #0 {{", "entry:", *inner.first, *inner.lines,
                "  ret void", "}",
            ])
        )  # fmt: skip
        self.count += 1
        frame = f"%a{self.count}"
        self.first.append(f"  {frame} = alloca [{len(slots)} x i64]")
        for place, (of, operand) in enumerate(slots):
            slot = self.line(f"getelementptr inbounds i64, ptr {frame}, i64 {place}")
            self.lines.append(f"  store {of} {operand}, ptr {slot}")
        alone, together, done = self.label("alone"), self.label("together"), self.label("done")
        some = self.line("icmp ne ptr %context, null")
        self.lines.append(f"  br i1 {some}, label %{together}, label %{alone}")
        self.start(together)
        share = self.line("load ptr, ptr %context")
        slot = self.line("getelementptr inbounds i64, ptr %context, i64 1")
        pool = self.line(f"load i64, ptr {slot}")
        self.lines.append(f"  call void {share}(i64 {pool}, ptr @{name}, ptr {frame}, i64 {pieces})")
        self.lines.append(f"  br label %{done}")
        self.start(alone)
        counter = Loop(Axis(pieces), [])
        self.counted(
            counter, "0", str(pieces), 1,
            lambda: self.lines.append(f"  call void @{name}(ptr {frame}, i64 {self.axes[counter.axis]})"),
        )  # fmt: skip
        self.lines.append(f"  br label %{done}")
        self.start(done)

    def from_frame(self, place: int, kind: str) -> str:
        """A scalar that was handed to the function of a piece."""
        slot = self.line(f"getelementptr inbounds i64, ptr %frame, i64 {place}")
        made = self.line(f"load {memory_type(kind)}, ptr {slot}")
        return self.line(f"icmp ne i8 {made}, 0") if kind == "b1" else made

    def piece(self, loop: Loop, pieces: int, sums: Sequence[Accumulator], place: int) -> None:
        """The body of the function of a piece."""
        for into in sums:
            self.begin(into)
        start = self.line(f"mul i64 %piece, {loop.chunk}")
        last = self.line(f"icmp eq i64 %piece, {pieces - 1}")
        if loop.vector:
            self.vector_loop(loop, (start, last))
        else:
            stop = self.line(f"add i64 {start}, {loop.chunk}")
            stop = self.line(f"select i1 {last}, i64 {loop.axis.extent}, i64 {stop}")
            self.counted(loop, start, stop, 1, lambda: self.items(loop.body))
        for number_of_sum, into in enumerate(sums):
            self.end(into)
            slot = self.line(f"getelementptr inbounds i64, ptr %frame, i64 {place + number_of_sum}")
            table = self.line(f"load ptr, ptr {slot}")
            of = memory_type(into.kind)
            target = self.line(f"getelementptr inbounds {of}, ptr {table}, i64 %piece")
            made = self.values[into.result]
            made = self.line(f"zext i1 {made} to i8") if into.kind == "b1" else made
            self.lines.append(f"  store {of} {made}, ptr {target}")

    def gathered_sum(self, into: Accumulator) -> None:
        """The sums of the pieces, in their order."""
        table, pieces = self.partials[into]
        of, kind = memory_type(into.kind), into.kind
        total = ""
        for place in range(pieces):
            slot = self.line(f"getelementptr inbounds {of}, ptr {table}, i64 {place}")
            made = self.line(f"load {of}, ptr {slot}")
            made = self.line(f"icmp ne i8 {made}, 0") if kind == "b1" else made
            total = made if not total else OPERATIONS[into.op](self, kind, (kind, kind), (total, made))
        self.values[into.result] = total

    def _read_from_outside(self, loop: Loop) -> list[Value]:
        own = {item for item in loop.body if isinstance(item, Value)}
        found: dict[Value, None] = {}
        for item in loop.body:
            needed: tuple[Value | None, ...]
            if isinstance(item, Value):
                needed = item.args
            elif isinstance(item, Store):
                needed = (item.value, item.at, item.when)
            elif isinstance(item, Update):
                needed = (item.value,)
            else:
                needed = ()
            for one in needed:
                if one is not None and one not in own and one.op != "constant":
                    found[one] = None
        return list(found)

    def copy(self, item: Copy) -> None:
        size = item.size * int(item.source.kind[1:])
        if size == 0:
            return
        source = self.pointer(item.source, item.source_place)
        target = self.pointer(item.target, item.target_place)
        self.declare("llvm.memmove.p0.p0.i64", "void", ("ptr", "ptr", "i64", "i1"))
        self.lines.append(f"  call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")

    def library(self, item: LibraryCall) -> None:
        given = []
        for one in item.args:
            if isinstance(one, tuple):
                given.append(f"ptr {self.pointer(*one)}")
            else:
                given.append(f"ptr {self.reference(one)}")
        status = ""
        if item.info:
            self.count += 1
            status = f"%a{self.count}"
            self.first.append(f"  {status} = alloca i32")
            given.append(f"ptr {status}")
        result = "void"
        self.declare(item.function, result, ["ptr"] * len(given))
        self.lines.append(f"  call void @{item.function}({', '.join(given)})")
        if status:
            made = self.line(f"load i32, ptr {status}")
            self.leave_unless(self.line(f"icmp eq i32 {made}, 0"), WITHDRAWN)

    def reference(self, value: Any) -> str:
        """The address of a number or a letter."""
        if isinstance(value, str):
            of, text = "i8", str(ord(value))
        elif isinstance(value, float):
            of, text = "double", number(value, "f8")
        elif isinstance(value, np.float32):
            of, text = "float", number(value, "f4")
        else:
            of, text = "i32", str(value)
        name = f"@{self.prefix}n{len(self.globals)}"
        self.globals.append(f"{name} = private unnamed_addr constant {of} {text}")
        return name

    def callback(self, item: Callback) -> None:
        arrays = [*item.reads, *item.writes]
        self.count += 1
        table = f"%a{self.count}"
        self.first.append(f"  {table} = alloca [{max(len(arrays), 1)} x ptr]")
        for place, (buffer, at) in enumerate(arrays):
            address = self.pointer(buffer, at)
            slot = self.line(f"getelementptr inbounds ptr, ptr {table}, i64 {place}")
            self.lines.append(f"  store ptr {address}, ptr {slot}")
        slot = self.line(f"getelementptr inbounds ptr, ptr @callbacks, i64 {item.number}")
        function = self.line(f"load ptr, ptr {slot}")
        status = self.line(f"call i32 {function}(ptr {table})")
        self.leave_unless(self.line(f"icmp eq i32 {status}, 0"), CALLED_BACK)

    def leave_unless(self, operand: str, status: int) -> None:
        leave, go = self.label("leave"), self.label("go")
        self.lines.append(f"  br i1 {operand}, label %{go}, label %{leave}")
        self.start(leave)
        self.lines.append(f"  ret i32 {status}")
        self.start(go)

    # -- widths of accumulators

    def measure(self, items: Sequence[Item]) -> None:
        """How wide each accumulator is: as the loop that fills it."""
        for item in items:
            if isinstance(item, Loop):
                if item.vector:
                    width = self.machine.width_for(item)
                    for one in item.body:
                        if isinstance(one, Update):
                            self.widths[one.into] = (width, item.unroll)
                else:
                    self.measure(item.body)


def outside_of(loop: Loop) -> tuple[list[Value], list[Axis], list[Accumulator]]:
    """What the body of a loop uses and does not make itself: values, counters of loops around it, accumulators."""
    made: set[Value] = set()
    begun: set[Accumulator] = set()
    own: set[Axis] = {loop.axis}
    used: dict[Value, None] = {}
    axes: dict[Axis, None] = {}
    sums: dict[Accumulator, None] = {}
    for item in items_within(loop.body):
        needed: tuple[Value | None, ...] = ()
        place: Affine | None = None
        if isinstance(item, Value):
            made.add(item)
            needed = item.args
            place = item.attr[1] if item.op == "load" else item.attr if item.op == "axis" else None
        elif isinstance(item, Store):
            needed, place = (item.value, item.at, item.when), item.place
        elif isinstance(item, Update):
            needed = (item.value,)
            sums[item.into] = None
        elif isinstance(item, Begin):
            begun.add(item.into)
        elif isinstance(item, End):
            made.add(item.into.result)
        elif isinstance(item, Loop):
            own.add(item.axis)
        for one in needed:
            if one is not None and one.op != "constant":
                used[one] = None
        if place is not None:
            axes.update(dict.fromkeys(axis for axis, _ in place.terms))
    return (
        [one for one in used if one not in made],
        [one for one in axes if one not in own],
        [one for one in sums if one not in begun],
    )


def module_text(code: Code, machine: Machine) -> str:
    """The text of the module: the function ``kernel``, its constants, and the table of callbacks."""
    declared: dict[str, str] = {}
    emitter = Emitter(code, machine, declared, "k")
    emitter.measure(code.body)
    emitter.items(code.body)
    lines = [f"; {code.name}"]
    lines += [constant_text(buffer) for buffer in code.buffers if buffer.role == "constant"]
    if code.callbacks:
        lines.append(f"@callbacks = global [{len(code.callbacks)} x ptr] zeroinitializer")
    lines += emitter.globals
    lines.append("define i32 @kernel(ptr %inputs, ptr %captures, ptr %outputs, ptr %arena, ptr %context) #0 {")
    lines.append("entry:")
    lines += emitter.first
    lines += emitter.lines
    lines += ["  ret i32 0", "}", *emitter.functions]
    lines += declared.values()
    lines.append('attributes #0 = { nounwind "min-legal-vector-width"="512" "no-builtins" }')
    return "\n".join(lines) + "\n"


def constant_text(buffer: Buffer) -> str:
    """The definition of a constant array."""
    held = np.asarray(buffer.data).tobytes()
    text = "".join(f"\\{byte:02X}" for byte in held)
    return f'@constant{buffer.place} = private unnamed_addr constant [{len(held)} x i8] c"{text}", align 64'


def called_functions(code: Code) -> set[str]:
    """The functions of BLAS, LAPACK and scipy.special that the code calls."""
    found = set()
    for item in items_within(code.body):
        if isinstance(item, LibraryCall):
            found.add(item.function)
        elif isinstance(item, Value) and item.op == "call" and item.attr not in SCALAR:
            found.add(SPECIAL + item.attr)
    return found
