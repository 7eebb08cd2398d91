"""Object code -> memory that can be run, without a linker: what a process with a warm cache needs of a compiler.

Loading LLVM (a library of a hundred megabytes) takes longer than tracing, transforming and running a typical gradient.
The object files that it makes of our programs need very little of a linker: sections side by side, a handful of kinds
of relocation, and the addresses of some functions. This file does that for ELF on x86-64 (the relocations are those of
the System V ABI's supplement for that processor); ``load`` returns None for everything else, which LLVM then links.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Image", "load"]

_ALLOCATED = 0x2
_NO_BITS, _SYMBOLS, _RELOCATIONS = 8, 2, 4
_WRITE = (
    0x1  # (flags of sections; the order of their fields: name, kind, flags, address, offset, size, link, info, ...)
)
_ABSOLUTE, _RELATIVE, _CALL = 1, 2, 4
_TABLE = frozenset({9, 41, 42})
_STUB = b"\xff\x25\x00\x00\x00\x00\xcc\xcc"  # jmp *(rip + 2), then the address


class Image:
    """Loaded machine code; it can be run as long as this object lives."""

    def __init__(self, memory: mmap.mmap, addresses: dict[str, int]) -> None:
        self.memory = memory
        self.addresses = addresses


class _Unknown(Exception):
    """Something in the object file that only a real linker knows."""


def load(code: bytes, names: Sequence[str], resolve: Callable[[str], int | None]) -> Image | None:
    """The functions ``names`` of an object file; ``resolve`` gives the addresses of those that it calls.

    None where the file is not of a kind that is known here.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or struct.calcsize("P") != 8:
        return None
    try:
        return _load(code, names, resolve)
    except (_Unknown, struct.error, IndexError, KeyError, UnicodeDecodeError, OSError, ValueError):
        return None


def _load(code: bytes, names: Sequence[str], resolve: Callable[[str], int | None]) -> Image:
    if code[:7] != b"\x7fELF\x02\x01\x01" or struct.unpack_from("<HH", code, 16) != (1, 62):
        raise _Unknown
    table = struct.unpack_from("<Q", code, 40)[0]
    count = struct.unpack_from("<H", code, 60)[0]
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + 64 * number) for number in range(count)]
    names_at = sections[struct.unpack_from("<H", code, 62)[0]][4]
    wanted = [
        number
        for number, (label, _, flags, _, _, length, _, _, _, _) in enumerate(sections)
        if flags & _ALLOCATED and length and not _text(code, names_at + label).startswith(".eh_frame")
    ]
    symbols = _symbols(code, sections)
    outside = sorted({name for name, section, _ in symbols.values() if section == 0 and name})
    # First what can be run and read, on pages of its own, then what can be written to.
    places: dict[int, int] = {}
    size = 0
    for number in wanted:
        if not sections[number][2] & _WRITE:
            size = places[number] = _rounded(size, sections[number][8])
            size += sections[number][5]
    # A stub for each function outside: its jump reaches any distance, and its second half serves as a table entry.
    size = _rounded(size, 16)
    stubs = {name: size + 16 * number for number, name in enumerate(outside)}
    size = fixed = _rounded(size + 16 * len(stubs), mmap.PAGESIZE)
    for number in wanted:
        if sections[number][2] & _WRITE:
            size = places[number] = _rounded(size, sections[number][8])
            size += sections[number][5]
    memory = mmap.mmap(-1, max(size, 1))
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for number, place in places.items():
        start, length = sections[number][4], sections[number][5]
        if sections[number][1] != _NO_BITS:
            memory[place : place + length] = code[start : start + length]
    found: dict[str, int] = {}
    for name, place in stubs.items():
        address = resolve(name)
        if address is None:
            raise _Unknown
        found[name] = address
        memory[place : place + 16] = _STUB + struct.pack("<Q", address)
    for section in sections:
        if section[1] == _RELOCATIONS and section[7] in places:
            _relocate(code, section, _Placed(memory, base, places, symbols, stubs, found))
    addresses = {name: base + places[section] + value for name, section, value in symbols.values() if section in places}
    if _protect(base, fixed) != 0:
        raise _Unknown
    return Image(memory, {name: addresses[name] for name in names})


def _rounded(size: int, step: int) -> int:
    return -(-size // max(step, 1)) * max(step, 1)


def _text(code: bytes, start: int) -> str:
    return code[start : code.index(b"\0", start)].decode("ascii")


def _symbols(code: bytes, sections: list[tuple[int, ...]]) -> dict[int, tuple[str, int, int]]:
    """Name, section and value of each symbol, by its number."""
    found = {}
    for section in sections:
        if section[1] == _SYMBOLS:
            texts = sections[section[6]][4]
            for number in range(section[5] // 24):
                label, _, _, where, value, _ = struct.unpack_from("<IBBHQQ", code, section[4] + 24 * number)
                found[number] = (_text(code, texts + label), where, value)
    return found


class _Placed(NamedTuple):
    """What relocations are computed from: where sections and stubs are, and what symbols stand for."""

    memory: mmap.mmap
    base: int
    sections: dict[int, int]
    symbols: dict[int, tuple[str, int, int]]
    stubs: dict[str, int]
    outside: dict[str, int]


def _relocate(code: bytes, section: tuple[int, ...], placed: _Placed) -> None:
    for number in range(section[5] // 24):
        offset, info, addend = struct.unpack_from("<QQq", code, section[4] + 24 * number)
        name, where, value = placed.symbols[info >> 32]
        kind = info & 0xFFFFFFFF
        at = placed.sections[section[7]] + offset
        if kind == _ABSOLUTE:
            target = placed.outside[name] if where == 0 else placed.base + placed.sections[where] + value
            struct.pack_into("<Q", placed.memory, at, (target + addend) % 2**64)
            continue
        if kind in _TABLE and where == 0:
            target = placed.stubs[name] + 8
        elif kind in (_RELATIVE, _CALL):
            target = placed.stubs[name] if where == 0 else placed.sections[where] + value
        else:
            raise _Unknown
        struct.pack_into("<i", placed.memory, at, target + addend - at)


def _protect(address: int, length: int) -> int:
    """Make the memory runnable, and no longer writable."""
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return int(mprotect(address, length, mmap.PROT_READ | mmap.PROT_EXEC))
