"""The pool of threads that share out large loops: made once in a process, asleep where there is nothing to do.

Compiled code cuts a large loop into pieces whose number depends on the loop alone, and hands them to ``share`` (the
address stands in the context that every kernel is given). Whoever is free takes the next piece, the calling thread
too; sums of pieces are combined in their order by the caller, so the digits do not depend on the number of threads.
A kernel that finds the pool busy, in another thread or around itself, does all its pieces alone. The threads are
POSIX threads that never enter the interpreter; a forked child starts with none and makes its own.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.native import cache
from chainrule.native.linking import link
from chainrule.native.words import Words

__all__ = ["context", "count", "threads"]

_MOST = 256
#: Looks at the state before a thread goes to sleep: some microseconds.
_PATIENCE = 4000


class Pool(IntEnum):
    """The words of a pool's state. A mutex and two conditions have sixteen words each, more than any system needs."""

    MUTEX = 0
    WORK = 16
    DONE = 32
    GENERATION = 48
    TASK = 49
    FRAME = 50
    PIECES = 51
    NEXT = 56
    ACTIVE = 57
    #: How many threads besides the caller may take part.
    HELPERS = 64
    BUSY = 65
    LOCK = 66
    UNLOCK = 67
    WAIT = 68
    WAKE = 69
    SIZE = 80


# --- the machine code -------------------------------------------------------------------------------------------------


def pool_text() -> str:
    """The LLVM IR of ``share(pool, task, frame, pieces)``, and of ``work``, which a thread does."""
    return f"{_pieces()}\n{_share()}\n{_work()}"


def _volatile(to: Words, base: str, place: int) -> str:
    return to.value(f"load volatile i64, ptr {to.pointer(base, place)}")


def _locked(to: Words, pool: str, function: int) -> None:
    to.call(to.word(pool, function), [to.op("add", pool, 8 * Pool.MUTEX)], "i32")


def _pieces() -> str:
    """Take pieces as long as there are any."""
    to = Words("define internal void @pieces(i64 %pool, i64 %task, i64 %frame, i64 %count) {")
    head, body, after = to.label(), to.label(), to.label()
    to.go(head)
    to.place(head)
    piece = to.value(f"atomicrmw add ptr {to.pointer('%pool', Pool.NEXT)}, i64 1 seq_cst")
    to.branch(to.is_("slt", piece, "%count"), body, after)
    to.place(body)
    to.run("%task", ["%frame", piece])
    to.go(head)
    to.place(after)
    to.lines.append("  ret void")
    return to.text()


def _share() -> str:
    to = Words("define void @chainrule_share(i64 %pool, i64 %task, i64 %frame, i64 %count) {")
    alone, free, done = to.label(), to.label(), to.label()
    to.unless(to.is_("sgt", "%count", 1), alone)
    to.unless(to.is_("sgt", to.word("%pool", Pool.HELPERS), 0), alone)
    before = to.value(f"atomicrmw xchg ptr {to.pointer('%pool', Pool.BUSY)}, i64 1 seq_cst")
    to.branch(to.is_("eq", before, 0), free, alone)
    to.place(alone)
    with to.times("%count") as piece:
        to.run("%task", ["%frame", piece])
    to.go(done)
    to.place(free)
    _locked(to, "%pool", Pool.LOCK)
    for place, value in ((Pool.TASK, "%task"), (Pool.FRAME, "%frame"), (Pool.PIECES, "%count"), (Pool.NEXT, 0)):
        to.put("%pool", place, value)
    to.put("%pool", Pool.GENERATION, to.op("add", to.word("%pool", Pool.GENERATION), 1))
    to.call(to.word("%pool", Pool.WAKE), [to.op("add", "%pool", 8 * Pool.WORK)], "i32")
    _locked(to, "%pool", Pool.UNLOCK)
    to.lines.append("  call void @pieces(i64 %pool, i64 %task, i64 %frame, i64 %count)")
    # Nobody begins any more; those who have begun are waited for, awake at first.
    _locked(to, "%pool", Pool.LOCK)
    to.put("%pool", Pool.TASK, 0)
    _locked(to, "%pool", Pool.UNLOCK)
    asleep = to.label()
    with to.times(_PATIENCE):
        to.unless(to.is_("ne", _volatile(to, "%pool", Pool.ACTIVE), 0), asleep)
    to.go(asleep)
    to.place(asleep)
    _locked(to, "%pool", Pool.LOCK)
    head, wait, after = to.label(), to.label(), to.label()
    to.go(head)
    to.place(head)
    to.branch(to.is_("eq", _volatile(to, "%pool", Pool.ACTIVE), 0), after, wait)
    to.place(wait)
    _wait(to, "%pool", Pool.DONE)
    to.go(head)
    to.place(after)
    _locked(to, "%pool", Pool.UNLOCK)
    to.lines.append(f"  store atomic i64 0, ptr {to.pointer('%pool', Pool.BUSY)} seq_cst, align 8")
    to.go(done)
    to.place(done)
    to.lines.append("  ret void")
    return to.text()


def _wait(to: Words, pool: str, condition: int) -> None:
    addresses: list[str | int] = [to.op("add", pool, 8 * condition), to.op("add", pool, 8 * Pool.MUTEX)]
    to.call(to.word(pool, Pool.WAIT), addresses, "i32")


def _work() -> str:
    to = Words("define i64 @chainrule_work(i64 %pair) {")
    pool, number = to.word("%pair", 0), to.word("%pair", 1)
    seen = to.variable(0)
    again, sleep, head, wait, look, join = (to.label() for _ in range(6))
    to.go(again)
    to.place(again)
    with to.times(_PATIENCE):
        to.unless(to.is_("eq", _volatile(to, pool, Pool.GENERATION), to.get(seen)), sleep)
    to.go(sleep)
    to.place(sleep)
    _locked(to, pool, Pool.LOCK)
    to.go(head)
    to.place(head)
    generation = _volatile(to, pool, Pool.GENERATION)
    to.branch(to.is_("eq", generation, to.get(seen)), wait, look)
    to.place(wait)
    _wait(to, pool, Pool.WORK)
    to.go(head)
    to.place(look)
    to.set(seen, generation)
    task, frame, count_ = (to.word(pool, place) for place in (Pool.TASK, Pool.FRAME, Pool.PIECES))
    wanted = to.is_("slt", number, to.word(pool, Pool.HELPERS))
    open_ = to.is_("ne", task, 0)
    skip = to.label()
    to.branch(to.value(f"and i1 {wanted}, {open_}"), join, skip)
    to.place(skip)
    _locked(to, pool, Pool.UNLOCK)
    to.go(again)
    to.place(join)
    to.put(pool, Pool.ACTIVE, to.op("add", to.word(pool, Pool.ACTIVE), 1))
    _locked(to, pool, Pool.UNLOCK)
    to.lines.append(f"  call void @pieces(i64 {pool}, i64 {task}, i64 {frame}, i64 {count_})")
    _locked(to, pool, Pool.LOCK)
    left = to.op("sub", to.word(pool, Pool.ACTIVE), 1)
    to.put(pool, Pool.ACTIVE, left)
    with to.where(to.is_("eq", left, 0)):
        to.call(to.word(pool, Pool.WAKE), [to.op("add", pool, 8 * Pool.DONE)], "i32")
    _locked(to, pool, Pool.UNLOCK)
    to.go(again)
    return to.text()


# --- the pool ---------------------------------------------------------------------------------------------------------


class _Made:
    """The state of this process's pool, and the threads that it has."""

    def __init__(self) -> None:
        text = pool_text()
        key = cache.text_key(text)
        entry = cache.get(key)
        if entry is None:
            from chainrule.native import llvm

            entry = cache.Entry({}, llvm.object_code(text))
            cache.put(key, entry)
        self.code = link(entry.code, ["chainrule_share", "chainrule_work"])
        self.lock = threading.Lock()
        #: What kernels are given: the address of ``share``, and that of the state.
        self.context = np.zeros(2, dtype=np.int64)
        self.context[0] = self.code.address("chainrule_share")
        self.kept: list[Any] = []
        self.fresh()

    def fresh(self) -> None:
        """Take a new state without threads. The old one is kept: somebody may still read it."""
        self.lock = threading.Lock()
        words = np.zeros(Pool.SIZE + 8, dtype=np.int64)
        words = words[(-words.ctypes.data % 64) // 8 :][: Pool.SIZE]
        libc = ctypes.CDLL(None)
        start = words.ctypes.data
        libc.pthread_mutex_init(ctypes.c_void_p(start + 8 * Pool.MUTEX), None)
        libc.pthread_cond_init(ctypes.c_void_p(start + 8 * Pool.WORK), None)
        libc.pthread_cond_init(ctypes.c_void_p(start + 8 * Pool.DONE), None)
        for place, name in (
            (Pool.LOCK, "pthread_mutex_lock"),
            (Pool.UNLOCK, "pthread_mutex_unlock"),
            (Pool.WAIT, "pthread_cond_wait"),
            (Pool.WAKE, "pthread_cond_broadcast"),
        ):
            words[place] = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value or 0
        self.kept.append(words)
        self.words = words
        self.started = 0
        self.context[1] = start

    def want(self, number: int) -> None:
        """Let this many threads take part, the caller among them."""
        with self.lock:
            while self.started < number - 1:
                if not self._start():
                    break
            self.words[Pool.HELPERS] = min(number - 1, self.started)

    def _start(self) -> bool:
        libc = ctypes.CDLL(None)
        pair = np.array([self.words.ctypes.data, self.started], dtype=np.int64)
        self.kept.append(pair)
        made = ctypes.c_void_p()
        # Signals are for the threads that Python knows.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            failed = libc.pthread_create(
                ctypes.byref(made),
                None,
                ctypes.c_void_p(self.code.address("chainrule_work")),
                ctypes.c_void_p(pair.ctypes.data),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if failed:
            return False
        libc.pthread_detach(made)
        self.started += 1
        return True


class _Wanted:
    """How many threads are wanted; None: as the environment says."""

    number: int | None = None


@functools.cache
def _made() -> _Made | None:
    if sys.platform == "win32":
        return None
    made = _Made()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made.fresh)
    _tell_threadpoolctl()
    return made


def _default() -> int:
    for name in ("CHAINRULE_NUM_THREADS", "OMP_NUM_THREADS"):
        said = os.environ.get(name, "").partition(",")[0].strip()
        if said.isdigit() and int(said) > 0:
            return min(int(said), _MOST)
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST)
    return min(os.cpu_count() or 1, _MOST)


def count() -> int:
    """How many threads large loops may use: the innermost ``threads``, or CHAINRULE_NUM_THREADS, or all processors."""
    return _default() if _Wanted.number is None else _Wanted.number


def _apply() -> None:
    made = _made() if _made.cache_info().currsize else None
    if made is not None:
        made.want(count())


def context() -> int:
    """The address of what kernels with large loops are given: two words, ``share`` and its pool; 0 without threads."""
    made = _made()
    if made is None:
        return 0
    made.want(count())
    return int(made.context.ctypes.data)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let large loops of compiled code use this many threads within the block, in the whole process.

    The results are the same to the digit, whatever the number. Raises ArgumentError for anything but a positive int.

    >>> import chainrule as cr
    >>> with cr.threads(1):
    ...     cr.compile(lambda x: x + 1.0)(2.0)
    np.float64(3.0)
    """
    if type(number) is not int or number < 1:
        raise ArgumentError(f"threads takes a positive whole number, got {number!r}")
    before, _Wanted.number = _Wanted.number, min(number, _MOST)
    try:
        _apply()
        yield
    finally:
        _Wanted.number = before
        _apply()


def _tell_threadpoolctl() -> None:
    """Where threadpoolctl is in use, its limits are ours too."""
    control = sys.modules.get("threadpoolctl")
    if control is None or not hasattr(control, "register"):
        return

    class Controller(control.LibController):  # type: ignore[misc,name-defined]
        """The pool, as threadpoolctl sees it. It is no library; it is found where the C library is."""

        user_api = "chainrule"
        internal_api = "chainrule"
        filename_prefixes = ("libc.so", "libsystem_c", "libc-")

        def get_num_threads(self) -> int:
            return count()

        def set_num_threads(self, num_threads: int) -> None:
            _Wanted.number = max(1, int(num_threads))
            _apply()

        def get_version(self) -> str | None:
            return None

        def set_additional_attributes(self) -> None:
            return

    control.register(Controller)
