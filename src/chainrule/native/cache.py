"""Machine code kept on disk, so that a second process starts without a compiler.

One file an entry, in a directory that only its owner can enter: ``CHAINRULE_CACHE``, or the user's cache directory.
The name of the file is a digest of all that the code depends on: the program, the processor, and the versions of
chainrule (its very source files), LLVM and NumPy. A file that is damaged, cut short, or somebody else's is taken for
absent and written anew. Files appear whole (written aside, then renamed), and those used longest ago go first when
there is more than ``LIMIT`` bytes of them. Nothing here raises: a cache that does not work costs time and nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import platform
import stat
import struct
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chainrule.program import Literal, Program

__all__ = ["LIMIT", "Entry", "directory", "get", "key_of", "put"]

#: Bytes of all entries together.
LIMIT = 256 << 20
_MAGIC = b"chainrule machine code 1\n"
_EVERY = 32


class Entry(NamedTuple):
    """An object file, and what must be known to call what is in it."""

    facts: dict[str, Any]
    code: bytes


# --- what an entry depends on ---------------------------------------------------------------------------------------


class _Unkeyed(Exception):
    """A program holds something that has no faithful text."""


def key_of(program: Program) -> str | None:
    """The name of a program's entry; None where it can not be told from others with certainty."""
    try:
        text = _told(program)
    except _Unkeyed:
        return None
    return text_key(text)


def text_key(text: str) -> str:
    """The name of the entry of what this text describes."""
    return hashlib.sha256(f"{_circumstances()}\n{text}".encode()).hexdigest()


def _told(value: Any) -> str:
    """A text that differs wherever the values differ, in type, in sign of zero, in the last digit."""
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes):
        return repr(value)
    if kind is float or kind is complex:
        return f"{kind.__name__}:{value!r}"
    if kind in (tuple, list):
        return f"{kind.__name__}({','.join(map(_told, value))})"
    if kind is slice:
        return f"slice({_told((value.start, value.stop, value.step))})"
    if isinstance(value, np.generic | np.ndarray):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise _Unkeyed
        return f"{kind.__name__}:{array.dtype.str}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"
    if isinstance(value, np.dtype):
        return f"dtype:{value.str}"
    if isinstance(value, Literal):
        return f"literal({_told(value.value)})"
    if isinstance(value, Program):
        return _told_program(value)
    raise _Unkeyed


def _told_program(program: Program) -> str:
    number: dict[int, int] = {}
    for var in (*program.inputs, *program.captures):
        number[var] = len(number)

    def operand(one: Any) -> str:
        return _told(one) if isinstance(one, Literal) else f"v{number[one]}"

    lines = [f"{len(program.inputs)} {len(program.captures)}"]
    for step in program.steps:
        for var in step.outputs:
            number[var] = len(number)
        ins, outs = ",".join(map(operand, step.inputs)), ",".join(map(operand, step.outputs))
        lines.append(f"{outs}={step.rule.name}:{type(step.rule).__name__}({ins};{_told(step.params)})")
    lines.append(",".join(f"{program.types[var]!r}" for var in number))
    lines.append(",".join(map(operand, program.outputs)))
    lines.append(",".join(f"{operand(var)}?{_told(value)}" for var, value in program.guards))
    return "{" + "\n".join(lines) + "}"


@functools.cache
def _circumstances() -> str:
    """Everything but the program that machine code depends on."""
    found: list[Any] = [
        sys.platform,
        sys.byteorder,
        np.__version__,
        _sources(Path(__file__).parent.parent),
        _processor(),
    ]
    if hasattr(os, "confstr"):
        found.append(os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else "")
    spec = importlib.util.find_spec("llvmlite")
    if spec is not None and spec.origin is not None:
        found.append(_sources(Path(spec.origin).parent, inside=False))
    return "\n".join(map(str, found))


def _sources(folder: Path, *, inside: bool = True) -> str:
    """Which source files these are, by size and time."""
    told = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if inside and name != "__pycache__")
        for name in sorted(names):
            if name.endswith(".py"):
                status = os.stat(os.path.join(place, name))
                told.append(f"{name}{status.st_size}:{status.st_mtime_ns}")
    return hashlib.sha256(" ".join(told).encode()).hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.platform()}"
    wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU implementer", "CPU part")
    return platform.machine() + "\n".join(line for line in lines if line.partition("\t")[0].strip() in wanted)


# --- the directory --------------------------------------------------------------------------------------------------


def directory() -> Path | None:
    """Where entries are kept; None where there is no cache (``CHAINRULE_CACHE=off``, or no such directory)."""
    wanted = os.environ.get("CHAINRULE_CACHE", "")
    if wanted.lower() in ("off", "0", "no", "false"):
        return None
    folder = Path(wanted) if wanted else _user_folder()
    return folder if folder is not None and _is_private(folder) else None


def _user_folder() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "chainrule" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "chainrule"
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else home / ".cache") / "chainrule"


def _is_private(folder: Path) -> bool:
    """Whether the directory is there (it is made where it is not) and nobody else can write to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.stat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_own(status)


def _is_own(status: os.stat_result) -> bool:
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


# --- entries --------------------------------------------------------------------------------------------------------


def get(key: str) -> Entry | None:
    """The entry of this name, if there is a sound one."""
    folder = directory()
    if folder is None:
        return None
    path = folder / key
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or not _is_own(status):
                return None
            held = stream.read()
        entry = _opened(held, key)
        if entry is not None:
            # Used now: what is used goes last.
            os.utime(path)
    except (OSError, ValueError, struct.error, UnicodeDecodeError):
        return None
    return entry


def _opened(held: bytes, key: str) -> Entry | None:
    start = len(_MAGIC) + 32
    body = held[start:]
    if held[: len(_MAGIC)] != _MAGIC or hashlib.sha256(key.encode() + body).digest() != held[len(_MAGIC) : start]:
        return None
    length = struct.unpack_from("<Q", body)[0]
    facts = json.loads(body[8 : 8 + length].decode("utf-8"))
    return Entry(facts, body[8 + length :])


def put(key: str, entry: Entry) -> None:
    """Keep an entry."""
    folder = directory()
    if folder is None:
        return
    facts = json.dumps(entry.facts).encode("utf-8")
    body = struct.pack("<Q", len(facts)) + facts + entry.code
    name = None
    try:
        name = str(folder / f"new-{os.getpid()}-{threading.get_ident()}-{_Written.count}")
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(file, "wb") as stream:
            stream.write(_MAGIC + hashlib.sha256(key.encode() + body).digest() + body)
        os.replace(name, folder / key)
    except OSError:
        if name is not None:
            _removed(Path(name))
        return
    _Written.count += 1
    if _Written.count % _EVERY == 1:
        _shrink(folder)


class _Written:
    """How many entries this process has written."""

    count = 0


def _removed(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return


def _shrink(folder: Path) -> None:
    """Remove what was used longest ago, until four fifths of the limit are left."""
    try:
        with os.scandir(folder) as found:
            held = sorted((one.stat().st_mtime_ns, one.stat().st_size, one.path) for one in found if one.is_file())
    except OSError:
        return
    total = sum(size for _, size, _ in held)
    if total <= LIMIT:
        return
    for _, size, path in held:
        if total <= LIMIT * 4 // 5:
            break
        _removed(Path(path))
        total -= size
