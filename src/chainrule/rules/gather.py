"""Rules of the kind Gather: reshape, indexing, assignment, scatter, joining. Each says where elements come from.

An index is kept in a step as a tuple of plain literals, so that it prints and parses: an ``int``; a ``str`` like
``"1:"``, ``"::-1"`` for a slice; ``"..."``; ``None`` for a new axis; ``"?"`` for an integer array, which is an
argument of the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from chainrule.rule import Cost, Discrete, Gather, View, apply, register
from chainrule.rules.index import broadcast_to

__all__ = ["blank", "broadcast_index", "decode", "encode", "key_shape", "trimmed"]

FREE = Cost(0)


def _no_work(types: Any, params: Any, outs: Any) -> Cost:
    return FREE


# --- the key of an index --------------------------------------------------------------------------------------------


def encode(key: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
    """An index of ints, slices, Ellipsis, None and integer arrays -> (literals, the arrays)."""
    template: list[Any] = []
    arrays: list[Any] = []
    for one in key:
        if one is None:
            template.append(None)
        elif one is Ellipsis:
            template.append("...")
        elif isinstance(one, slice):
            parts = ["" if part is None else str(int(part)) for part in (one.start, one.stop, one.step)]
            template.append(":".join(parts if parts[2] else parts[:2]))
        elif getattr(one, "_chainrule_level", None) is None and isinstance(one, int | np.integer):
            template.append(int(one))
        else:
            template.append("?")
            arrays.append(one)
    return tuple(template), arrays


@lru_cache(maxsize=8192)
def _decoded(template: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    key: list[Any] = []
    holes: list[int] = []
    for position, one in enumerate(template):
        if one == "?":
            holes.append(position)
            key.append(None)
        elif one == "...":
            key.append(Ellipsis)
        elif isinstance(one, str):
            key.append(slice(*[int(part) if part else None for part in one.split(":")]))
        else:
            key.append(one)
    return tuple(key), tuple(holes)


def decode(template: tuple[Any, ...], arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The index that NumPy takes."""
    key, holes = _decoded(template)
    if not holes:
        return key
    filled = list(key)
    for hole, array in zip(holes, arrays, strict=True):
        filled[hole] = array
    return tuple(filled)


@lru_cache(maxsize=8192)
def key_shape(
    shape: tuple[int, ...], template: tuple[Any, ...], arrays: tuple[tuple[int, ...], ...]
) -> tuple[int, ...]:
    """Shape of ``x[key]``; raises IndexError as NumPy does."""
    # A read-only array of no memory has the shapes and the checks of a real one, and indices of zeros are refused
    # exactly where every index would be: into an extent of 0.
    empty = np.broadcast_to(np.int8(0), shape)
    shown: tuple[int, ...] = empty[decode(template, [np.zeros(one, dtype=np.intp) for one in arrays])].shape
    return shown


def broadcast_index(arrays: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Shape of index arrays broadcast together."""
    return np.broadcast_shapes(*arrays)


def _is_separated(template: tuple[Any, ...]) -> bool:
    """Whether a slice stands between advanced indices, in which case NumPy puts their axes first."""
    advanced = [place for place, one in enumerate(template) if one == "?" or isinstance(one, int)]
    if not any(one == "?" for one in template):
        return False
    return advanced[-1] - advanced[0] + 1 != len(advanced)


def _index_axes_at(template: tuple[Any, ...], ndim: int) -> int:
    """The axis of ``x[key]``, x of this rank, at which the axes of the index arrays begin."""
    if _is_separated(template):
        return 0
    place = 0
    for one in template:
        if one == "?" or isinstance(one, int):
            return place
        place += ndim - sum(other not in (None, "...") for other in template) if one == "..." else 1
    return place


def _holes(whole: Any, params: Any) -> Any:
    (template,) = params
    key, holes = _decoded(template)
    axes, axis = [], 0
    for place, one in enumerate(template):
        if place in holes:
            axes.append((whole.strides[axis], whole.shape[axis]))
        axis += whole.ndim - sum(other not in (None, "...") for other in template) if one == "..." else one is not None
    still = tuple(0 if place in holes else one for place, one in enumerate(key))
    return whole[still if "..." in template else (*still, ...)], axes, _index_axes_at(template, whole.ndim)


def _lands(whole: Any, k: int, types: Any, params: Any) -> Any:
    if len(types) > 2:
        return None
    return whole if k == 0 else _indexed_layout(whole, (), params)


def _widened(arrays: Sequence[Any], batched: Sequence[bool], size: int) -> tuple[list[Any], Any, int]:
    """Index arrays of one batch that broadcast together, the numbers of the examples, and the rank of one example's."""
    depth = max(np.ndim(one) - yes for one, yes in zip(arrays, batched, strict=True))
    made = []
    for one, yes in zip(arrays, batched, strict=True):
        if yes:
            shape = np.shape(one)
            one = np.reshape(one, (size, *(1,) * (depth - len(shape) + 1), *shape[1:]))
        made.append(one)
    return made, np.reshape(np.arange(size), (size, *(1,) * depth)), depth


def _examples_first(ndim: int, place: int, depth: int) -> tuple[int, ...]:
    """Axes that bring (batch, axes of the index, others) to (batch, what one example has)."""
    rest = range(1 + depth, ndim)
    return (0, *rest[:place], *range(1, 1 + depth), *rest[place:])


# --- reshape --------------------------------------------------------------------------------------------------------


def _reshape_infer(types: Any, params: Any) -> Any:
    if math.prod(params[0]) != types[0].size:
        msg = f"cannot reshape array of size {types[0].size} into shape {str(params[0]).replace(' ', '')}"
        raise ValueError(msg)
    return params[0], types[0].dtype


def _reshaped_kind(whole: Any, part: Any, params: Any, layout: Any) -> str:
    # Extents of 1 put in or left out never need a copy; whether anything else does is for the strides to say.
    if [extent for extent in whole.shape if extent != 1] == [extent for extent in part.shape if extent != 1]:
        return "view"
    strides = layout()
    return "either" if strides is None else "copy" if _reshaped_layout(strides, (), params) is None else "view"


def _reshaped_layout(strides: Any, index: Any, params: Any) -> Any:
    """The layout of a reshape that is a view, or None where it must be a copy."""
    try:
        return np.reshape(strides, params[0], copy=False)
    except ValueError:
        return None
    except TypeError:
        # NumPy 2.0 does not know copy=.
        made = strides.view()
        try:
            made.shape = params[0]
        except AttributeError:
            return None
        return made


def _reshape_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    return apply(reshape, arguments, ((size, *params[0]),))


reshape: Any = register(
    Gather(
        name="reshape",
        merges=True,
        view=View(
            write_back=lambda whole, part, params: apply(reshape, (part,), (np.shape(whole),)),
            kind=_reshaped_kind,
            apply=_reshaped_layout,
        ),
        value=lambda x, shape: np.reshape(x, shape),
        source=lambda types, params, numbers: f"{{0}}.reshape({', '.join(map(str, params[0])) or '()'})",
        params=("shape",),
        infer=_reshape_infer,
        transpose=lambda k, g, types, arguments, params: apply(reshape, (g,), (types[0].shape,)),
        batch=_reshape_batch,
        latex=r"\operatorname{{reshape}}({0})",
        cost=_no_work,
        aliases=True,
        points=((("3,4",), ((2, 6),)), (("6",), ((3, 1, 2),)), (("1",), ((),)), (("0,3",), ((3, 0),))),
    )
)


# --- one block of memory --------------------------------------------------------------------------------------------


def _contiguous_kind(whole: Any, part: Any, params: Any, layout: Any) -> str:
    strides = layout()
    if strides is None:
        return "either"
    return "view" if strides.flags["F" if params[0] == "F" else "C"] else "copy"


contiguous: Any = register(
    Gather(
        name="contiguous",
        view=View(
            write_back=lambda whole, part, params: part,
            kind=_contiguous_kind,
            apply=lambda strides, index, params: strides,
            disorders=lambda params: params[0] == "F",
        ),
        value=lambda x, order: np.asarray(x, order=order),
        source="np.asarray({0}, order={order})",
        params=("order",),
        infer=lambda types, params: (types[0].shape, types[0].dtype),
        transpose=lambda k, g, types, arguments, params: g,
        batch=lambda batched, size, arguments, params: arguments[0],
        latex="{0}",
        binds=12,
        algebra="itself",
        cost=_no_work,
        aliases=True,
        points=((("3,4",), ("C",)), (("3,4",), ("F",))),
    )
)


# --- indexing -------------------------------------------------------------------------------------------------------


def _getitem_infer(types: Any, params: Any) -> Any:
    return key_shape(types[0].shape, params[0], tuple(one.shape for one in types[1:])), types[0].dtype


def _getitem_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    x, *arrays = arguments
    (template,) = params
    if not any(batched[1:]):
        result = apply(getitem, (x, *arrays), ((":", *template),))
        if _is_separated(template):
            # NumPy put the axes of the index first, before the batch.
            result = np.moveaxis(result, max(np.ndim(one) for one in arrays), 0)
        return result
    # Each example has its own index: the example's number becomes an index too.
    widened, examples, depth = _widened(arrays, batched[1:], size)
    if not batched[0]:
        result = apply(getitem, (x, *widened), params)
        place = _index_axes_at(template, np.ndim(x))
        return np.moveaxis(result, place, 0) if place else result
    result = apply(getitem, (x, examples, *widened), (("?", *template),))
    place = _index_axes_at(template, np.ndim(x) - 1)
    return np.transpose(result, _examples_first(result.ndim, place, depth)) if place and depth else result


def blank(g: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Zeros, recorded where ``g`` is."""
    if hasattr(g, "_chainrule_record"):
        return g._chainrule_record(broadcast_to, (dtype.type(0),), (shape,))
    return np.zeros(shape, dtype=dtype)


def _indexed_layout(strides: Any, index: Any, params: Any) -> Any:
    # With an ellipsis no element is read.
    (template,) = params
    return strides[decode(template if "..." in template else (*template, "..."), index)]


def _getitem_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    return apply(index_add, (blank(g, types[0].shape, types[0].dtype), g, *arguments[1:]), params)


def key_source(template: tuple[Any, ...], first: int, written: Any = ()) -> str:
    """The index as it is written between brackets; its arrays are the arguments from number ``first`` on.

    ``written`` are the types of the index arrays through which is written: in C order, see ``_in_order``.
    """
    shown = []
    ranks = iter([one.ndim for one in written])
    for one in template:
        if one == "?":
            shown.append(f"np.ascontiguousarray({{{first}}})" if next(ranks, 0) > 1 else f"{{{first}}}")
            first += 1
        else:
            shown.append(one if isinstance(one, str) else repr(one))
    return ", ".join(shown) or "()"


getitem: Any = register(
    Gather(
        name="getitem",
        source=lambda types, params, numbers: f"{{0}}[{key_source(params[0], 1)}]",
        view=View(
            write_back=lambda whole, part, params, *index: apply(setitem, (whole, part, *index), params),
            kind=lambda whole, part, params, layout: "copy" if part.ndim == 0 and "..." not in params[0] else "view",
            apply=_indexed_layout,
            by_key=True,
        ),
        value=lambda x, *rest: (x if hasattr(x, "dtype") else np.asarray(x))[decode(rest[-1], rest[:-1])],
        params=("key",),
        linear=(0,),
        holes=_holes,
        infer=_getitem_infer,
        transpose=_getitem_transpose,
        batch=_getitem_batch,
        moving="index_at",
        latex=r"{0}_{{[{key}]}}",
        binds=12,
        words="selection of entries",
        cost=_no_work,
        aliases=True,
        points=(
            (("5",), (("1:4",),)),
            (("4,3",), ((1,),)),
            (("4,3",), (("::-1", None, 2),)),
            (("4,3", [0, 2, 2, 3]), (("?",),)),
            (("2,4,3", [[1, 3], [0, 0]]), ((":", "?"),)),
            (("2,4,3", [1, 0], [2, 2]), (("?", ":", "?"),)),
            (("4,3,2", [1, 0], [2, 2]), (("?", "?", "1:"),)),
        ),
    )
)


# --- assignment and scatter -----------------------------------------------------------------------------------------


def _in_order(v: Any) -> Any:
    # NumPy writes the elements in the order of memory where that is unambiguous. Where an index occurs twice the last
    # write wins: in C order always, so that the result does not depend on strides.
    return np.ascontiguousarray(v) if np.ndim(v) > 1 else v


def _setitem_value(x: Any, v: Any, *rest: Any) -> Any:
    return _setitem_update(np.array(x), v, *rest)


def _setitem_update(x: Any, v: Any, *rest: Any) -> Any:
    if type(x) is not np.ndarray or not x.flags.writeable:
        return _setitem_value(x, v, *rest)
    if len(rest) == 1:
        x[decode(rest[0], ())] = v
    else:
        x[decode(rest[-1], [_in_order(one) for one in rest[:-1]])] = _in_order(v)
    return x


def _setitem_infer(types: Any, params: Any) -> Any:
    inside = key_shape(types[0].shape, params[0], tuple(one.shape for one in types[2:]))
    given = trimmed(types[1].shape, len(inside))
    if len(given) > len(inside) or any(
        have not in (1, want) for have, want in zip(reversed(given), reversed(inside), strict=False)
    ):
        if len(types) == 2:
            msg = f"could not broadcast input array from shape {_shown(types[1].shape)} into shape {_shown(inside)}"
        else:
            msg = (
                f"shape mismatch: value array of shape {_shown(types[1].shape)} could not be broadcast to indexing "
                f"result of shape {_shown(inside)}"
            )
        raise ValueError(msg)
    return types[0].shape, types[0].dtype


def _shown(shape: tuple[int, ...]) -> str:
    return str(shape).replace(" ", "")


def trimmed(shape: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The shape without leading extents of 1 that are too many: NumPy's assignment ignores them."""
    while len(shape) > ndim and shape[0] == 1:
        shape = shape[1:]
    return shape


def _sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of broadcasting ``shape`` to ``g``'s shape."""
    extra = np.ndim(g) - len(shape)
    if extra < 0:
        return np.reshape(_sum_to(g, shape[-extra:]), shape)
    axes = tuple(range(extra)) + tuple(
        place + extra for place, extent in enumerate(shape) if extent == 1 and np.shape(g)[place + extra] != 1
    )
    if axes:
        g = np.sum(g, axis=axes)
    return np.reshape(g, shape) if np.shape(g) != shape else g


def _setitem_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    arrays = arguments[2:]
    if k == 0:
        return apply(setitem, (g, 0.0, *arrays), params)
    taken = apply(getitem, (g, *arrays), params)
    if arrays:
        # Where an index occurs twice the last assignment wins, and only that one is differentiated.
        wins = apply(last_write, arrays, (types[0].shape, *params))
        taken = np.where(wins, taken, taken.dtype.type(0))
    if taken.dtype != types[1].dtype:
        taken = taken.astype(types[1].dtype)
    return _sum_to(taken, types[1].shape)


def _scatter_batch(rule: Any) -> Any:
    def batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
        x, v, *arrays = arguments
        (template,) = params
        if not batched[0]:
            x = np.broadcast_to(x, (size, *np.shape(x)))
        shape = np.shape(x)[1:]
        shapes = [np.shape(one)[1:] if yes else np.shape(one) for one, yes in zip(arrays, batched[2:], strict=True)]
        ndim = len(key_shape(shape, template, tuple(shapes)))
        # v with an axis for the batch, then one for each axis that x[key] has in one example.
        own = trimmed(np.shape(v)[1:] if batched[1] else np.shape(v), ndim)
        v = np.reshape(v, (size if batched[1] else 1, *(1,) * (ndim - len(own)), *own))
        if any(batched[2:]):
            widened, examples, depth = _widened(arrays, batched[2:], size)
            place = _index_axes_at(template, len(shape))
            if place and depth:
                v = np.moveaxis(v, range(1 + place, 1 + place + depth), range(1, 1 + depth))
            return apply(rule, (x, v, examples, *widened), (("?", *template),))
        if arrays and _is_separated(template):
            v = np.moveaxis(v, 0, max(map(len, shapes)))
        return apply(rule, (x, v, *arrays), ((":", *template),))

    return batch


setitem: Any = register(
    Gather(
        name="setitem",
        source=lambda types, params, numbers: f"{{0}}[{key_source(params[0], 2, types[2:])}] = {_value_source(types)}",
        value=_setitem_value,
        update=_setitem_update,
        params=("key",),
        linear=(0, 1),
        lands=_lands,
        holes=_holes,
        infer=_setitem_infer,
        transpose=_setitem_transpose,
        batch=lambda *args: _scatter_batch(setitem)(*args),
        moving="assign_at",
        latex=r"{0}\big|_{{[{key}]={1}}}",
        words="writing of entries",
        cost=_no_work,
        points=(
            (("5", "3"), (("1:4",),)),
            (("4,3", ""), ((1,),)),
            (("4,3", "3", [0, 2, 2]), (("?",),)),
            (("4,3", "3,1", [0, 2, 2]), (("?",),)),
            (("4,3", "1,1,3"), ((2,),)),
            (("2,4,3", "2,1", [1, 0], [2, 2]), (("?", ":", "?"),)),
        ),
    )
)


def _value_source(types: Any) -> str:
    # Where an index array may name an element twice, the order of the elements written is that of C.
    return "{1}" if len(types) == 2 or types[1].ndim < 2 else "np.ascontiguousarray({1})"


def _add_source(types: Any, params: Any, numbers: Any) -> str:
    key = key_source(params[0], 2)
    if len(types) > 2:
        return f"np.add.at({{0}}, ({key},), {{1}})" if len(params[0]) > 1 else f"np.add.at({{0}}, {key}, {{1}})"
    part = key_shape(types[0].shape, params[0], ())
    given = types[1].shape
    shown = "{1}" if len(given) <= len(part) else f"{{1}}.reshape({trimmed(given, len(part))})"
    return f"{{0}}[{key}] += {shown}"


def _add_value(x: Any, v: Any, *rest: Any) -> Any:
    return _add_update(np.array(x), v, *rest)


def _add_update(x: Any, v: Any, *rest: Any) -> Any:
    if type(x) is not np.ndarray or not x.flags.writeable:
        return _add_value(x, v, *rest)
    key = decode(rest[-1], rest[:-1])
    if len(rest) == 1:
        # With an ellipsis even a single element is a view.
        part = x[key if "..." in rest[0] else (*key, ...)]
        np.add(part, np.reshape(v, trimmed(np.shape(v), part.ndim)) if np.ndim(v) > part.ndim else v, out=part)
    elif len(rest) - 1 == x.ndim == len(key) and x.ndim > 1 and x.flags.c_contiguous:
        # One flat index is several times faster than a tuple of them.
        np.add.at(x.reshape(-1), _flat_index(key, x.shape), v)
    else:
        np.add.at(x, key, v)
    return x


def _flat_index(key: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Positions in the flattened array of a tuple of indices; raises IndexError as NumPy does."""
    flat: Any = 0
    for axis, (one, extent) in enumerate(zip(key, shape, strict=True)):
        index = np.asarray(one, dtype=np.intp)
        wrong = (index < -extent) | (index >= extent)
        if wrong.any():
            msg = f"index {index[wrong].flat[0]} is out of bounds for axis {axis} with size {extent}"
            raise IndexError(msg)
        flat = flat * extent + np.where(index < 0, index + extent, index)
    return flat


def _add_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    if k == 0:
        return g
    taken = apply(getitem, (g, *arguments[2:]), params)
    if taken.dtype != types[1].dtype:
        taken = taken.astype(types[1].dtype)
    return _sum_to(taken, types[1].shape)


index_add: Any = register(
    Gather(
        name="index_add",
        source=_add_source,
        adds=True,
        value=_add_value,
        update=_add_update,
        params=("key",),
        linear=(0, 1),
        lands=_lands,
        holes=_holes,
        infer=_setitem_infer,
        transpose=_add_transpose,
        batch=lambda *args: _scatter_batch(index_add)(*args),
        moving="add_at",
        latex=r"{0}\big|_{{[{key}]\mathrel{{+}}={1}}}",
        cost=lambda types, params, outs: Cost(types[1].size),
        points=(
            (("5", "3"), (("1:4",),)),
            (("4,3", ""), ((1,),)),
            (("4,3", "3", [0, 2, 2]), (("?",),)),
            (("4,3", "3,1", [0, 2, 2]), (("?",),)),
        ),
    )
)


def _last_write_value(*rest: Any) -> Any:
    *arrays, shape, template = rest
    return _last_write(decode(template, [_in_order(one) for one in arrays]), shape)


def _last_write(key: Any, shape: tuple[int, ...]) -> Any:
    number = np.full(shape, -1, dtype=np.intp)
    inside = number[key].shape
    order = np.arange(math.prod(inside), dtype=np.intp).reshape(inside)
    number[key] = order
    return number[key] == order


def _last_write_batch(batched: Any, size: int, arguments: Any, params: Any) -> Any:
    shape, template = params
    widened, examples, depth = _widened(arguments, batched, size)
    wins = apply(last_write, (examples, *widened), ((size, *shape), ("?", *template)))
    place = _index_axes_at(template, len(shape))
    return np.transpose(wins, _examples_first(wins.ndim, place, depth)) if place and depth else wins


last_write: Any = register(
    Discrete(
        name="last_write",
        source=lambda types, params, numbers: (
            f"{{call:_last_write}}(np.index_exp[{key_source(params[1], 0, types)}], {{shape}})"
        ),
        native="last_write",
        holes=lambda whole, params: _holes(whole, params[1:]),
        value=_last_write_value,
        params=("shape", "key"),
        infer=lambda types, params: (
            key_shape(params[0], params[1], tuple(one.shape for one in types)),
            np.dtype(bool),
        ),
        batch=_last_write_batch,
        latex=r"\operatorname{{last}}[{key}]",
        cost=lambda types, params, outs: Cost(outs[0].size),
        points=((([0, 2, 2],), ((4,), ("?",))),),
    )
)


# --- concatenation --------------------------------------------------------------------------------------------------


def _concatenate_infer(types: Any, params: Any) -> Any:
    (axis,) = params
    first = types[0].shape
    for number, one in enumerate(types):
        if one.ndim != len(first):
            msg = (
                "all the input arrays must have same number of dimensions, but the array at index 0 has "
                f"{len(first)} dimension(s) and the array at index {number} has {one.ndim} dimension(s)"
            )
            raise ValueError(msg)
        for place, (extent, other) in enumerate(zip(first, one.shape, strict=True)):
            if place != axis and extent != other:
                msg = (
                    "all the input array dimensions except for the concatenation axis must match exactly, but along "
                    f"dimension {place}, the array at index 0 has size {extent} and the array at index {number} has "
                    f"size {other}"
                )
                raise ValueError(msg)
    shape = list(first)
    shape[axis] = sum(one.shape[axis] for one in types)
    return tuple(shape), np.result_type(*[one.dtype for one in types])


def _concatenate_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    (axis,) = params
    start = sum(one.shape[axis] for one in types[:k])
    key = (":",) * axis + (f"{start}:{start + types[k].shape[axis]}",)
    part = apply(getitem, (g,), (key,))
    return part if part.dtype == types[k].dtype else part.astype(types[k].dtype)


def _concatenated_at(whole: Any, k: int, types: Any, params: Any) -> Any:
    (axis,) = params
    start = sum(one.shape[axis] for one in types[:k])
    return whole[(*(slice(None),) * axis, slice(start, start + types[k].shape[axis]))]


def _all_batched(batched: Any, size: int, arguments: Any) -> list[Any]:
    return [
        one if yes else np.broadcast_to(one, (size, *np.shape(one)))
        for one, yes in zip(arguments, batched, strict=True)
    ]


concatenate: Any = register(
    Gather(
        name="concatenate",
        value=lambda *rest: np.concatenate(rest[:-1], axis=rest[-1]),
        source="np.concatenate([{*}], axis={axis})",
        params=("axis",),
        infer=_concatenate_infer,
        transpose=_concatenate_transpose,
        lands=_concatenated_at,
        batch=lambda batched, size, arguments, params: apply(
            concatenate, _all_batched(batched, size, arguments), (params[0] + 1,)
        ),
        latex=r"\operatorname{{concatenate}}({0})",
        cost=_no_work,
        points=((("3", "2"), (0,)), (("2,3", "2,1", "2,0"), (1,))),
    )
)


# --- stacking -------------------------------------------------------------------------------------------------------


def _stack_infer(types: Any, params: Any) -> Any:
    (axis,) = params
    first = types[0].shape
    if any(one.shape != first for one in types):
        msg = "all input arrays must have the same shape"
        raise ValueError(msg)
    return (*first[:axis], len(types), *first[axis:]), np.result_type(*[one.dtype for one in types])


def _stack_value(*rest: Any) -> Any:
    *parts, axis = rest
    # Numbers need none of what stack does for arrays.
    return np.stack(parts, axis=axis) if np.ndim(parts[0]) else np.array([np.asarray(one)[()] for one in parts])


def _stack_transpose(k: int, g: Any, types: Any, arguments: Any, params: Any) -> Any:
    part = apply(getitem, (g,), ((*(":",) * params[0], k),))
    return part if part.dtype == types[k].dtype else part.astype(types[k].dtype)


stack: Any = register(
    Gather(
        name="stack",
        source=lambda types, params, numbers: "np.stack([{*}], axis={axis})" if types[0].ndim else "np.array([{*}])",
        value=_stack_value,
        params=("axis",),
        infer=_stack_infer,
        transpose=_stack_transpose,
        lands=lambda whole, k, types, params: whole[(*(slice(None),) * params[0], k, ...)],
        batch=lambda batched, size, arguments, params: apply(
            stack, _all_batched(batched, size, arguments), (params[0] + 1,)
        ),
        latex=r"\operatorname{{stack}}({0})",
        cost=_no_work,
        points=((("", ""), (0,)), (("3", "3"), (0,)), (("2,3", "2,3", "2,3"), (1,)), (("3", "3"), (1,))),
    )
)
