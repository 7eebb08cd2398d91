"""LLVM IR for the functions that are not made from programs: every value is a 64-bit word, addresses too.

What calls CPython (``glue.py``) and what shares out work to threads (``threads.py``) is written with this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Words"]


class Words:
    """Writes one function, in which every value is a 64-bit word."""

    def __init__(self, head: str) -> None:
        self.head = [head, "entry:"]
        self.lines: list[str] = []
        self.count = 0

    def value(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def op(self, name: str, left: str | int, right: str | int) -> str:
        return self.value(f"{name} i64 {left}, {right}")

    def pointer(self, base: str | int, index: str | int = 0) -> str:
        """``base + 8 * index`` as a pointer."""
        if index != 0:
            base = self.op("add", base, index * 8 if isinstance(index, int) else self.op("shl", index, 3))
        return self.value(f"inttoptr i64 {base} to ptr")

    def word(self, base: str | int, index: str | int = 0) -> str:
        return self.value(f"load i64, ptr {self.pointer(base, index)}")

    def at(self, base: str, offset: int) -> str:
        """The word at a distance in bytes."""
        return self.word(self.op("add", base, offset))

    def int32(self, base: str, offset: int) -> str:
        here = self.value(f"load i32, ptr {self.pointer(self.op('add', base, offset))}")
        return self.value(f"sext i32 {here} to i64")

    def put(self, base: str, index: str | int, value: str | int) -> None:
        self.lines.append(f"  store i64 {value}, ptr {self.pointer(base, index)}")

    def is_(self, relation: str, left: str | int, right: str | int) -> str:
        return self.value(f"icmp {relation} i64 {left}, {right}")

    def scratch(self, words: str) -> str:
        place = self.value(f"alloca i64, i64 {words}, align 64")
        return self.value(f"ptrtoint ptr {place} to i64")

    def variable(self, value: str | int = 0) -> str:
        # In the first block, where the compiler makes a register of it; in a loop it would eat the stack.
        self.count += 1
        place = f"%v{self.count}"
        self.head.append(f"  {place} = alloca i64")
        self.lines.append(f"  store i64 {value}, ptr {place}")
        return place

    def get(self, variable: str) -> str:
        return self.value(f"load i64, ptr {variable}")

    def set(self, variable: str, value: str | int) -> None:
        self.lines.append(f"  store i64 {value}, ptr {variable}")

    def label(self) -> str:
        self.count += 1
        return f"b{self.count}"

    def place(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def go(self, label: str) -> None:
        self.lines.append(f"  br label %{label}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.lines.append(f"  br i1 {condition}, label %{yes}, label %{no}")

    def unless(self, condition: str, elsewhere: str) -> None:
        """Go on where the condition holds."""
        here = self.label()
        self.branch(condition, here, elsewhere)
        self.place(here)

    def expect(self, left: str | int, right: str | int, elsewhere: str) -> None:
        self.unless(self.is_("eq", left, right), elsewhere)

    @contextmanager
    def where(self, condition: str) -> Iterator[None]:
        """A block that is entered where the condition holds."""
        inside, after = self.label(), self.label()
        self.branch(condition, inside, after)
        self.place(inside)
        yield
        self.go(after)
        self.place(after)

    @contextmanager
    def times(self, count: str | int) -> Iterator[str]:
        """A loop; gives the counter."""
        counter = self.variable()
        head, body, after = self.label(), self.label(), self.label()
        self.go(head)
        self.place(head)
        here = self.get(counter)
        self.branch(self.is_("slt", here, count), body, after)
        self.place(body)
        yield here
        self.set(counter, self.op("add", here, 1))
        self.go(head)
        self.place(after)

    def call(self, function: str, arguments: Sequence[str | int], result: str = "i64") -> str:
        """A call of the function at an address."""
        listed = ", ".join(f"i64 {one}" for one in arguments)
        called = self.value(f"call {result} {self.pointer(function)}({listed})")
        return called if result == "i64" else self.value(f"sext {result} {called} to i64")

    def run(self, function: str, arguments: Sequence[str | int]) -> None:
        listed = ", ".join(f"i64 {one}" for one in arguments)
        self.lines.append(f"  call void {self.pointer(function)}({listed})")

    def leave(self, value: str | int) -> None:
        self.lines.append(f"  ret i64 {value}")

    def text(self) -> str:
        """The whole function."""
        return "\n".join([*self.head, *self.lines, "}", ""])
