"""The function that a compiled call enters, as LLVM IR: it checks the arguments, makes the results, runs the kernel.

One function serves every compiled program. It is a ``METH_FASTCALL`` function of CPython's; what it is to check and to
make stands in a record of words (``call.py`` fills it), and what it calls stands in a table of addresses, so its
machine code names no address and can be kept on disk. Everything that it does not know by heart (lists, other types,
other layouts, keyword arguments, a guard that fails) goes to the next callable, in the end to Python.
"""

from __future__ import annotations

from enum import IntEnum, auto

from chainrule.native.words import Words

__all__ = ["ENTRY", "HASH", "STACK_BYTES", "Api", "Argument", "Hashed", "Record", "Result", "Slot", "glue_text"]

ENTRY = "chainrule_call"
HASH = "chainrule_hash"
#: An arena up to this size is on the stack.
STACK_BYTES = 16384

# Where things are in CPython's and NumPy's objects, in bytes (``call.py`` checks each before it relies on them).
TYPE = 8
BOXED = 16
LIST_ITEMS = 24
TUPLE_FIRST = 24
DATA, NDIM, SHAPE, DTYPE, FLAGS = 16, 24, 32, 56, 64
#: C-contiguous and aligned.
LAYOUT = 0x0101


class Record(IntEnum):
    """The words of a specialisation."""

    API = 0
    ARGUMENTS = auto()
    ARGUMENT_COUNT = auto()
    CAPTURES = auto()
    CAPTURE_COUNT = auto()
    #: Without captures: how many of the arguments are not.
    GIVEN = auto()
    SLOTS = auto()
    SLOT_COUNT = auto()
    HASHED = auto()
    HASHED_COUNT = auto()
    RESULTS = auto()
    RESULT_COUNT = auto()
    #: The callable that is asked where this one can not answer.
    NEXT = auto()
    #: The callable that raises what a step that called back has raised.
    RAISE = auto()
    #: The callable that is asked where the kernel leaves the values to the interpreter; 0: the next one.
    WITHDRAWN = auto()
    #: The callable that is asked where a guard of the program does not hold; 0: the next one.
    REFUSED = auto()
    #: 0: the single result itself, 1: a tuple of the results, else a callable that is given that tuple.
    ASSEMBLE = auto()
    KERNEL = auto()
    ARENA_BYTES = auto()
    #: The arena of the last call, for the next one to take.
    ARENA = auto()
    #: Whether the kernel runs without the interpreter's lock.
    RELEASES = auto()
    CONTEXT = auto()


class Argument(IntEnum):
    """The words of an argument, or of a captured array."""

    #: 0 an array, 1 a number that is boxed in an object of type TYPE, 2 the object OBJECT itself or its equal.
    KIND = 0
    OBJECT = auto()
    DTYPE = auto()
    NDIM = auto()
    SHAPE = auto()
    #: Of kind 2: whether an equal object of the same type will do.
    EQUAL = auto()


class Slot(IntEnum):
    """The words of a place that must hold what it held: EXPECTED."""

    #: 0 a word in memory, 1 an entry of a dict, 2 an attribute, 3 an item of a list, 4 a question to a callable.
    KIND = 0
    PLACE = auto()
    KEY = auto()
    EXPECTED = auto()


class Hashed(IntEnum):
    """The words of an array whose contents must be what they were."""

    ARRAY = 0
    BYTES = auto()
    EXPECTED = auto()


class Result(IntEnum):
    """The words of a result."""

    #: 0 an array, 1 a NumPy scalar, 2 the object OBJECT, 3 the array OBJECT, whose memory is written to.
    KIND = 0
    OBJECT = auto()
    DTYPE = auto()
    NDIM = auto()
    SHAPE = auto()


class Api(IntEnum):
    """The table of addresses."""

    ARRAY_TYPE = 0
    NEW_ARRAY = auto()
    NEW_SCALAR = auto()
    VECTORCALL = auto()
    INCREF = auto()
    DECREF = auto()
    NEW_TUPLE = auto()
    SAVE_THREAD = auto()
    RESTORE_THREAD = auto()
    NO_MEMORY = auto()
    DICT_GET = auto()
    GET_ATTRIBUTE = auto()
    COMPARE = auto()
    CLEAR = auto()
    ALIGNED_ALLOC = auto()
    FREE = auto()
    TRUE = auto()


def glue_text() -> str:
    """The LLVM IR of the functions ENTRY and HASH."""
    return f"{_check_array()}\n{_hash()}\n{_entry()}"


def _check_array() -> str:
    """The address of the data of an array that is as its record says, else 0."""
    to = Words("define internal i64 @check_array(i64 %api, i64 %record, i64 %object) alwaysinline {")
    no = to.label()
    to.expect(to.at("%object", TYPE), to.word("%api", Api.ARRAY_TYPE), no)
    ndim = to.word("%record", Argument.NDIM)
    to.expect(to.int32("%object", NDIM), ndim, no)
    to.expect(to.op("and", to.int32("%object", FLAGS), LAYOUT), LAYOUT, no)
    to.expect(to.at("%object", DTYPE), to.word("%record", Argument.DTYPE), no)
    shape, wanted = to.at("%object", SHAPE), to.word("%record", Argument.SHAPE)
    with to.times(ndim) as axis:
        to.expect(to.word(shape, axis), to.word(wanted, axis), no)
    to.leave(to.at("%object", DATA))
    to.place(no)
    to.leave(0)
    return to.text()


#: The odd factors of XXH64 (Y. Collet, 2012): multiplying by them loses nothing.
_FACTORS = tuple(factor - (1 << 64) for factor in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


def _hash() -> str:
    """A number that tells the contents of a block of memory: XXH64's rounds, four lanes at a time.

    Each round is one to one in the word and in what came before, so a single changed word always changes the result;
    the rotation carries a changed sign, the highest bit, to where the next factor spreads it.
    """
    first, second, third = _FACTORS
    to = Words(f"define i64 @{HASH}(i64 %data, i64 %bytes) {{")

    def rotated(value: str, by: int) -> str:
        return to.op("or", to.op("shl", value, by), to.op("lshr", value, 64 - by))

    def round_(lane: str, word: str) -> None:
        mixed = rotated(to.op("add", to.get(lane), to.op("mul", word, second)), 31)
        to.set(lane, to.op("mul", mixed, first))

    lanes = [to.variable(1 + 17 * lane) for lane in range(4)]
    with to.times(to.op("lshr", "%bytes", 5)) as block:
        start = to.op("add", "%data", to.op("shl", block, 5))
        for number, lane in enumerate(lanes):
            round_(lane, to.word(start, number))
    done = to.op("and", "%bytes", -32)
    with to.times(to.op("sub", "%bytes", done)) as rest:
        place = to.op("add", to.op("add", "%data", done), rest)
        byte = to.value(f"load i8, ptr {to.pointer(place)}")
        round_(lanes[0], to.value(f"zext i8 {byte} to i64"))
    total = to.op("add", "%bytes", third)
    for lane in lanes:
        total = to.op("mul", rotated(to.op("xor", total, to.get(lane)), 27), first)
        total = to.op("mul", to.op("xor", total, to.op("lshr", total, 33)), second)
    total = to.op("mul", to.op("xor", total, to.op("lshr", total, 29)), third)
    to.leave(to.op("xor", total, to.op("lshr", total, 32)))
    return to.text()


def _entry() -> str:
    to = Words(f"define i64 @{ENTRY}(i64 %self, i64 %args, i64 %nargs, i64 %names) {{")
    # m_self is a tuple whose first item is the array that holds the record.
    record = to.at(to.at("%self", TUPLE_FIRST), DATA)
    api = to.word(record, Record.API)
    pass_on, failed = to.label(), to.label()
    count, captures = to.word(record, Record.ARGUMENT_COUNT), to.word(record, Record.CAPTURE_COUNT)
    results = to.word(record, Record.RESULT_COUNT)
    to.expect("%names", 0, pass_on)
    to.expect("%nargs", count, pass_on)
    inputs = to.scratch(count)
    captured = to.scratch(captures)
    outputs = to.scratch(results)
    objects = to.scratch(results)
    boxes = to.scratch(to.op("shl", results, 2))
    _check_arguments(to, record, api, inputs, pass_on)
    records = to.word(record, Record.CAPTURES)
    with to.times(captures) as place:
        one = to.op("add", records, to.op("mul", place, 8 * len(Argument)))
        data = to.value(f"call i64 @check_array(i64 {api}, i64 {one}, i64 {to.word(one, Argument.OBJECT)})")
        to.unless(to.is_("ne", data, 0), pass_on)
        to.put(captured, place, data)
    after = to.op("add", inputs, to.op("shl", to.word(record, Record.GIVEN), 3))
    captured = to.value(f"select i1 {to.is_('eq', captures, 0)}, i64 {after}, i64 {captured}")
    _check_slots(to, record, api, pass_on)
    _make_results(to, record, api, (outputs, objects, boxes), failed)
    status = _run(to, record, api, (inputs, captured, outputs), (objects, results), failed)
    good, bad, other = to.label(), to.label(), to.label()
    to.branch(to.is_("eq", status, 0), good, bad)
    to.place(bad)
    _drop(to, api, objects, results)
    raised = to.is_("eq", status, -1)
    with to.where(raised):
        to.leave(to.call(to.word(api, Api.VECTORCALL), [to.word(record, Record.RAISE), 0, 0, 0]))
        to.place(to.label())
    withdrawn, refused = to.word(record, Record.WITHDRAWN), to.word(record, Record.REFUSED)
    asked = to.value(f"select i1 {to.is_('eq', status, -2)}, i64 {withdrawn}, i64 {refused}")
    to.branch(to.is_("ne", asked, 0), other, pass_on)
    to.place(other)
    to.leave(to.call(to.word(api, Api.VECTORCALL), [asked, "%args", "%nargs", "%names"]))
    to.place(good)
    _return(to, record, api, (objects, boxes, results), failed)
    to.place(failed)
    to.leave(0)
    to.place(pass_on)
    following = to.word(record, Record.NEXT)
    to.run(to.word(api, Api.INCREF), [following])
    answer = to.call(to.word(api, Api.VECTORCALL), [following, "%args", "%nargs", "%names"])
    to.run(to.word(api, Api.DECREF), [following])
    to.leave(answer)
    return to.text()


def _check_arguments(to: Words, record: str, api: str, inputs: str, pass_on: str) -> None:
    records = to.word(record, Record.ARGUMENTS)
    given = to.variable()
    with to.times("%nargs") as place:
        one = to.op("add", records, to.op("mul", place, 8 * len(Argument)))
        object_ = to.word("%args", place)
        kind = to.word(one, Argument.KIND)
        array, other, boxed, fixed, after, have = (to.label() for _ in range(6))
        data = to.variable()
        to.branch(to.is_("eq", kind, 0), array, other)
        to.place(array)
        to.set(data, to.value(f"call i64 @check_array(i64 {api}, i64 {one}, i64 {object_})"))
        to.unless(to.is_("ne", to.get(data), 0), pass_on)
        to.go(have)
        to.place(other)
        to.branch(to.is_("eq", kind, 1), boxed, fixed)
        to.place(boxed)
        to.expect(to.at(object_, TYPE), to.word(one, Argument.OBJECT), pass_on)
        to.set(data, to.op("add", object_, BOXED))
        to.go(have)
        to.place(fixed)
        expected = to.word(one, Argument.OBJECT)
        with to.where(to.is_("ne", object_, expected)):
            to.expect(to.word(one, Argument.EQUAL), 1, pass_on)
            to.expect(to.at(object_, TYPE), to.at(expected, TYPE), pass_on)
            same = to.call(to.word(api, Api.COMPARE), [object_, expected, 2], "i32")
            with to.where(to.is_("slt", same, 0)):
                to.run(to.word(api, Api.CLEAR), [])
            to.expect(same, 1, pass_on)
        to.go(after)
        to.place(have)
        position = to.get(given)
        to.put(inputs, position, to.get(data))
        to.set(given, to.op("add", position, 1))
        to.go(after)
        to.place(after)


def _check_slots(to: Words, record: str, api: str, pass_on: str) -> None:
    records = to.word(record, Record.SLOTS)
    with to.times(to.word(record, Record.SLOT_COUNT)) as number:
        one = to.op("add", records, to.op("mul", number, 8 * len(Slot)))
        kind, place = to.word(one, Slot.KIND), to.word(one, Slot.PLACE)
        key, expected = to.word(one, Slot.KEY), to.word(one, Slot.EXPECTED)
        word, entry, attribute, item, question, wrong, after = (to.label() for _ in range(7))
        cases = " ".join(f"i64 {n}, label %{name}" for n, name in enumerate((word, entry, attribute, item, question)))
        to.lines.append(f"  switch i64 {kind}, label %{wrong} [ {cases} ]")
        to.place(word)
        to.expect(to.word(place), expected, pass_on)
        to.go(after)
        to.place(entry)
        found = to.call(to.word(api, Api.DICT_GET), [place, key])
        to.expect(found, expected, wrong)
        to.go(after)
        to.place(attribute)
        value = to.call(to.word(api, Api.GET_ATTRIBUTE), [place, key])
        to.unless(to.is_("ne", value, 0), wrong)
        to.run(to.word(api, Api.DECREF), [value])
        to.expect(value, expected, pass_on)
        to.go(after)
        to.place(item)
        to.expect(to.word(to.at(place, LIST_ITEMS), key), expected, pass_on)
        to.go(after)
        to.place(question)
        answer = to.call(to.word(api, Api.VECTORCALL), [place, 0, 0, 0])
        to.unless(to.is_("ne", answer, 0), wrong)
        to.run(to.word(api, Api.DECREF), [answer])
        to.expect(answer, to.word(api, Api.TRUE), pass_on)
        to.go(after)
        to.place(wrong)
        # Whatever a lookup has raised: Python will look again, and say so.
        to.run(to.word(api, Api.CLEAR), [])
        to.go(pass_on)
        to.place(after)
    hashed = to.word(record, Record.HASHED)
    with to.times(to.word(record, Record.HASHED_COUNT)) as number:
        one = to.op("add", hashed, to.op("mul", number, 8 * len(Hashed)))
        data = to.at(to.word(one, Hashed.ARRAY), DATA)
        seen = to.value(f"call i64 @{HASH}(i64 {data}, i64 {to.word(one, Hashed.BYTES)})")
        to.expect(seen, to.word(one, Hashed.EXPECTED), pass_on)


def _make_results(to: Words, record: str, api: str, places: tuple[str, str, str], failed: str) -> None:
    outputs, objects, boxes = places
    records = to.word(record, Record.RESULTS)
    # The kernel knows nothing of results that are known beforehand.
    written = to.variable()

    def write(address: str) -> None:
        place = to.get(written)
        to.put(outputs, place, address)
        to.set(written, to.op("add", place, 1))

    with to.times(to.word(record, Record.RESULT_COUNT)) as number:
        one = to.op("add", records, to.op("mul", number, 8 * len(Result)))
        kind = to.word(one, Result.KIND)
        array, other, boxed, fixed, after = (to.label() for _ in range(5))
        to.branch(to.is_("eq", kind, 0), array, other)
        to.place(array)
        dtype = to.word(one, Result.DTYPE)
        # NumPy takes over a reference to the dtype.
        to.run(to.word(api, Api.INCREF), [dtype])
        new = to.word(api, Api.NEW_ARRAY)
        ndim = to.value(f"trunc i64 {to.word(one, Result.NDIM)} to i32")
        made = to.value(
            f"call i64 {to.pointer(new)}(i64 {to.word(api, Api.ARRAY_TYPE)}, i64 {dtype}, i32 {ndim}, "
            f"i64 {to.word(one, Result.SHAPE)}, i64 0, i64 0, i32 0, i64 0)"
        )
        none = to.label()
        to.unless(to.is_("ne", made, 0), none)
        to.put(objects, number, made)
        write(to.at(made, DATA))
        to.go(after)
        to.place(none)
        _drop(to, api, objects, number)
        to.go(failed)
        to.place(other)
        to.put(objects, number, 0)
        to.branch(to.is_("eq", kind, 1), boxed, fixed)
        to.place(boxed)
        write(to.op("add", boxes, to.op("shl", number, 5)))
        to.go(after)
        to.place(fixed)
        with to.where(to.is_("eq", kind, 3)):
            write(to.at(to.word(one, Result.OBJECT), DATA))
        to.go(after)
        to.place(after)


def _drop(to: Words, api: str, objects: str, count: str) -> None:
    with to.times(count) as number:
        held = to.word(objects, number)
        with to.where(to.is_("ne", held, 0)):
            to.run(to.word(api, Api.DECREF), [held])


def _run(to: Words, record: str, api: str, pointers: tuple[str, str, str], made: tuple[str, str], failed: str) -> str:
    """Run the kernel with an arena; give its status."""
    needed = to.word(record, Record.ARENA_BYTES)
    arena, status, taken = to.variable(), to.variable(), to.variable()
    small, large, ready = to.label(), to.label(), to.label()
    to.branch(to.is_("sle", needed, STACK_BYTES), small, large)
    to.place(small)
    to.set(arena, to.scratch(to.op("add", to.op("lshr", needed, 3), 1)))
    to.go(ready)
    to.place(large)
    # A call inside of this one, or in another thread, finds nothing here and makes an arena of its own.
    slot = to.pointer(record, Record.ARENA)
    to.set(taken, to.value(f"atomicrmw xchg ptr {slot}, i64 0 seq_cst"))
    with to.where(to.is_("eq", to.get(taken), 0)):
        to.set(taken, to.call(to.word(api, Api.ALIGNED_ALLOC), [64, to.op("and", to.op("add", needed, 127), -64)]))
        none = to.is_("eq", to.get(taken), 0)
        with to.where(none):
            _drop(to, api, *made)
            ignored = to.call(to.word(api, Api.NO_MEMORY), [])
            to.leave(to.op("and", ignored, 0))
            to.place(to.label())
    to.set(arena, to.get(taken))
    to.go(ready)
    to.place(ready)
    kernel, context = to.word(record, Record.KERNEL), to.word(record, Record.CONTEXT)
    arguments: list[str | int] = [*pointers, to.get(arena), context]
    held, free, after = to.label(), to.label(), to.label()
    to.branch(to.is_("eq", to.word(record, Record.RELEASES), 0), held, free)
    to.place(held)
    to.set(status, to.call(kernel, arguments, "i32"))
    to.go(after)
    to.place(free)
    thread = to.call(to.word(api, Api.SAVE_THREAD), [])
    to.set(status, to.call(kernel, arguments, "i32"))
    to.run(to.word(api, Api.RESTORE_THREAD), [thread])
    to.go(after)
    to.place(after)
    with to.where(to.is_("ne", to.get(taken), 0)):
        back = to.value(f"atomicrmw xchg ptr {to.pointer(record, Record.ARENA)}, i64 {to.get(taken)} seq_cst")
        with to.where(to.is_("ne", back, 0)):
            to.run(to.word(api, Api.FREE), [back])
    return to.get(status)


def _return(to: Words, record: str, api: str, places: tuple[str, str, str], failed: str) -> None:
    objects, boxes, results = places
    records = to.word(record, Record.RESULTS)
    with to.times(results) as number:
        one = to.op("add", records, to.op("mul", number, 8 * len(Result)))
        kind = to.word(one, Result.KIND)
        with to.where(to.is_("eq", kind, 1)):
            box = to.op("add", boxes, to.op("shl", number, 5))
            made = to.call(to.word(api, Api.NEW_SCALAR), [box, to.word(one, Result.DTYPE), 0])
            to.put(objects, number, made)
            none = to.is_("eq", made, 0)
            with to.where(none):
                _drop(to, api, objects, results)
                to.leave(0)
                to.place(to.label())
        with to.where(to.is_("sge", kind, 2)):
            held = to.word(one, Result.OBJECT)
            to.run(to.word(api, Api.INCREF), [held])
            to.put(objects, number, held)
    assemble = to.word(record, Record.ASSEMBLE)
    single, several = to.label(), to.label()
    to.branch(to.is_("eq", assemble, 0), single, several)
    to.place(single)
    to.leave(to.word(objects))
    to.place(several)
    whole = to.call(to.word(api, Api.NEW_TUPLE), [results])
    none = to.is_("eq", whole, 0)
    with to.where(none):
        _drop(to, api, objects, results)
        to.leave(0)
        to.place(to.label())
    with to.times(results) as number:
        to.put(to.op("add", whole, TUPLE_FIRST), number, to.word(objects, number))
    plain, shaped = to.label(), to.label()
    to.branch(to.is_("eq", assemble, 1), plain, shaped)
    to.place(plain)
    to.leave(whole)
    to.place(shaped)
    argument = to.scratch("1")
    to.put(argument, 0, whole)
    answer = to.call(to.word(api, Api.VECTORCALL), [assemble, argument, 1, 0])
    to.run(to.word(api, Api.DECREF), [whole])
    to.leave(answer)
