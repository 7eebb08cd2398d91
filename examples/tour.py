"""The tour: a network in plain NumPy, its gradient by two ways, and that gradient in the hands of five methods.

Run it with ``chainrule tour --out FOLDER`` or ``python examples/tour.py FOLDER``. Every number that it prints is
computed while you watch.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import digits
import numpy as np
from rich import box
from rich.columns import Columns
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from scipy.optimize import OptimizeResult, minimize
from threadpoolctl import threadpool_limits

import chainrule as cr

HEAD, TAIL = 14, 10  # lines of a long program that are shown


@dataclass
class Run:
    """What one method did with the gradient."""

    method: str
    style: str
    losses: list[float] = field(default_factory=list)  # one an iteration, the start first
    sweeps: list[int] = field(default_factory=list)  # gradients and Hessian products spent by then
    gradients: int = 0
    products: int = 0
    seconds: float = 0.0
    inside: float = 0.0  # of these, in the gradients and products
    converged: bool = False
    where: Any = None


def main(out: str | Path = "build/tour", console: Console | None = None, most: int | None = None) -> list[Path]:
    """The whole tour, with at most ``most`` iterations of each method; the files that it wrote."""
    console = console or Console()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    written: list[Path] = []
    training, test = digits.load()
    params = digits.start()

    opening(console, params, training, test)
    # One thread: the matrices are small, and threads that wait for each other would be what the timings show.
    with threadpool_limits(1):
        gradient_two_ways(console, params, training)
        program_of_the_gradient(console, params, training, folder, written)
        derived(console, params, training, folder, written)
        judged(console, params, training, folder, written)
        runs = methods(console, params, training, most)
    picture(runs, test, folder, written)
    drawn_in_characters(console, runs)
    outcome(console, runs, test)
    closing(console, written, time.perf_counter() - began)
    return written


# --- 1: what this is --------------------------------------------------------------------------------------------------


def opening(console: Console, params: Any, training: Any, test: Any) -> None:
    """One sentence on what this is, and the function."""
    console.print(
        Panel(
            Text.assemble(
                "Backpropagation computes the partial derivatives of a function, exactly, by the chain rule. ",
                ("That is all it is: what one does with a gradient is another matter.", "bold"),
            ),
            title=f"chainrule {cr.__version__}",
            padding=(1, 2),
        )
    )
    section(console, 1, "A function, in plain NumPy")
    count = sum(part.size for part in params.values())
    shapes = ", ".join(f"{name} {'×'.join(map(str, part.shape))}" for name, part in params.items())
    console.print(
        f"Real data: {len(training[1])} handwritten digits of 8×8 pixels to fit, {len(test[1])} more to test. "
        f"The function has {count} parameters ({shapes}). Its file does not mention chainrule:\n"
    )
    code(console, "\n\n".join(inspect.getsource(one).rstrip() for one in (digits.scores, digits.loss)))


# --- 2: its gradient, by two ways -------------------------------------------------------------------------------------


def gradient_two_ways(console: Console, params: Any, training: Any) -> None:
    """Backpropagation and finite differences, side by side."""
    section(console, 2, "Its gradient, by two ways that share no code")
    gradient_of = cr.grad(digits.loss)
    exact = gradient_of(params, *training)
    sweep_seconds = shortest(lambda: gradient_of(params, *training))
    value_seconds = shortest(lambda: digits.loss(params, *training))

    count = sum(part.size for part in params.values())
    with progress(console) as bar:
        task = bar.add_task(f"finite differences, {count} parameters", total=2 * count)

        def watched(p: Any) -> Any:
            bar.advance(task)
            return digits.loss(p, *training)

        began = time.perf_counter()
        witness = cr.numerical.grad(watched, params, mode="economic", progress=False)
        witness_seconds = time.perf_counter() - began

    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        title="cr.grad(loss) against cr.numerical.grad(loss)",
        title_style="bold",
    )
    table.add_column("∂ loss / ∂", style="cyan", no_wrap=True)
    for heading in ("backpropagation", "finite differences", "difference", "their error"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, index in named_entries(exact):
        ours, theirs, error = exact[name][index], witness.value[name][index], witness.error[name][index]
        label = f"{name}[{', '.join(map(str, index))}]"
        table.add_row(label, f"{ours:+.11f}", f"{theirs:+.11f}", f"{abs(ours - theirs):.1e}", f"± {error:.1e}")
    table.add_section()
    table.add_row("evaluations", "1 sweep", f"{witness.evaluations:,} of loss", "", "")
    table.add_row("seconds", f"{sweep_seconds:.4f}", f"{witness_seconds:.4f}", "", "")
    console.print(table)
    if witness.stopped:  # by Ctrl-C: the witness keeps what it has, the tour ends here
        raise KeyboardInterrupt

    gaps = np.concatenate([np.ravel(np.abs(exact[name] - witness.value[name])) for name in exact])
    errors = np.concatenate([np.ravel(witness.error[name]) for name in exact])
    ratio = float(np.max(gaps / errors))
    names = [f"{name}[{', '.join(map(str, i))}]" for name in exact for i in np.ndindex(exact[name].shape)]
    worst = names[int(np.argmax(gaps / errors))]
    agree = "[green]They agree[/]" if ratio <= 1 else "[red]They do not agree[/]"
    console.print(
        f"{agree}: over all {gaps.size} entries the largest difference is {ratio:.2f} times the error that the witness "
        f"states for its own figure (at {worst}), and {gaps.max():.1e} in itself.\n\nOne evaluation of the function "
        f"takes {1e3 * value_seconds:.2f} ms. The sweep takes {1e3 * sweep_seconds:.2f} ms, with the tracing of the "
        "function; its work, counted below, is a small multiple of the function's, whatever the number of parameters. "
        "Finite differences need two evaluations "
        f"for each parameter (and here {witness.evaluations - 2 * gaps.size} more to choose their step and to state "
        f"their error): {witness_seconds / sweep_seconds:.0f} times the sweep's seconds."
    )


def named_entries(gradient: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A few entries of each parameter: the largest and one in the middle."""
    for name, part in gradient.items():
        largest = int(np.argmax(np.abs(part)))
        for flat in (largest, part.size // 2):
            yield name, tuple(int(i) for i in np.unravel_index(flat, part.shape))


def shortest(call: Callable[[], Any], times: int = 9) -> float:
    """The shortest of several timings, in seconds."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


# --- 3: the program ---------------------------------------------------------------------------------------------------


def program_of_the_gradient(console: Console, params: Any, training: Any, folder: Path, written: list[Path]) -> None:
    """The gradient program as it runs, and what it costs."""
    section(console, 3, "The program that computes it: what is shown is what runs")
    program = cr.grad(digits.loss).program(params, *training)
    text = str(program)
    lines = text.splitlines()
    if len(lines) > HEAD + TAIL + 1:
        hidden = len(lines) - HEAD - TAIL
        lines = [*lines[:HEAD], f"    # ... {hidden} more lines, in gradient.txt ...", *lines[-TAIL:]]
    code(console, "\n".join(lines))
    path = folder / "gradient.txt"
    path.write_text(text + "\n", encoding="utf-8")
    written.append(path)

    forward, sweep = cr.trace(digits.loss, params, *training).cost(), program.cost()
    console.print()
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, title="Cost, counted on the programs", title_style="bold")
    for heading in ("", "loss", "its gradient", "ratio"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for label, one, other in (
        ("floating-point operations", forward.flops, sweep.flops),
        ("calls of the maths library", forward.calls, sweep.calls),
        ("bytes read and written", forward.bytes, sweep.bytes),
        ("operations in all (a call is 20)", forward.operations, sweep.operations),
    ):
        table.add_row(label, f"{one:,.0f}", f"{other:,.0f}", f"{other / one:.2f}")
    console.print(table)


# --- 4: the derivation ------------------------------------------------------------------------------------------------


def derived(console: Console, params: Any, training: Any, folder: Path, written: list[Path]) -> None:
    """The chain rule written down, step by step, each line verified: a page."""
    section(console, 4, "The derivation: the chain rule written down, each line verified")
    console.print('[dim]>>>[/] cr.derive(loss, params, images, labels).html("derivation.html")')
    derivation = cr.derive(digits.loss, params, *training)
    path = folder / "derivation.html"
    size = len(derivation.html(path).encode())
    written.append(path)
    wrong = derivation.unverified
    state = f"[red]NOT VERIFIED: {', '.join(wrong)}[/]" if wrong else "[green]Each of them has been verified[/]"
    console.print(
        f"The function is a composition of {len(derivation.items)} steps; the page tells each of them, its local "
        "derivatives, and how the adjoints go from the last step to the first. "
        f"{state}: differences of the step alone, at these numbers. The page is one file of {size / 1000:.0f} kB that "
        "needs no network; the arrow keys walk through it."
    )


# --- 5: the judge -----------------------------------------------------------------------------------------------------


def judged(console: Console, params: Any, training: Any, folder: Path, written: list[Path]) -> None:
    """What ``check`` says of this gradient, and of one with a planted mistake; both pictures side by side."""
    from matplotlib.figure import Figure

    section(console, 5, "The judge")
    console.print("[dim]>>>[/] cr.check(loss, params, images, labels)")
    report = cr.check(digits.loss, params, *training, progress=False)
    verdict(console, report)

    def forgetful(p: Any, images: Any, labels: Any) -> Any:
        gradient = cr.grad(digits.loss)(p, images, labels)
        gradient["W2"] = gradient["W2"] - digits.DECAY * p["W2"]
        return gradient

    console.print("\nThe same gradient, written by someone who forgot the penalty on W2:\n")
    console.print("[dim]>>>[/] cr.check(loss, params, images, labels, grad=forgetful)")
    wrong = cr.check(digits.loss, params, *training, grad=forgetful, progress=False)
    verdict(console, wrong)
    figure = Figure(figsize=(13, 5), layout="constrained")
    for axes, each in zip(figure.subplots(1, 2, sharex=True), (report, wrong), strict=True):
        each.plot(axes=axes)
    path = folder / "check.png"
    figure.savefig(path, dpi=150)
    written.append(path)
    console.print(
        "\nThe picture has both: the distance of differences from the claimed slope, step by step. For the right "
        "gradient it falls with the step until the rounding of the loss takes over, a V; for the wrong one it ends on "
        "a floor, which no step gets below."
    )


def verdict(console: Console, report: Any) -> None:
    """The verdict of a report in its colour, its sentence, and its price."""
    colour = {"PASS": "green", "PASS*": "green", "WARN": "yellow", "FAIL": "red"}.get(report.verdict, "magenta")
    console.print(Text.assemble((report.verdict, f"bold {colour}"), "  ", report.sentence))
    price = f"{report.evaluations} evaluations of loss, {report.calls} gradients, {report.seconds:.2f} s"
    console.print(Text(price, style="dim"))


# --- 6: methods that are not ours -------------------------------------------------------------------------------------


def gradient_descent(value_and_gradient: Callable[[Any], Any], w: Any, rate: float, steps: int) -> Iterator[Any]:
    """The whole method: the gradient comes from elsewhere."""
    for _ in range(steps):
        _, g = value_and_gradient(w)
        w = w - rate * g
        yield w


def methods(console: Console, params: Any, training: Any, limit: int | None) -> list[Run]:
    """One gradient, handed to five methods."""
    section(console, 6, "The same gradient, handed to methods that are not ours")
    console.print(
        "SciPy's minimisers want one vector, so they get [cyan]f = lambda w: loss(unpack(w), images, labels)[/] with "
        "[cyan]jac[/] from [cyan]cr.value_and_grad(f)[/] and, for Newton-CG, [cyan]hessp[/] from [cyan]cr.hvp[/]. "
        "Gradient descent is four lines of this example:\n"
    )
    code(console, inspect.getsource(gradient_descent).split('"""')[2])
    console.print()

    def f(w: Any) -> Any:
        return digits.loss(digits.unpack(w), *training)

    w0 = digits.pack(params)
    plans = [
        ("gradient descent", "blue", 500),
        ("CG", "green", 300),
        ("BFGS", "red", 100),
        ("L-BFGS-B", "magenta", 400),
        ("Newton-CG", "cyan", 30),
    ]
    runs = []
    with progress(console) as bar:
        for name, style, usual in plans:
            most = usual if limit is None else min(limit, usual)
            task = bar.add_task(name, total=most)
            runs.append(run_method(f, w0, name, style, most, lambda task=task: bar.advance(task)))
            bar.update(task, total=len(runs[-1].losses) - 1)
    return runs


def run_method(f: Callable[[Any], Any], w0: Any, name: str, style: str, most: int, tick: Callable[[], Any]) -> Run:
    """Let one method minimise f from w0, and write down what it does."""
    run = Run(name, style)
    both = cr.value_and_grad(f)

    def value_and_gradient(w: Any) -> Any:
        run.gradients += 1
        return timed(run, both, w)

    def product(w: Any, v: Any) -> Any:
        run.products += 1
        return timed(run, cr.hvp, f, (w,), (v,))

    def note(loss: float) -> None:
        run.losses.append(float(loss))
        run.sweeps.append(run.gradients + run.products)

    def callback(intermediate_result: OptimizeResult) -> None:
        note(intermediate_result.fun)
        tick()

    note(f(w0))
    began = time.perf_counter()
    if name == "gradient descent":
        w = w0
        for w in gradient_descent(value_and_gradient, w0, rate=0.5, steps=most):
            note(f(w))  # for the picture: the method itself never asks for it
            tick()
        run.where = w
    else:
        found = minimize(
            value_and_gradient, w0, jac=True, method=name, callback=callback,
            hessp=product if name == "Newton-CG" else None, options={"maxiter": most},
        )  # fmt: skip
        run.where, run.converged = found.x, bool(found.success)
    run.seconds = time.perf_counter() - began
    return run


def timed(run: Run, call: Callable[..., Any], *args: Any) -> Any:
    """The call's result; its seconds are added to the run's."""
    began = time.perf_counter()
    result = call(*args)
    run.inside += time.perf_counter() - began
    return result


# --- 7: the pictures --------------------------------------------------------------------------------------------------


def picture(runs: list[Run], test: Any, folder: Path, written: list[Path]) -> None:
    """Loss against iterations and against gradients, and what the best network says to test images, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

    colours = {"blue": "#2a6fdb", "green": "#2c9c55", "red": "#d1495b", "magenta": "#8e5bc0", "cyan": "#1aa3b0"}
    figure = Figure(figsize=(11, 6.2), dpi=130, layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[4, 1])
    left, right = upper.subplots(1, 2, sharey=True)
    for run in runs:
        style = {"color": colours[run.style], "linewidth": 2.0, "label": run.method, "solid_capstyle": "round"}
        left.loglog(np.maximum(range(len(run.losses)), 0.8), run.losses, **style)
        right.loglog(np.maximum(run.sweeps, 0.8), run.losses, **style)
    for axes, label in ((left, "iterations"), (right, "gradients and Hessian-vector products")):
        axes.set_xlabel(label)
        axes.set_xlim(left=0.8)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1.0, 2.0]))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("loss")
    right.legend(frameon=False)
    upper.suptitle("One gradient, five methods", fontsize="x-large")

    images, labels = test
    best = min(runs, key=lambda run: run.losses[-1])
    says = np.argmax(digits.scores(digits.unpack(best.where), images), axis=1)
    for axes, image, said, label in zip(lower.subplots(1, 16), images, says, labels, strict=False):
        axes.imshow(image.reshape(8, 8), cmap="gray_r", interpolation="nearest")
        axes.set_title(str(said), color="#2c9c55" if said == label else "#d1495b", fontweight="bold")
        axes.set_axis_off()
    lower.suptitle(f"Sixteen test images, and what the network fitted by {best.method} reads", fontsize="medium")
    path = folder / "methods.png"
    figure.savefig(path)
    written.append(path)


def drawn_in_characters(console: Console, runs: list[Run]) -> None:
    """The same picture, as the terminal can show it: side by side where it is wide enough."""
    wide = console.width >= 110
    width = min((console.width - 2) // 2 if wide else console.width, 90)
    plots = [
        characters(console, runs, lambda run: range(len(run.losses)), "loss against iterations", width),
        characters(console, runs, lambda run: run.sweeps, "loss against gradients and Hessian products", width),
    ]
    legend = Text("   ").join(
        Text(f"{run.method[0] if letters(console) else '━━'} {run.method}", run.style) for run in runs
    )
    console.print(legend, justify="center")
    console.print(Columns(plots) if wide else Group(*plots))


def letters(console: Console) -> bool:
    """Whether letters must tell the methods apart, because colours can not."""
    return console.no_color or not console.is_terminal


def characters(console: Console, runs: list[Run], across: Callable[[Run], Any], title: str, width: int) -> Text:
    """One plot on logarithmic axes."""
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.canvas("default")
    figure.plot_size(width, 18)
    for run in runs:
        marker = run.method[0] if letters(console) else plotext.marker("braille", run.style)
        x, y = np.log10(np.maximum(across(run), 1.0)), np.log10(run.losses)
        figure.draw(figure.signal(list(x), list(y), marker=marker).lines())
    low, high = (np.log10(pick([loss for run in runs for loss in run.losses])) for pick in (min, max))
    figure.ruler("y").ticks(*ticks(low, high))
    figure.ruler("x").ticks(*ticks(0.0, np.log10(max(max(across(run)) for run in runs))))
    figure.title(title)
    return Text.from_ansi(figure.build().string())


def ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Places and labels 1, 2, 5, 10, 20, ... between two logarithms."""
    values = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]
    inside = [value for value in values if low - 1e-9 <= np.log10(value) <= high + 1e-9]
    return [float(np.log10(value)) for value in inside], [f"{value:g}" for value in inside]


# --- 8: the outcome ---------------------------------------------------------------------------------------------------


def outcome(console: Console, runs: list[Run], test: Any) -> None:
    """One row a method."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, title="What each method made of it", title_style="bold")
    table.add_column("method", no_wrap=True)
    for heading in ("iterations", "gradients", "H·v", "seconds", "final loss", "test accuracy"):
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(
            Text(run.method, style=run.style),
            str(len(run.losses) - 1) + ("" if run.converged else "*"),
            str(run.gradients),
            str(run.products or "–"),
            f"{run.seconds:.1f}",
            f"{run.losses[-1]:.4f}",
            f"{digits.accuracy(digits.unpack(run.where), *test):.1%}",
        )
    console.print(table)
    slowest = max(runs, key=lambda run: run.seconds - run.inside)
    console.print(
        "* stopped after the iterations that it was allowed. H·v: products of the Hessian with a vector, by cr.hvp. "
        f"Of the {slowest.seconds:.1f} s of {slowest.method}, {slowest.inside:.1f} s were spent in gradients: the rest "
        f"is its own algebra with a matrix of {slowest.where.size} × {slowest.where.size}.",
        style="dim", highlight=False,
    )  # fmt: skip


def closing(console: Console, written: list[Path], seconds: float) -> None:
    """The files, and where to go on."""
    console.print(f"\n[bold]Done in {seconds:.0f} s.[/] Files:")
    for path in written:
        console.print(f"  {os.path.relpath(path)}", style="cyan", highlight=False, soft_wrap=True)
    console.print("\nYour turn: [bold]chainrule grad FILE:FUNCTION --at point.npz[/]", highlight=False)


# --- the page ---------------------------------------------------------------------------------------------------------


def section(console: Console, number: int, title: str) -> None:
    """A heading."""
    console.print()
    console.rule(f"[bold]{number}  {title}", align="left")
    console.print()


def code(console: Console, text: str) -> None:
    """Python, or a program, highlighted; a line that is too long ends in an ellipsis."""
    room = console.width - 4
    lines = inspect.cleandoc("\n" + text).splitlines()
    cut = "\n".join(line if len(line) <= room else f"{line[: room - 1]}…" for line in lines)
    shown = Syntax("", "python", theme="ansi_dark", background_color="default").highlight(cut)
    shown.rstrip()
    console.print(Padding(shown, (0, 2), expand=False))


def progress(console: Console) -> Progress:
    """A progress bar that is there only for someone who looks at a terminal."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", default="build/tour", help="folder for the files (default: %(default)s)")
    main(parser.parse_args().out)
    sys.exit(0)
