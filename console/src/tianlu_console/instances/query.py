"""Which instances a service's page shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from tianlu_console.errors import InvalidForm
from tianlu_console.instances.rows import InstanceRow, TrafficState
from tianlu_console.text import N_, Text
from tianlu_console.web.listing import page_number, search_text


class ShowInstances(StrEnum):
    """Which instances the page shows."""

    ALL = "all"
    ATTENTION = "attention"
    """Those that do not serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceQuery:
    """What the address asks for. Holds only valid values: `parse` refuses others."""

    search: str = ""
    show: ShowInstances = ShowInstances.ALL
    page: int = 1

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """Read `q`, `show` and `page`. Raises `InvalidForm`, which names the parameter that cannot
        be.
        """
        show = parameters.get("show") or ShowInstances.ALL
        if show not in set(ShowInstances):
            choices = ", ".join(ShowInstances)
            raise InvalidForm({"show": Text(N_("One of: %(choices)s."), {"choices": choices})})
        return cls(
            search=search_text(parameters), show=ShowInstances(show), page=page_number(parameters)
        )

    @classmethod
    def of_address(cls, address: str) -> Self:
        """Return the query of a page's address, as the browser reports it; the default one if it
        cannot be read.
        """
        try:
            return cls.parse(dict(parse_qsl(urlsplit(address).query)))
        except (ValueError, InvalidForm):
            return cls()

    @property
    def filtered(self) -> bool:
        """Whether some instances may be left out."""
        return bool(self.search or self.show is not ShowInstances.ALL)

    def address(self, **changes: Any) -> str:  # noqa: ANN401 (any field of this class)
        """Return the query part of the address for this query with `changes`."""
        query = replace(self, **({"page": 1} | changes))
        parameters = {
            "q": query.search,
            "show": "" if query.show is ShowInstances.ALL else query.show.value,
            "page": "" if query.page == 1 else str(query.page),
        }
        encoded = urlencode({name: value for name, value in parameters.items() if value})
        return f"?{encoded}" if encoded else ""


def select(rows: Iterable[InstanceRow], query: InstanceQuery) -> list[InstanceRow]:
    """Return the rows that `query` asks for, in their order."""
    return [row for row in rows if _matches(row, query)]


def _matches(row: InstanceRow, query: InstanceQuery) -> bool:
    if query.show is ShowInstances.ATTENTION and row.state is TrafficState.SERVING:
        return False
    needle = query.search.casefold()
    texts = (
        row.id,
        row.address,
        row.version,
        row.zone,
        *(f"{key}={value}" for key, value in row.metadata.items()),
    )
    return not needle or any(needle in text.casefold() for text in texts)
