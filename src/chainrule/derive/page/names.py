"""What the parts of a page call each other: a key for each step and argument, and who reads whom."""

from __future__ import annotations

from chainrule.derive.derivation import Derivation, Input, Item
from chainrule.derive.page.markup import Markup, element, joined
from chainrule.derive.prose import tells_more

__all__ = ["Names", "shape_of"]


def shape_of(shape: tuple[int, ...]) -> str:
    """``6 × 5``, never broken over lines, or ``number`` where there are no axes."""
    return "\u00a0×\u00a0".join(map(str, shape)) if shape else "number"


class Names:
    """The keys of a derivation's items and inputs: ``i3-1`` for the item 3.1, ``a2`` for the second argument."""

    def __init__(self, derivation: Derivation) -> None:
        self.derivation = derivation
        #: The item that shows the step with a label: itself, or the one that is not worth opening.
        self.items: dict[str, Item] = {}
        #: Every item that is shown, from the outside in.
        self.shown: list[Item] = []
        self._inputs = {id(one): f"a{number}" for number, one in enumerate(derivation.inputs, start=1)}
        self._by_name: dict[str, str] = {one.name: self._inputs[id(one)] for one in derivation.inputs}
        for item in derivation.items:
            self._by_name.setdefault(item.name, self.key(item))
        for item in derivation.items:
            self._note(item, item)

    def _note(self, item: Item, shown: Item) -> None:
        self.items[item.label] = shown
        self._by_name.setdefault(item.name, self.key(shown))
        if item is shown:
            self.shown.append(item)
        within = self.inside(item)
        for one in (*item.parts, *item.body):
            self._note(one, one if one in within else shown)

    @staticmethod
    def inside(item: Item) -> tuple[Item, ...]:
        """What is shown when the item is opened."""
        if item.kind == "loop":
            return item.body
        return item.parts if tells_more(item) else ()

    def key(self, one: Item | Input) -> str:
        """The key of an item or an argument."""
        return self._inputs[id(one)] if isinstance(one, Input) else self.key_of(one.label)

    @staticmethod
    def key_of(label: str) -> str:
        """The key of the item with this label."""
        return "i" + label.replace(".", "-")

    def link_named(self, name: str, text: object = None) -> Markup:
        """A link to the card of the argument or step of this name; without one, the name."""
        shown = element("code", name) if text is None else text
        key = self._by_name.get(name)
        return joined(shown) if key is None else element("a", shown, href=f"#card-{key}", data_key=key)

    def readers(self, one: Item | Input) -> list[str]:
        """The keys of the items that read it, each once, in order."""
        name = one.name
        if isinstance(one, Item):
            found = [self.key(self.items[label]) for label in one.consumers if label in self.items]
            return [key for key in dict.fromkeys(found) if key != self.key(one)]
        return list(dict.fromkeys(self.key(item) for item in self.shown if name in item.reads))

    def link(self, label: str, text: object = None) -> Markup:
        """A link to the card of the item with this label, by its name unless something else is said."""
        item = self.items.get(label)
        if item is None:
            return element("code", label if text is None else text)
        shown = element("code", item.name) if text is None else text
        return element("a", shown, href=f"#card-{self.key(item)}", data_key=self.key(item))
