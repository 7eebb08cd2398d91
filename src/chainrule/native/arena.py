"""Where the work buffers are in the one block of memory that a call is given: planned once, by first and last use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chainrule.native.loops import Buffer, Callback, Copy, Item, LibraryCall, Loop, Store, Value

__all__ = ["planned"]

_ALIGNMENT = 64


def planned(body: Sequence[Item]) -> int:
    """Give every work buffer its place; the size of the whole in bytes."""
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for time, item in enumerate(body):
        for buffer in touched(item):
            if buffer.role == "arena":
                first.setdefault(buffer, time)
                last[buffer] = time
    free: list[tuple[int, int]] = []
    taken: list[tuple[int, int, Buffer]] = []
    total = 0
    for buffer in sorted(first, key=lambda one: first[one]):
        for end, place, other in [one for one in taken if one[0] < first[buffer]]:
            taken.remove((end, place, other))
            free.append((place, _rounded(other.bytes)))
        free = _merged(free)
        size = _rounded(buffer.bytes)
        fitting = [one for one in free if one[1] >= size]
        if fitting:
            place, room = min(fitting, key=lambda one: (one[1], one[0]))
            free.remove((place, room))
            if room > size:
                free.append((place + size, room - size))
        else:
            place, total = total, total + size
        buffer.place = place
        taken.append((last[buffer], place, buffer))
    return total


def _rounded(size: int) -> int:
    return -(-max(size, 1) // _ALIGNMENT) * _ALIGNMENT


def _merged(free: list[tuple[int, int]]) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    for place, size in sorted(free):
        if made and made[-1][0] + made[-1][1] == place:
            made[-1] = (made[-1][0], made[-1][1] + size)
        else:
            made.append((place, size))
    return made


def touched(item: Item) -> Iterator[Buffer]:
    """The buffers that an item reads or writes."""
    if isinstance(item, Loop):
        for one in item.body:
            yield from touched(one)
    elif isinstance(item, Value):
        if item.op == "load":
            yield item.attr[0]
    elif isinstance(item, Store):
        yield item.buffer
    elif isinstance(item, Copy):
        yield item.source
        yield item.target
    elif isinstance(item, LibraryCall):
        yield from item.reads
        yield from item.writes
    elif isinstance(item, Callback):
        for buffer, _ in (*item.reads, *item.writes):
            yield buffer
