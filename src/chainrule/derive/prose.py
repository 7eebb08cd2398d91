"""The sentences between the formulas, the same in every form: what is happening, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.derive.derivation import Adjoint, Derivation, Input, Item
from chainrule.derive.names import unicode_name
from chainrule.derive.summary import shape_text
from chainrule.derive.writing import is_quiet

__all__ = [
    "CONVENTIONS", "base_case", "check_sentences", "choices_sentence", "inductive_step", "loop_sentences", "notes_on",
    "ordinal_uses", "tells_more",
]  # fmt: skip

CONVENTIONS = (
    (
        "dv stands for the derivative of the result with respect to v, entry by entry: how much the result changes for "
        "a small change of each entry of v. It has the shape of v and is called the adjoint of v."
    ),
    (
        "Side by side means the product of matrices; ⊙, fractions, powers and functions act entry by entry; a letter "
        "under Σ runs over an axis (i over the first, j over the second), and : stands for every index. "
        "𝟏[condition] is 1 where the condition holds and 0 elsewhere; 𝟏[3×4] is an array of ones."
    ),
)


def base_case(d: Derivation) -> str:
    """How the chain rule begins."""
    name = unicode_name(d.output)
    return f"Base case. The result is {name}, and it changes as itself: d{name} = 1."


def inductive_step() -> str:
    """How it goes on."""
    return (
        "Each step back. A variable acts on the result only through the steps that read it. So its adjoint is the sum, "
        "over these steps, of the adjoint of their result times their local derivative; and the adjoints of those "
        "results are known already, because we go from the last step to the first."
    )


_NUMBERS = ("zero", "once", "twice", "three times", "four times", "five times", "six times")


def ordinal_uses(name: str, adjoint: Adjoint) -> Iterator[str]:
    """What is said of a variable that several steps read."""
    count = len(adjoint.contributions)
    if count < 2:
        return
    times = _NUMBERS[count] if count < len(_NUMBERS) else f"{count} times"
    steps = [f"step {one.consumer}" for one in adjoint.contributions[:6]]
    listed = ", ".join(steps[:-1]) + f" and {steps[-1]}" + (" and others" if count > 6 else "")
    yield f"{name} is read {times}, by {listed}: what reaches the result through each is added."


def notes_on(owner: Item | Input, adjoint: Adjoint) -> Iterator[str]:
    """What is said of spreading, of what was left out, and of conventions."""
    for one in adjoint.contributions:
        if one.summed:
            axes = " and ".join(f"axis {axis}" for axis in one.summed)
            yield (
                f"in step {one.consumer}, {owner.name} ({shape_text(owner.shape)}) is spread along {axes} of the "
                "result: every copy acts, so the adjoints of the copies are added."
            )
        yield from one.notes
    yield from adjoint.notes
    if getattr(owner, "discrete", False):
        yield f"{owner.name} is piecewise constant: nothing flows back through it."


def choices_sentence(d: Derivation) -> str:
    """What the derivation presupposes."""
    return (
        "At this point the function chose its way by values: "
        + "; ".join(d.choices)
        + ". The derivation holds while these choices stay the same."
    )


def loop_sentences(item: Item) -> Iterator[str]:
    """How a loop is differentiated: by induction."""
    yield (
        f"Step {item.label} is repeated for {item.letter} = 1, …, {item.trips}; its derivative is found by induction, "
        f"from {item.letter} = {item.trips} down to {item.letter} = 1."
    )
    yield from item.induction


def check_sentences(d: Derivation) -> Iterator[str]:
    """The whole gradient against differences, and what each way costs."""
    check = d.check
    which = (
        f"all {check.size} entries one by one"
        if check.entries == check.size
        else f"{check.entries} of {check.size} entries one by one, and all together along random directions"
    )
    verdict = check.verdict
    state = {
        True: f"they agree (the largest difference is {verdict.error:.1e}, the witness allows {verdict.bound:.1e})",
        False: f"they do NOT agree: off by {verdict.error:.1e}, allowed {verdict.bound:.1e}",
        None: f"they can not decide: {verdict.how}",
    }[verdict.ok]
    yield f"The whole gradient against finite differences of {d.function} itself ({which}): {state}."
    yield (
        f"One sweep gives all {check.size} derivatives; differences need at least {2 * check.size} evaluations of "
        f"{d.function} for as many (this check used {check.evaluations})."
    )
    yield (
        f"Operations: {check.operations:,.0f} for {d.function}, {check.gradient_operations:,.0f} for its value and "
        f"gradient together, which is {check.ratio:.1f} times as many."
    )


def tells_more(item: Item) -> bool:
    """Whether opening a step shows more than the step: at least two of its parts do something."""
    return sum(part.expr is not None and not is_quiet(part.expr) for part in item.parts) > 1
