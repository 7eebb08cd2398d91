"""What is neither elementwise, nor a sum of products, nor a rearrangement, in C: reductions, scans, orders, places.

The routines of linear algebra are in ``c_algebra``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.derive.c_algebra import ALGEBRA
from chainrule.derive.c_arrays import (
    ZERO,
    Affine,
    Constant,
    Counter,
    Lazy,
    Local,
    Memory,
    c_strides,
    symbol,
    token,
)
from chainrule.derive.c_expression import C_TYPES, Term, atom, cast, filled, number
from chainrule.derive.c_matrices import SOURCES
from chainrule.derive.c_places import holes, line_of

__all__ = ["ROUTINES", "routine_names", "written"]

#: By the ``native`` name of a rule: code ``(body, count, step)`` that writes the step.
ROUTINES: dict[str, Callable[[Any, int, Any], None]] = dict(ALGEBRA)


def routine(*names: str) -> Callable[[Any], Any]:
    """Register the code of a native name."""

    def keep(code: Any) -> Any:
        for name in names:
            ROUTINES[name] = code
        return code

    return keep


def routine_names() -> list[str]:
    """The names of all functions that may be written."""
    return ["crc32", *(f"{name}_{kind}" for name in SOURCES for kind in C_TYPES.values())]


def written(wanted: set[tuple[str, str]]) -> list[str]:
    """The sources of these (name, C type), and of those that they call, each after what it calls."""
    order: list[tuple[str, str]] = []

    def visit(name: str, kind: str) -> None:
        if (name, kind) in order:
            return
        for called in SOURCES:
            if called != name and re.search(rf"\b{called}_real\(", SOURCES[name]):
                visit(called, kind)
        order.append((name, kind))

    for name, kind in sorted(wanted):
        visit(name, kind)
    return [_typed(SOURCES[name], kind) for name, kind in order]


def _typed(source: str, kind: str) -> str:
    less = "{0} < {1}" if "int" in kind or kind == "bool" else "({0} < {1} || (isnan({1}) && !isnan({0})))"
    text = source.strip()
    while "LESS(" in text:
        start = text.index("LESS(")
        end = text.index(")", start)
        a, b = text[start + 5 : end].split(", ")
        text = text[:start] + less.format(a, b) + text[end + 1 :]
    text = text.replace("EPSILON", "FLT_EPSILON" if kind == "float" else "DBL_EPSILON")
    return text.replace("_real(", f"_{kind}(").replace("real ", f"{kind} ").replace("(real)", f"({kind})")


# --- reductions and scans ---------------------------------------------------------------------------------------------


def _split(shape: Sequence[int], axes: Sequence[int]) -> tuple[list[int], list[int]]:
    """The axes that stay, and those that go."""
    gone = list(axes)
    return [axis for axis in range(len(shape)) if axis not in gone], gone


def _joined(
    ndim: int, kept: Sequence[int], outer: Sequence[Affine], gone: Sequence[int], inner: Sequence[Affine]
) -> list[Affine]:
    index = [ZERO] * ndim
    for axis, one in (*zip(kept, outer, strict=True), *zip(gone, inner, strict=True)):
        index[axis] = one
    return index


def _combined(word: str, dtype: Any, a: Term, b: Term) -> Term:
    if dtype.kind == "b":
        word = {"maximum": "or", "minimum": "and", "multiply": "and"}.get(word, word)
    signs = {"add": "+", "multiply": "*", "or": "||", "and": "&&"}
    if word in signs:
        return filled(f"{{0}} {signs[word]} {{1}}", [a, b])
    name = word if dtype.kind == "f" else f"int_{word}" + ("_u" if dtype.kind == "u" else "")
    return cast(atom(f"{name}({a.text}, {b.text})"), np.float64 if dtype == np.float32 else dtype, dtype)


def _reduction(word: str, first: Any) -> None:
    @routine(f"reduce {word}")
    def write(body: Any, count: int, step: Any) -> None:
        (var,), (axes, *_) = step.outputs, step.params
        out, node = body.program.types[var], body.node(step.inputs[0])
        axes = axes if isinstance(axes, tuple) else (axes,)
        kept, gone = _split(node.shape, axes)
        body.cite(count)

        def value(index: Sequence[Affine]) -> Term:
            return cast(node.at(index), node.dtype, out.dtype)

        def update(name: str, outer: Sequence[Affine], inner: Sequence[Affine]) -> None:
            here = value(_joined(len(node.shape), kept, outer, gone, inner))
            body.say(f"{name} = {_combined(word, out.dtype, atom(name), here).text};")

        def folded(name: str, outer: Sequence[Affine]) -> None:
            start = (
                value(_joined(len(node.shape), kept, outer, gone, [ZERO] * len(gone)))
                if first is None
                else number(first, out.dtype)
            )
            body.say(f"{C_TYPES[out.dtype.name]} {name} = {start.text};")
            body.nest(
                [node.shape[axis] for axis in gone],
                lambda inner: update(name, outer, inner),
            )

        if not out.ndim:
            folded(body.names[var], [])
            body.nodes[var] = Local((), out.dtype, body.names[var])
            return
        target = body.room(var)

        def entry(index: list[Affine]) -> None:
            folded("sum", index)
            body.say(f"{target.at(index).text} = sum;")

        body.nest(out.shape, entry, scoped=True)
        body.nodes[var] = target


_reduction("multiply", 1)
_reduction("maximum", None)
_reduction("minimum", None)
_reduction("or", False)
_reduction("and", True)


def _along(body: Any, shape: Sequence[int], axis: int, reverse: bool, code: Callable[..., None]) -> None:
    """``code(at)`` writes what is done for each line along an axis; ``at(i)`` is the index of its element number i."""
    rest = [extent for place, extent in enumerate(shape) if place != axis]

    def line(outer: list[Affine]) -> None:
        def at(place: Affine) -> list[Affine]:
            turned = Affine(shape[axis] - 1).plus(place.times(-1)) if reverse else place
            return [*outer[:axis], turned, *outer[axis:]]

        code(at)

    body.nest(rest, line, scoped=True)


def _scan(word: str, first: Any) -> None:
    @routine(f"scan {word}")
    def write(body: Any, count: int, step: Any) -> None:
        (var,), (axis, reverse, *exclusive) = step.outputs, step.params
        out, node = body.program.types[var], body.node(step.inputs[0])
        before = bool(exclusive and exclusive[0])
        body.cite(count)
        target = body.nodes[var] = body.room(var)
        if not out.size:
            return
        node = body.temporary(node, "held") if target.reads & node.reads else node

        def code(at: Callable[[Affine], list[Affine]]) -> None:
            body.say(f"{C_TYPES[out.dtype.name]} sum = {number(first, out.dtype).text};")

            def entry(index: list[Affine]) -> None:
                place = at(index[0])
                value = cast(node.at(place), node.dtype, out.dtype)
                update = f"sum = {_combined(word, out.dtype, atom('sum'), value).text};"
                store = f"{target.at(place).text} = sum;"
                for one in (store, update) if before else (update, store):
                    body.say(one)

            body.nest([out.shape[axis]], entry)

        _along(body, out.shape, axis, reverse, code)
        body.nodes[var] = target


_scan("add", 0)
_scan("multiply", 1)


@routine("recurrence")
def recurrence(body: Any, count: int, step: Any) -> None:
    (var,), (axis, reverse) = step.outputs, step.params
    out = body.program.types[var]
    a, b = (body.node(one) for one in step.inputs)
    body.cite(count)
    target = body.nodes[var] = body.room(var)
    if not out.size:
        return
    a, b = (body.temporary(one, "held") if target.reads & one.reads else one for one in (a, b))

    def code(at: Callable[[Affine], list[Affine]]) -> None:
        body.say(f"{C_TYPES[out.dtype.name]} sum = {number(0, out.dtype).text};")

        def entry(index: list[Affine]) -> None:
            place = at(index[0])
            factor, term = cast(a.at(place), a.dtype, out.dtype), cast(b.at(place), b.dtype, out.dtype)
            first = index[0] == ZERO
            body.say(f"sum = {term.text};" if first else f"sum = {term.text} + {factor.within(13)} * sum;")
            body.say(f"{target.at(place).text} = sum;")

        # The first factor is not read: it may be infinite.
        if out.shape[axis]:
            entry([ZERO])
        if out.shape[axis] > 1:
            body.nest([out.shape[axis] - 1], lambda index: entry([index[0].plus(Affine(1))]))

    _along(body, out.shape, axis, reverse, code)
    body.nodes[var] = target


@routine("tie_weights")
def tie_weights(body: Any, count: int, step: Any) -> None:
    (var,), (axes,) = step.outputs, step.params
    out = body.program.types[var]
    x, y = (body.node(one) for one in step.inputs)
    kept, gone = _split(out.shape, axes)
    body.cite(count)
    target = body.room(var)

    def line(outer: list[Affine]) -> None:
        def inside(inner: Sequence[Affine]) -> list[Affine]:
            return _joined(out.ndim, kept, outer, gone, inner)

        def attained(inner: Sequence[Affine]) -> str:
            term, top = x.at(inside(inner)), cast(y.at(outer), y.dtype, x.dtype)
            same = filled("{0} == {1}", [term, top])
            return filled("{0} || {1}", [same, atom(f"isnan({term.text})")]).text if x.dtype.kind == "f" else same.text

        sizes = [out.shape[axis] for axis in gone]
        body.say(f"{C_TYPES[out.dtype.name]} sum = {number(0, out.dtype).text};")
        body.nest(sizes, lambda inner: body.say(f"sum += {attained(inner)};"))
        body.nest(sizes, lambda inner: body.say(f"{target.at(inside(inner)).text} = ({attained(inner)}) / sum;"))

    body.nest([out.shape[axis] for axis in kept], line, scoped=True)
    body.nodes[var] = target


# --- orders -----------------------------------------------------------------------------------------------------------

SOURCES["sort_by"] = """
static void sort_by_real(const real *x, int64_t stride, int64_t n, int64_t *order, int64_t *other)
{
    /* A stable merge of ever longer runs; NaN comes last. */
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t start = 0; start < n; start += 2 * width) {
            int64_t middle = start + width < n ? start + width : n;
            int64_t end = start + 2 * width < n ? start + 2 * width : n;
            int64_t a = start, b = middle;
            for (int64_t k = start; k < end; k++) {
                int from_b = b < end && (a >= middle || LESS(x[stride * order[b]], x[stride * order[a]]));
                other[k] = from_b ? order[b++] : order[a++];
            }
        }
        for (int64_t k = 0; k < n; k++) order[k] = other[k];
    }
}
"""


def _sorted(body: Any, count: int, step: Any, axis: int) -> None:
    (var,) = step.outputs
    out = body.program.types[var]
    keys = [body.in_memory(body.node(one)) for one in step.inputs]
    body.cite(count)
    target = body.room(var)
    n = out.shape[axis]
    order, other = (
        Memory((n,), np.dtype(np.int64), body.file.buffer(np.int64, (n,), body.file.names.new(name)), (1,))
        for name in ("order", "merged")
    )

    def code(at: Callable[[Affine], list[Affine]]) -> None:
        body.nest([n], lambda index: body.say(f"{order.at(index).text} = {index[0]};"))
        for key in keys:
            kind = C_TYPES[key.dtype.name]
            body.file.routines.add(("sort_by", kind))
            lane = f"{token(key.buffer)} + {key.place(at(ZERO))}, {key.strides[axis]}, {n}"
            body.say(f"sort_by_{kind}({lane}, {token(order.buffer)}, {token(other.buffer)});")
        body.nest([n], lambda index: body.say(f"{target.at(at(index[0])).text} = {order.at(index).text};"))

    if n:
        _along(body, out.shape, axis, False, code)
    body.nodes[var] = target


@routine("argsort")
def argsort(body: Any, count: int, step: Any) -> None:
    _sorted(body, count, step, step.params[0])


@routine("lexsort")
def lexsort(body: Any, count: int, step: Any) -> None:
    _sorted(body, count, step, step.params[0] % body.program.types[step.outputs[0]].ndim)


def _place_of(sign: str) -> Callable[[Any, int, Any], None]:
    def write(body: Any, count: int, step: Any) -> None:
        (var,), (axis,) = step.outputs, step.params
        node = body.node(step.inputs[0])
        node = body.temporary(node, "held") if isinstance(node, Lazy) else node
        out = body.program.types[var]
        body.cite(count)
        target = body.room(var)

        def line(outer: list[Affine]) -> None:
            def at(place: Affine) -> Term:
                made: Term = node.at([*outer[:axis], place, *outer[axis:]])
                return made

            def entry(index: list[Affine]) -> None:
                best, here = at(symbol("best")), at(index[0])
                test = f"{here.text} {sign} {best.text}"
                if node.dtype.kind == "f":
                    test = f"{test} || (isnan({here.text}) && !isnan({best.text}))"
                if node.dtype.kind == "f":
                    test = f"!isnan({best.text}) && ({test})"
                body.say(f"if ({test}) best = {index[0]};")

            body.say(f"{body.file.index_type} best = 0;")
            body.nest([node.shape[axis]], entry)
            body.say(f"{target.at(outer).text} = best;")

        body.nest(out.shape, line, scoped=True)
        body.nodes[var] = target

    return write


ROUTINES["argmax"] = _place_of(">")
ROUTINES["argmin"] = _place_of("<")


@routine("running_place")
def running_place(body: Any, count: int, step: Any) -> None:
    (var,), (axis, extreme) = step.outputs, step.params
    out, node = body.program.types[var], body.node(step.inputs[0])
    node = body.temporary(node, "held") if isinstance(node, Lazy) else node
    sign = ">" if extreme == "maximum" else "<"
    body.cite(count)
    target = body.room(var)

    def code(at: Callable[[Affine], list[Affine]]) -> None:
        body.say(f"{body.file.index_type} best = 0;")

        def entry(index: list[Affine]) -> None:
            best, here = node.at(at(symbol("best"))).text, node.at(at(index[0])).text
            if node.dtype.kind == "f":
                body.say(f"if ({here} {sign} {best} || (isnan({here}) && !isnan({best}))) best = {index[0]};")
            else:
                body.say(f"if ({here} {sign} {best}) best = {index[0]};")
            body.say(f"{target.at(at(index[0])).text} = best;")

        body.nest([out.shape[axis]], entry)

    _along(body, out.shape, axis, False, code)
    body.nodes[var] = target


SOURCES["search"] = """
static int64_t search_real(const real *x, int64_t n, real v, int right)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (right ? !LESS(v, x[middle]) : LESS(x[middle], v))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
"""


@routine("searchsorted")
def searchsorted(body: Any, count: int, step: Any) -> None:
    (var,), (side,) = step.outputs, step.params
    a, v = body.in_memory(body.node(step.inputs[0])), body.node(step.inputs[1])
    wide = np.result_type(a.dtype, v.dtype)
    a = a if a.dtype == wide else body.in_memory(_as(a, wide))
    kind = C_TYPES[wide.name]
    body.file.routines.add(("search", kind))
    out = body.program.types[var]
    right = int(side == "right")

    def element(index: Sequence[Affine]) -> Term:
        value = cast(v.at(index), v.dtype, wide)
        return atom(f"search_{kind}({a.pointer()}, {a.shape[0]}, {value.text}, {right})")

    body.realise(count, var, Lazy(out.shape, out.dtype, element, a.reads | v.reads, count))


def _as(node: Any, dtype: Any) -> Any:
    return Lazy(node.shape, dtype, lambda index: cast(node.at(index), node.dtype, dtype), node.reads)


# --- numbers of places ------------------------------------------------------------------------------------------------


@routine("isin")
def isin(body: Any, count: int, step: Any) -> None:
    (var,), (invert,) = step.outputs, step.params
    x, test = body.node(step.inputs[0]), body.node(step.inputs[1])
    wide = np.result_type(x.dtype, test.dtype)
    out = body.program.types[var]
    body.cite(count)
    target = body.room(var)

    def compare(place: str, value: Term, inner: Sequence[Affine]) -> None:
        same = filled("{0} == {1}", [value, cast(test.at(inner), test.dtype, wide)])
        body.say(f"if ({same.text}) {place} = {'false' if invert else 'true'};")

    def entry(index: list[Affine]) -> None:
        place = target.at(index).text
        value = cast(x.at(index), x.dtype, wide)
        body.say(f"{place} = {'true' if invert else 'false'};")
        body.nest(
            test.shape,
            lambda inner: compare(place, value, inner),
        )

    body.nest(out.shape, entry)
    body.nodes[var] = target


@routine("last_write")
def last_write(body: Any, count: int, step: Any) -> None:
    (var,), (shape, _) = step.outputs, step.params
    out = body.program.types[var]
    body.cite(count)
    held = body.file.buffer(np.int64, shape, body.file.names.new("writer"))
    writer = Memory(shape, np.dtype(np.int64), held, c_strides(shape))
    body.copy(Constant((), np.dtype(np.int64), -1), writer)
    target = body.room(var)
    inside, place = holes(body, step, writer, 0)
    mine = Memory(inside, np.dtype(np.int64), held, c_strides(inside))

    def order(index: Sequence[Affine]) -> Affine:
        return mine.place(index)

    body.nest(inside, lambda index: body.say(f"{token(held)}[{place(index)}] = {order(index)};"))
    body.nest(
        inside, lambda index: body.say(f"{target.at(index).text} = {token(held)}[{place(index)}] == {order(index)};")
    )
    body.nodes[var] = target
    assert inside == out.shape


@routine("unravelled")
def unravelled(body: Any, count: int, step: Any) -> None:
    (var,), (shape, order) = step.outputs, step.params
    node = body.node(step.inputs[0])
    body.cite(count)
    target = body.room(var)
    steps = c_strides(shape) if order == "C" else tuple(reversed(c_strides(tuple(reversed(shape)))))

    def entry(index: list[Affine]) -> None:
        term = node.at(index)
        for axis, (extent, stride) in enumerate(zip(shape, steps, strict=True)):
            quotient = filled("{0} / {1}", [term, atom(str(stride))]) if stride != 1 else term
            body.say(
                f"{target.at([*index, Affine(axis)]).text} = {filled('{0} % {1}', [quotient, atom(str(extent))]).text};"
            )

    body.nest(node.shape, entry)
    body.nodes[var] = target


@routine("ravelled")
def ravelled(body: Any, count: int, step: Any) -> None:
    (var,), (dims, mode, order) = step.outputs, step.params
    nodes = [body.node(one) for one in step.inputs]
    out = body.program.types[var]
    steps = c_strides(dims) if order == "C" else tuple(reversed(c_strides(tuple(reversed(dims)))))
    modes = (mode,) * len(dims) if isinstance(mode, str) else mode
    failure = body.file.fails(f"an index is out of range ({line_of(body, step)})") if "raise" in modes else 0
    body.cite(count)
    target = body.room(var)

    def entry(index: list[Affine]) -> None:
        place = Affine()
        for node, extent, stride, way in zip(nodes, dims, steps, modes, strict=True):
            name = body.file.names.new("at")
            body.say(f"int64_t {name} = {node.under(index).text};")
            if way == "raise":
                body.say(f"if ({name} < 0 || {name} >= {extent}) return {failure};")
            elif way == "wrap":
                body.say(f"{name} = ({name} % {extent} + {extent}) % {extent};")
            else:
                body.say(f"{name} = {name} < 0 ? 0 : {name} >= {extent} ? {extent - 1} : {name};")
            place = place.plus(symbol(name).times(stride))
        body.say(f"{target.at(index).text} = {place};")

    body.nest(out.shape, entry, scoped=True)
    body.nodes[var] = target


@routine("number_at")
def number_at(body: Any, count: int, step: Any) -> None:
    (var,), (start, strides, dtype, _) = step.outputs, step.params
    out = body.program.types[var]
    terms = []
    wide = np.result_type(np.asarray(start).dtype, *[np.asarray(one).dtype for one in strides])
    made = number(start, wide)
    for one, stride in zip(step.inputs, strides, strict=True):
        if not stride:
            continue
        node = body.node(one)
        term = cast(
            atom(node.name) if isinstance(node, Counter) else node.at(()),
            np.int32,
            wide if wide.kind == "f" else np.int32,
        )
        terms.append(filled("{0} * {1}", [number(stride, wide), term]) if stride != 1 else term)
    for term in terms:
        made = filled("{0} + {1}", [made, term])
    body.set_number(count, var, cast(made, wide, out.dtype))
    del dtype


@routine("round")
def rounded(body: Any, count: int, step: Any) -> None:
    (var,), (decimals,) = step.outputs, step.params
    out, node = body.program.types[var], body.node(step.inputs[0])
    scale = number(10.0 ** abs(decimals), np.float64)

    def element(index: Sequence[Affine]) -> Term:
        term = node.at(index)
        if node.dtype.kind != "f" and decimals >= 0:
            return cast(term, node.dtype, out.dtype)
        if not decimals:
            return atom(f"rint{'f' if out.dtype == np.float32 else ''}({term.text})")
        first, second = ("*", "/") if decimals > 0 else ("/", "*")
        inner = filled(f"{{0}} {first} {{1}}", [cast(term, node.dtype, np.float64), scale])
        return cast(filled(f"{{0}} {second} {{1}}", [atom(f"rint({inner.text})"), scale]), np.float64, out.dtype)

    body.realise(count, var, Lazy(out.shape, out.dtype, element, node.reads, count))


@routine("convolve")
def convolve(body: Any, count: int, step: Any) -> None:
    (var,), (mode,) = step.outputs, step.params
    out = body.program.types[var]
    a, v = (body.node(one) for one in step.inputs)
    a, v = (body.temporary(one, "held") if isinstance(one, Lazy) else one for one in (a, v))
    n, m = a.shape[-1], v.shape[-1]
    body.cite(count)
    target = body.room(var)

    def entry(index: list[Affine]) -> None:
        *batch, k = index
        body.say(f"{C_TYPES[out.dtype.name]} sum = {number(0, out.dtype).text};")

        def term(inner: list[Affine]) -> None:
            j = inner[0]
            place = k.plus(j.times(-1)) if mode == "full" else k.plus(Affine(m - 1)).plus(j.times(-1))
            product = filled("{0} * {1}", [a.at([*batch, place]), v.at([*batch, j])])
            inside = f"if ({place} >= 0 && {place} < {n}) " if mode == "full" else ""
            body.say(f"{inside}sum += {product.text};")

        body.nest([m], term)
        body.say(f"{target.at(index).text} = sum;")

    body.nest(out.shape, entry, scoped=True)
    body.nodes[var] = target


SOURCES["crc32"] = """
static uint32_t crc32(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t k = 0; k < size; k++) {
        crc ^= bytes[k];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320U : crc >> 1;
    }
    return ~crc;
}
"""
