"""What all lists share: pages, and queries that live in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Self, TypeVar

from annotated_doc import Doc

from tianlu_console.errors import InvalidForm
from tianlu_console.text import N_, Text

Item = TypeVar("Item")

SEARCH_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class PageOf(Generic[Item]):
    """One page of a list."""

    items: Annotated[tuple[Item, ...], Doc("what the page shows")]
    total: Annotated[int, Doc("how many match on all pages")]
    number: Annotated[int, Doc("this page's number, from 1")]
    pages: Annotated[int, Doc("how many pages there are, at least 1")]
    first: Annotated[int, Doc("position of the first item, from 1; 0 if there is none")]

    @classmethod
    def of(cls, everything: Sequence[Item], number: int, size: int) -> Self:
        """Cut page `number` out of a whole list; a number beyond the end means the last page."""
        span = span_of(len(everything), number, size)
        return cls.at(tuple(everything[span.offset : span.offset + size]), len(everything), span)

    @classmethod
    def at(cls, items: tuple[Item, ...], total: int, span: Span) -> Self:
        """Make a page of items that were already cut out."""
        return cls(items, total, span.number, span.pages, span.offset + 1 if items else 0)

    @property
    def last(self) -> int:
        """Position of the last item."""
        return self.first + len(self.items) - 1 if self.items else 0


@dataclass(frozen=True, slots=True)
class Span:
    """Where a page lies in its list."""

    number: int
    pages: int
    offset: int


def span_of(total: int, number: int, size: int) -> Span:
    """Return where page `number` of `total` items lies."""
    pages = max(1, -(-total // size))
    number = min(number, pages)
    return Span(number, pages, (number - 1) * size)


def page_number(parameters: Mapping[str, str]) -> int:
    """Read the parameter `page`. Raises `InvalidForm` unless it is a number from 1 on."""
    text = parameters.get("page") or "1"
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 9 or int(text) < 1:
        raise InvalidForm({"page": Text(N_("This must be a number from 1 on."))})
    return int(text)


def search_text(parameters: Mapping[str, str]) -> str:
    """Read the parameter `q`. Raises `InvalidForm` if it is longer than anything it could find."""
    text = parameters.get("q", "").strip()
    if len(text) > SEARCH_LENGTH_MAX:
        raise InvalidForm(
            {"q": Text(N_("Use at most %(count)d characters."), {"count": SEARCH_LENGTH_MAX})}
        )
    return text
