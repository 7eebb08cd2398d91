"""The page of a derivation: whole, safe, self-contained, the same every time; and, in a browser, walked by keyboard."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.derive.browser import CHROMIUM, Browser, browser

import chainrule as cr
from chainrule.derive import derive
from chainrule.derive.derivation import WHAT_IT_IS_NOT, Derivation
from chainrule.derive.page import Beside, embedded, page
from chainrule.derive.page.formula import formula
from chainrule.derive.page.ledger import _coloured
from chainrule.derive.page.markup import Markup, element, joined
from chainrule.derive.page.names import Names
from chainrule.derive.page.pictures import histogram, number, picture, summary, thumbnail
from chainrule.derive.writing import written
from chainrule.rule import RULES

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "input", "br", "hr", "path"}


def network(W1: Any, b1: Any, W2: Any, X: Any, Y: Any) -> Any:
    z1 = X @ W1 + b1
    h = np.tanh(z1)
    z2 = h @ W2
    log_p = z2 - np.log(np.sum(np.exp(z2), axis=1, keepdims=True))
    return -np.sum(Y * log_p) / len(X)


def network_at(seed: int = 0) -> Derivation:
    rng = np.random.default_rng(seed)
    return derive(
        network,
        rng.normal(size=(4, 5)),
        rng.normal(size=5),
        rng.normal(size=(5, 3)),
        rng.normal(size=(6, 4)),
        np.eye(3)[[0, 1, 2, 0, 1, 2]],
        argnums=(0, 1, 2),
    )


@pytest.fixture(scope="module")
def derivation() -> Derivation:
    return network_at()


@pytest.fixture(scope="module")
def made(derivation: Derivation) -> str:
    return page(derivation)


class Tree(HTMLParser):
    """Reads a page, and holds every element to its end tag."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, tag
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value or "" for _, one, value in self.attributes if one == name]


# --- structure --------------------------------------------------------------------------------------------------------


def test_every_element_ends_and_every_link_has_its_target(made: str) -> None:
    tree = Tree(made)
    assert len(tree.ids) == len(set(tree.ids))
    assert {link[1:] for link in tree.values("href")} <= set(tree.ids)
    keys = set(tree.values("data-key"))
    for row in (*tree.values("data-users"), *tree.values("data-keys"), *tree.values("data-opens")):
        assert set(row.split()) <= keys


def test_it_says_first_what_it_is_not(made: str) -> None:
    text = " ".join("".join(Tree(made).text).split())
    assert text.index(WHAT_IT_IS_NOT) < text.index("What is differentiated")


def test_all_parts_are_there_in_their_order(made: str) -> None:
    titles = ["What is differentiated", "The composition", "The chain rule, from the last step to the first"]
    titles += ["The gradient", "The numbers"]
    places = [made.rindex(title) for title in titles]
    assert places == sorted(places)


def test_every_step_and_argument_has_row_entry_and_card(made: str, derivation: Derivation) -> None:
    tree = Tree(made)
    for item in Names(derivation).shown:
        key = "i" + item.label.replace(".", "-")
        assert {f"card-{key}", f"entry-{key}"} <= set(tree.ids)
        assert key in tree.values("data-key")
    assert {f"card-a{n}" for n in range(1, len(derivation.inputs) + 1)} <= set(tree.ids)


def test_it_asks_nothing_of_any_host(made: str) -> None:
    tree = Tree(made)
    assert "script" in tree.tags
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(tree.tags)
    assert not re.search(r"(?:https?:)?//[\w.-]+\.\w|url\(|@import|fetch\(|XMLHttp|WebSocket|import\(", made)
    assert tree.values("src") == []
    (policy,) = [value for value in tree.values("content") if "default-src" in value]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_formulas_are_mathml(made: str) -> None:
    tree = Tree(made)
    assert tree.tags.count("math") > 20
    assert {"msup", "msub", "mfrac"} <= set(tree.tags)
    assert 'class="latex"' not in made, "a formula that could not be converted"
    assert "\\" not in "".join(tree.text), "LaTeX is left over"


def test_the_same_derivation_gives_the_same_page() -> None:
    assert page(network_at()) == page(network_at())


def test_another_point_gives_other_numbers() -> None:
    one, two = page(network_at(0)), page(network_at(1))
    assert number(network_at(0).value) in one
    assert number(network_at(0).value) not in two
    assert number(network_at(1).value) in two


def test_it_can_be_put_into_another_page(derivation: Derivation) -> None:
    frame = embedded(derivation)
    tree = Tree(frame)
    assert tree.tags == ["iframe"]
    assert tree.values("srcdoc") == [page(derivation)]
    assert tree.values("sandbox") == ["allow-scripts"]
    assert derivation._repr_html_() == frame


def test_another_account_can_stand_beside_ours(derivation: Derivation) -> None:
    beside = Beside("Textbook", (r"\nabla_W = X^{\top} \delta",), "A < B", "def f(x):\n    return x < 1", "They agree")
    text = page(derivation, title="A & B", beside=beside)
    Tree(text)
    assert "<h1>A &amp; B</h1>" in text
    assert "A &lt; B." in text
    assert "return x &lt; 1" in text


def rolled() -> Derivation:
    """A derivation in which two steps are told as the pass of a loop."""
    plain = network_at()
    first, second, *rest = plain.items
    body = (replace(first, label="1.1", consumers=("1.2",), parts=()), replace(second, label="1.2"))
    words = ("Base case: the last layer.", "Step: from layer l to layer l - 1.", "So it holds for every layer.")
    loop = replace(
        second, label="1", kind="loop", expr=None, body=body, letter="l", trips=7, induction=words, name="layers",
    )  # fmt: skip
    return replace(plain, items=(loop, *rest))


def test_a_loop_is_told_once_with_its_induction() -> None:
    text = page(rolled())
    tree = Tree(text)
    said = " ".join("".join(tree.text).split())
    assert "l = 1, …, 7" in said
    for words in ("Base case: the last layer.", "Step: from layer l to layer l - 1.", "So it holds for every layer."):
        assert words in said
    assert {"card-i1", "card-i1-1", "card-i1-2", "entry-i1-1"} <= set(tree.ids)


# --- what must be seen ------------------------------------------------------------------------------------------------


def test_a_verified_derivation_has_no_alarm(made: str, derivation: Derivation) -> None:
    assert derivation.unverified == ()
    assert 'class="alarm"' not in made
    assert "NOT" not in "".join(Tree(made).text).replace("NOT_", "")


def test_a_step_that_is_not_verified_is_named_in_red() -> None:
    def bare(x: Any) -> Any:
        return np.sin(x)

    wrong = cr.primitive(bare, pullback=lambda g, y, x: g * np.cos(x) * 1.01)

    def f(x: Any) -> Any:
        a = x * x
        bent = wrong(a)
        return np.sum(bent)

    derivation = derive(f, np.array([0.3, 0.7]))
    assert "bent" in derivation.unverified
    text = page(derivation)
    tree = Tree(text)
    classes = tree.values("class")
    assert "alarm" in classes
    assert any(one.startswith("row bad") for one in classes)
    assert "card bad" in classes
    assert "verdict bad" in classes
    said = " ".join("".join(tree.text).split())
    assert re.search(r"NOT VERIFIED: (?:\w+, )*bent", said)
    assert "bent is NOT verified" in said
    # The line that rests on the wrong step is red too, though its own step is right.
    assert "da, through bent, is NOT verified" in said
    assert len(re.findall(r'class="card bad"', text)) == 2


def test_a_gradient_that_disagrees_as_a_whole_is_said_to(derivation: Derivation) -> None:
    verdict = replace(derivation.check.verdict, ok=False)
    text = page(replace(derivation, check=replace(derivation.check, verdict=verdict)))
    assert "does NOT agree with finite differences" in text


def test_not_a_number_is_drawn_and_said() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.log(x))

    with np.errstate(all="ignore"):
        text = page(derive(f, np.array([1.0, -1.0, 0.0])))
    Tree(text)
    assert 'class="lost"' in text
    said = " ".join("".join(Tree(text).text).split())
    assert "Something is not finite. v1[1] became NaN in step 1: v1 = log(x), with x[1] = −1." in said


def test_the_largest_entry_of_an_argument_is_followed(made: str, derivation: Derivation) -> None:
    said = " ".join("".join(Tree(made).text).split())
    for one in derivation.inputs:
        if one.adjoint is None:
            continue
        index = np.unravel_index(np.argmax(np.abs(one.adjoint.value)), one.shape)
        entry = f"{one.name}[{', '.join(map(str, index))}]"
        assert f"the paths by which {entry} acts" in said
        assert f"{entry} reaches the result by 2 paths" in said


# --- bad input --------------------------------------------------------------------------------------------------------

HOSTILE = ["<script>pwned()</script>", 'a" onload="pwned()', "a'b", "&amp;", "\\input{/etc/passwd}", "x_y^2", "日本語"]


@pytest.mark.parametrize("key", HOSTILE)
def test_names_are_text_and_never_markup(key: str) -> None:
    def f(params: Any) -> Any:
        return np.sum(params[key] ** 2)

    text = page(derive(f, {key: np.array([1.0, 2.0])}))
    tree = Tree(text)
    assert tree.tags.count("script") == 1
    assert not [name for _, name, _ in tree.attributes if name.startswith("on")]
    assert key in "".join(tree.text)


def test_source_with_markup_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile.py").write_text(
        "import numpy as np\ndef f(x):\n    s = '</script><script>pwned()</script>'  # <b>&amp;</b>\n"
        "    naïve_β = x * 2  # " + "long " * 300 + "\n    return np.sum(naïve_β)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import hostile  # type: ignore[import-not-found]

    tree = Tree(page(derive(hostile.f, np.ones(3))))
    assert tree.tags.count("script") == 1
    assert "s = '</script><script>pwned()</script>'  # <b>&amp;</b>" in "".join(tree.text)
    del sys.modules["hostile"]


def test_a_function_without_source_has_its_page() -> None:
    space: dict[str, Any] = {}
    exec("import numpy as np\ndef f(x):\n    y = x * 3\n    return np.sum(y)", space)
    text = page(derive(space["f"], np.ones(2)))
    Tree(text)
    assert "source of this function can not be found" in text
    Tree(page(derive(lambda x: np.sum(x * x), np.ones(2))))


def test_a_huge_array_costs_no_more_than_a_small_one() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.tanh(x))

    small = len(page(derive(f, np.linspace(-1.0, 1.0, 10_000).reshape(100, 100))))
    large = len(page(derive(f, np.linspace(-1.0, 1.0, 1_000_000).reshape(1000, 1000))))
    assert large < 1.2 * small
    assert large < 200_000


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (2, 3, 4), (1, 1, 1), (300,), (41,)])
def test_arrays_of_any_shape_have_a_picture(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for array in (
        rng.normal(size=shape),
        np.full(shape, np.nan),
        np.full(shape, np.inf),
        np.ones(shape, bool),
        rng.integers(-3, 3, size=shape),
        np.full(shape, 1e308) * np.where(rng.random(shape) < 0.5, -1.0, 1.0),
        rng.normal(size=shape).astype(np.float32),
    ):
        for made in (picture(array, "x"), thumbnail(array), histogram(array, "x")):
            Tree(made)
            assert "nan" not in made.lower().replace("NaN".lower(), "nan") or "aria-label" in made
        assert summary(array)


def test_an_entry_that_is_not_finite_is_never_averaged_away() -> None:
    array = np.zeros((200, 200))
    array[17, 33] = np.nan
    assert 'class="lost"' in thumbnail(array)
    assert 'class="lost"' in picture(array, "x")


def test_cells_are_means_of_their_blocks() -> None:
    array = np.ones((56, 28))
    array[::2] = -1.0
    assert "<path" not in picture(array, "x").split("</svg>")[0], "ones and minus ones, two by two, are zero"
    array[:28] = 1.0
    assert 'class="p8" d="M0 0h28M0 1h28' in picture(array, "x")


def test_numbers_are_written_for_readers() -> None:
    assert [number(one) for one in (0.0, -1.5, 1e-12, -2.5e300, float("nan"), float("-inf"), True, -3)] == [
        "0", "−1.5", "10⁻¹²", "−2.5·10³⁰⁰", "NaN", "−∞", "True", "−3",
    ]  # fmt: skip


def test_markup_escapes_what_is_not_markup() -> None:
    assert element("a", "<b>", Markup("<i></i>"), href='"x"', hidden=False) == (
        '<a href="&quot;x&quot;">&lt;b&gt;<i></i></a>'
    )
    assert joined(12, None, "&") == "12&amp;"


# --- formulas ---------------------------------------------------------------------------------------------------------


def _is_whole(made: str) -> None:
    tree = Tree(made)
    assert tree.tags[0] == "math", made
    assert set(tree.tags) <= set(
        "math mrow mi mn mo mtext mspace msup msub msubsup mover munder munderover mfrac msqrt mroot mtable mtr mtd "
        "mstyle mpadded mphantom".split()
    )
    assert "\\" not in "".join(tree.text)


def test_the_latex_of_every_rule_becomes_mathml() -> None:
    for rule in RULES.values():
        names = set(re.findall(r"(?<!\{)\{([a-z_]+)\}(?!\})", rule.latex))
        try:
            latex = rule.latex.format(" x", " y", " z", " u", " v", **dict.fromkeys(names, "1"))
        except (KeyError, IndexError):
            continue
        _is_whole(formula(latex))


@pytest.mark.parametrize(
    "latex",
    [
        r"\text{a < b & c > d}",
        r"\text{\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{}}",
        r"\mathit{na\text{[U+00EF]}ve}_{2}^{(l)}",
        r"\text{</math><script>alert(1)</script>}",
        r"\left\lVert x \right\rVert_2",
    ],
)
def test_text_in_a_formula_is_text(latex: str) -> None:
    made = formula(latex)
    tree = Tree(made)
    assert "script" not in tree.tags
    _is_whole(made)


def test_what_can_not_be_converted_is_shown_as_it_is() -> None:
    assert formula(r"\frac{") == '<code class="latex">\\frac{</code>'


def test_a_word_is_one_name_and_a_d_stands_upright() -> None:
    assert formula(r"\mathit{log\_p}") == '<math><mi class="italic">log_p</mi></math>'
    assert formula(r"\mathrm{d}W_{1}") == (
        '<math><mrow><mi mathvariant="normal">d</mi><msub><mi>W</mi><mn>1</mn></msub></mrow></math>'
    )


def test_products_of_matrices_and_entry_by_entry_are_told_apart_by_brackets(derivation: Derivation) -> None:
    closed = next(one.closed for one in derivation.gradient if one.name == "W1")
    assert closed is not None
    text = written(closed)
    assert "W2ᵀ) ⊙ (1 − " in text
    assert text.startswith("Xᵀ ((")


def test_python_is_coloured_and_nothing_of_it_is_lost() -> None:
    lines = ["    x = 1  # <note>", "    return 'a & b'", '    """two', '    lines"""', "    if x:"]
    made = _coloured(lines)
    assert ["".join(Tree(line).text) for line in made] == [line[4:] for line in lines]
    assert '<span class="c"># &lt;note&gt;</span>' in made[0]
    assert '<span class="k">return</span>' in made[1]
    assert [str(line) for line in _coloured(["((", "'"])] == ["((", "&#x27;"]


def _written(x: Any) -> Any:
    y1 = np.zeros(3)
    y1[0] = x[0] ** 2
    y1[1:] = x[:2] * y1[0]
    return np.sum(y1[1:])


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: x, 2.0),
        (lambda x: np.sum(x * 2), np.zeros(0)),
        (lambda x: np.sum(np.tanh(x)), np.ones(3, np.float32)),
        (lambda x: np.sum(np.sort(x)[:2]), np.array([3.0, 1.0, 2.0])),
        (lambda x: np.sum(np.where(x > 0, x, 0.0)), np.array([3.0, -1.0, 2.0])),
        (lambda x: np.sum(x**2), np.ones((2, 3, 4, 5))),
        (lambda x: np.sum(np.linalg.solve(x, np.ones(3))), 2.0 * np.eye(3)),
        (lambda x: np.linalg.slogdet(x)[1], 2.0 * np.eye(3)),
        (lambda x: x[0] * x[1] if x[0] > 0 else x[1], np.array([1.0, 2.0])),
        (lambda x: np.einsum("ij,jk->", x, x), np.eye(3)),
        (lambda x: np.max(x) - np.min(x) + np.prod(x) + np.linalg.norm(x), np.array([1.0, 2.0, 3.0])),
        (lambda x: np.sum(np.cumsum(x) ** 2), np.array([1.0, 2.0, 3.0])),
        (_written, np.array([1.0, 2.0, 3.0])),
    ],
)
def test_functions_of_many_kinds_have_their_page(f: Any, x: Any) -> None:
    derivation = derive(f, x)
    text = page(derivation)
    Tree(text)
    assert 'class="latex"' not in text, "a formula that could not be converted"
    assert derivation.unverified == ()


def test_a_function_that_depends_on_nothing_is_refused_in_words() -> None:
    with pytest.raises(cr.ArgumentError, match="whatever its arguments are"):
        derive(lambda x: 3.0, np.ones(2))


# --- size -------------------------------------------------------------------------------------------------------------


def test_two_thousand_steps_make_a_page() -> None:
    def f(x: Any) -> Any:
        for k in range(1000):
            x = np.sin(x) if k % 3 else x * 1.01
            x = x + 0.1 * k
        return np.sum(x)

    derivation = derive(f, np.array([0.1, 0.2]))
    text = page(derivation)
    Tree(text)
    assert len(text) < 8_000_000


# --- in a browser -----------------------------------------------------------------------------------------------------

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def opened(tab: Browser, made: str, tmp_path: Path) -> Browser:
    path = tmp_path / "page.html"
    path.write_text(made, encoding="utf-8")
    tab.window(1400, 900)
    tab.medium()
    tab.open(path)
    return tab


def said(tab: Browser) -> str:
    return " ".join(tab.evaluate("document.getElementById('said').textContent").split())


def count(tab: Browser, query: str) -> int:
    return int(tab.evaluate(f"document.querySelectorAll({query!r}).length"))


@in_a_browser
def test_it_opens_without_a_complaint_and_asks_for_nothing_else(opened: Browser) -> None:
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.endswith("page.html")] == []
    assert opened.evaluate("document.querySelector('main math').getBoundingClientRect().height") > 5
    assert opened.evaluate("document.querySelector('svg.arcs path').getAttribute('d').length") > 100


@in_a_browser
def test_it_is_walked_by_keyboard_down_and_up(opened: Browser, derivation: Derivation) -> None:
    steps, adjoints = len(derivation.items), count(opened, "[data-backward]")
    assert said(opened) == "start: the arguments are given"
    opened.press("ArrowRight")
    assert said(opened).startswith(f"↓ forward 1 of {steps} z1 =")
    assert count(opened, ".row.valued[data-forward]") == 1
    opened.press("ArrowRight", steps)
    assert said(opened).startswith(f"↑ backward 1 of {adjoints}")
    assert count(opened, ".row.valued[data-forward]") == steps
    assert count(opened, ".row.told") == 1
    opened.press("ArrowLeft")
    assert said(opened).startswith(f"↓ forward {steps} of {steps}")
    opened.press("ArrowRight", adjoints)
    assert said(opened).startswith(f"↑ backward {adjoints} of {adjoints}")
    assert opened.evaluate("document.getElementById('on').disabled") is True
    assert count(opened, ".row.now") == 1
    assert count(opened, ".row[aria-current=step]") == 1
    opened.press("Escape")
    assert said(opened) == "start: the arguments are given"
    assert opened.complaints == []


@in_a_browser
def test_the_walk_goes_through_a_loops_pass_once_each_way(tab: Browser, tmp_path: Path) -> None:
    path = tmp_path / "loop.html"
    path.write_text(page(rolled()), encoding="utf-8")
    tab.window(1400, 900)
    tab.open(path)
    keys = []
    for _ in range(int(tab.evaluate("+document.getElementById('where').max"))):
        tab.press("ArrowRight")
        keys.append(tab.evaluate("document.querySelector('.row.now').dataset.key"))
    assert keys[:3] == ["i1", "i1-1", "i1-2"]
    assert [key for key in keys[len(keys) // 2 :] if key.startswith("i1-") or key == "i1"] == ["i1", "i1-2", "i1-1"]
    assert tab.complaints == []


@in_a_browser
def test_the_slider_walks_and_says_where_it_is(opened: Browser) -> None:
    opened.evaluate("document.getElementById('where').focus()")
    opened.press("ArrowRight", 2)
    assert said(opened).startswith("↓ forward 2 of")
    assert opened.evaluate("document.getElementById('where').getAttribute('aria-valuetext')").startswith("↓ forward 2")


@in_a_browser
def test_a_click_on_a_step_marks_its_line_its_card_and_its_arcs(opened: Browser) -> None:
    opened.evaluate("document.querySelector('.row[data-key=i2]').click()")
    assert "np.tanh" in opened.evaluate("document.querySelector('.line.now').textContent")
    assert opened.evaluate("document.querySelector('.card.now').id") == "card-i2"
    assert opened.evaluate("document.querySelector('.arcs .in').getAttribute('d').match(/M/g).length") == 1
    top = opened.evaluate("document.getElementById('card-i2').getBoundingClientRect().top")
    assert 0 < top < 900
    assert said(opened).startswith("h = tanh(z1): ")
    assert "dh = " in said(opened)


@in_a_browser
def test_a_click_on_a_line_goes_through_its_steps(opened: Browser) -> None:
    line = "[...document.querySelectorAll('a.line')].find(one => one.textContent.includes('np.log'))"
    seen = set()
    for _ in range(4):
        opened.evaluate(f"{line}.click()")
        seen.add(opened.evaluate("document.querySelector('.card.now').id"))
    assert len(seen) > 2


@in_a_browser
def test_the_arrows_move_among_the_rows_and_enter_picks(opened: Browser) -> None:
    opened.evaluate("document.querySelector('.row').focus()")
    opened.press("ArrowDown", 2)
    key = opened.evaluate("document.activeElement.dataset.key")
    assert key == opened.evaluate("document.querySelectorAll('.row')[2].dataset.key")
    assert count(opened, ".row[tabindex='0']") == 1
    opened.evaluate("document.activeElement.click()")
    assert opened.evaluate("document.querySelector('.row.now').dataset.key") == key


@in_a_browser
def test_groups_open_and_close(opened: Browser) -> None:
    shown = "[...document.querySelectorAll('.rows > li')].filter(one => one.offsetHeight).length"
    before = opened.evaluate(shown)
    opened.evaluate("document.querySelector('.fold').click()")
    assert opened.evaluate(shown) > before
    assert opened.evaluate("document.querySelector('.fold').getAttribute('aria-expanded')") == "true"
    opened.evaluate("document.querySelector('.fold').click()")
    assert opened.evaluate(shown) == before


@in_a_browser
def test_light_and_dark_by_the_system_and_by_the_switch(opened: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = opened.evaluate(paper)
    opened.medium(dark=True)
    dark = opened.evaluate(paper)
    assert dark != light
    opened.evaluate("document.getElementById('theme').click()")
    assert opened.evaluate(paper) == light
    opened.evaluate("document.getElementById('theme').click()")
    assert opened.evaluate(paper) == dark
    opened.evaluate("localStorage.clear()")


@in_a_browser
@pytest.mark.parametrize("width", [320, 390, 800, 1100, 1400, 2400])
def test_nothing_sticks_out_at_any_width(opened: Browser, width: int) -> None:
    opened.window(width, 800, phone=width < 500)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


@in_a_browser
def test_on_paper_everything_is_shown(opened: Browser, derivation: Derivation) -> None:
    opened.press("ArrowRight", 3)
    opened.medium("print")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    cards = opened.evaluate("[...document.querySelectorAll('.card')].filter(one => one.offsetHeight > 20).length")
    assert cards == len(Names(derivation).shown) + len(derivation.inputs)
    rows = opened.evaluate("[...document.querySelectorAll('.row')].filter(one => one.offsetHeight > 10).length")
    assert rows == cards
    assert opened.evaluate("getComputedStyle(document.querySelector('.bar')).display") == "none"
    assert opened.evaluate("getComputedStyle(document.querySelector('.row .cell.a')).opacity") == "1"


@in_a_browser
def test_everything_can_be_reached_and_has_a_name(opened: Browser) -> None:
    unnamed = opened.evaluate(
        "[...document.querySelectorAll('button, input, a, nav, aside, [role=img]')].filter(one =>"
        " !one.textContent.trim() && !one.getAttribute('aria-label')).length"
    )
    assert unnamed == 0
    assert opened.evaluate("document.documentElement.lang") == "en"
    assert opened.evaluate("document.getElementById('said').getAttribute('aria-live')") == "polite"
    assert count(opened, "main") == 1
    assert count(opened, "h1") == 1


@in_a_browser
def test_a_hostile_name_runs_nothing(tab: Browser, tmp_path: Path) -> None:
    def f(params: Any) -> Any:
        return sum(np.sum(params[key] ** 2) for key in HOSTILE)

    path = tmp_path / "hostile.html"
    path.write_text(page(derive(f, {key: np.ones(2) for key in HOSTILE})), encoding="utf-8")
    tab.open(path)
    assert tab.complaints == []
    assert tab.evaluate("typeof pwned") == "undefined"


@in_a_browser
def test_a_broken_page_would_be_noticed(tab: Browser, made: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.html"
    path.write_text(made.replace("</body>", "<script>oops()</script></body>"), encoding="utf-8")
    tab.open(path)
    assert any("Content Security Policy" in one for one in tab.complaints)
    path.write_text(made.replace('"use strict";', '"use strict"; oops();'), encoding="utf-8")
    tab.open(path)
    assert tab.complaints
