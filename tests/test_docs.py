"""README and documentation are executed, and what they say a block prints is what it prints.

The ``python`` blocks of a page run in order, in one namespace, in an empty folder. In the page's source,
``<!-- not executed: reason -->`` before a block leaves it out, and ``<!-- output -->`` after a block announces a
``text`` or ``pycon`` fence that holds what the block prints.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import re
import sys
import textwrap
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.exists()]

FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
COMMENT = re.compile(r"^\s*<!--\s*(?P<text>.*?)\s*-->\s*$")
PYTHON = {"python", "python3", "py"}
OUTPUT = {"text", "pycon"}


class PageError(AssertionError):
    """A page does not keep its word; the message begins with page and line."""


@dataclass
class Block:
    """One fence of a page: its language, its lines, the line of its first line, and the comment before it."""

    language: str
    code: str
    line: int
    comment: str | None
    follows: bool  # nothing but blank lines and the comment between this fence and the one before

    def comment_says(self, word: str) -> bool:
        return self.comment is not None and self.comment.split(":")[0].strip() == word


def blocks(page: Path) -> Iterator[Block]:
    """The fences of a page, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    comment: str | None = None
    follows = False
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        opening = FENCE.match(line)
        if opening is None:
            said = COMMENT.match(line)
            if said is not None:
                if comment is not None and comment.split(":")[0].strip() == "output":
                    raise PageError(f"{page}:{at}: no fence follows <!-- output -->")
                comment = said["text"]
            elif line.strip():
                if comment is not None and comment.split(":")[0].strip() in {"output", "not executed"}:
                    raise PageError(f"{page}:{at}: no fence follows <!-- {comment} -->")
                comment, follows = None, False
            continue
        first, fence = at, opening["fence"]
        closing = re.compile(rf"^\s*{re.escape(fence[0])}{{{len(fence)},}}\s*$")
        while at < len(lines) and not closing.match(lines[at]):
            at += 1
        if at == len(lines):
            raise PageError(f"{page}:{first}: the fence is never closed")
        language = re.match(r"[{. ]*([\w+-]*)", opening["info"])
        code = textwrap.dedent("\n".join(lines[first:at]))
        yield Block(language[1].lower() if language else "", code, first + 1, comment, follows)
        at += 1
        comment, follows = None, True
    if comment is not None and comment.split(":")[0].strip() == "output":
        raise PageError(f"{page}:{at}: no fence follows <!-- output -->")


def trimmed(text: str) -> str:
    """Without white space at the ends of lines and empty lines at the ends of the text."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def run_page(page: Path, name: str) -> int:
    """Execute the Python of a page and hold its outputs; how many blocks were run."""
    found = list(blocks(page))
    module = types.ModuleType(f"page_{re.sub(r'[^0-9a-zA-Z]+', '_', name)}")
    # linecache knows the code at its lines of the page: tracebacks point into the page, and inspect.getsource works.
    source = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for block in found:
        if block.language in PYTHON:
            source[block.line - 1 : block.line - 1 + block.code.count("\n") + 1] = block.code.split("\n")
    linecache.cache[name] = (sum(map(len, source)), None, [line + "\n" for line in source], name)
    sys.modules[module.__name__] = module
    before = ""
    printed: str | None = None
    count = 0
    try:
        for block in found:
            if block.comment_says("output"):
                if block.language not in OUTPUT or before not in PYTHON or not block.follows:
                    raise PageError(f"{name}:{block.line}: <!-- output --> belongs between a python and a text fence")
                if printed is not None and trimmed(printed) != trimmed(block.code):
                    raise PageError(f"{name}:{block.line}: the page says\n\n{block.code}\n\nbut it prints\n\n{printed}")
            before, printed = block.language, None
            if block.language not in PYTHON:
                continue
            if block.comment_says("not executed"):
                if not re.search(r":\s*\w", block.comment or ""):
                    raise PageError(f"{name}:{block.line}: <!-- not executed: --> gives no reason")
                continue
            printed = run_block(block, name, module)
            count += 1
    finally:
        del sys.modules[module.__name__]
    return count


def run_block(block: Block, name: str, module: types.ModuleType) -> str:
    """Execute one block in the namespace of its page; what it printed."""
    code = compile("\n" * (block.line - 1) + block.code, name, "exec", dont_inherit=True)
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        exec(code, module.__dict__)
    return written.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs_and_prints_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, str(page.relative_to(ROOT)))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], int]:
    """Write a page and run it."""

    def run(text: str) -> int:
        page = tmp_path / "page.md"
        page.write_text(textwrap.dedent(text).replace("'''", "```"), encoding="utf-8")
        return run_page(page, "page.md")

    return run


GOOD = """
    # A page

    '''python
    import dataclasses, inspect
    x = 2
    def double(y):
        return 2 * y
    '''

    Words between.

    '''python
    print("double", double(x))
    '''

    <!-- output -->
    '''text
    double 4
    '''

    <!-- not executed: no such module on any machine -->
    '''python
    import no_such_module
    '''

    1. in a list

       '''python
       print(inspect.getsource(double), end="")
       '''
       <!-- output -->
       '''text
       def double(y):
           return 2 * y
       '''

    '''bash
    not python at all
    '''
"""


def test_a_good_page_passes(write: Callable[[str], int]) -> None:
    assert write(GOOD) == 3


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("double 4", "double 5", r"page.md:19: the page says\s+double 5\s+but it prints\s+double 4"),
        ("double 4\n", "double 4\n    and more\n", "the page says"),
        ("executed: no such module on any machine", "executed:", "gives no reason"),
        ("executed: no such module on any machine", "executed", "gives no reason"),
        ("'''text\n    double 4\n    '''", "Words.", "no fence follows"),
        ("'''text\n    double 4", "'''bash\n    double 4", "belongs between"),
        (
            "<!-- output -->\n    '''text\n    double",
            "More words.\n\n    <!-- output -->\n    '''text\n    double",
            "belongs",
        ),
        ("'''python\n    print(", "'''bash\n    print(", "belongs between"),
        ("not python at all\n    '''", "not python at all", "never closed"),
    ],
)
def test_a_page_that_does_not_keep_its_word_fails(
    write: Callable[[str], int], right: str, wrong: str, message: str
) -> None:
    assert right in GOOD
    with pytest.raises(PageError, match=message):
        write(GOOD.replace(right, wrong, 1))


def test_an_error_points_into_the_page(write: Callable[[str], int]) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        write(GOOD.replace("return 2 * y", "return y / 0", 1))
    assert [(str(entry.path), entry.lineno + 1) for entry in caught.traceback[-2:]] == [("page.md", 14), ("page.md", 8)]
    assert "return y / 0" in "".join(traceback.format_exception(caught.value))


def test_a_block_that_is_not_left_out_is_executed(write: Callable[[str], int]) -> None:
    with pytest.raises(ModuleNotFoundError):
        write(GOOD.replace("<!-- not executed: no such module on any machine -->", ""))


def test_nothing_is_left_behind(write: Callable[[str], int]) -> None:
    before = set(sys.modules)
    write(GOOD)
    assert not {name for name in set(sys.modules) - before if name.startswith("page_")}
