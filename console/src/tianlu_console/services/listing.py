"""From a view of the catalogue to a list of services: filter, sort, count. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Final, Self
from urllib.parse import urlencode

from annotated_doc import Doc

from tianlu import CatalogView, ServiceView
from tianlu_console.errors import InvalidForm
from tianlu_console.text import N_, Text
from tianlu_console.web.listing import page_number, search_text


class Condition(StrEnum):
    """How a service is doing, in one word."""

    SERVING = "serving"
    """Every instance serves."""
    PARTLY = "partly"
    """Some do, some do not."""
    NONE_SERVING = "none_serving"
    """There are instances and none serves."""
    EMPTY = "empty"
    """Nothing is registered."""


class Show(StrEnum):
    """Which services the list shows."""

    ALL = "all"
    ATTENTION = "attention"
    """Those not wholly serving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """One line of the list."""

    namespace: Annotated[str, Doc("the service's namespace")]
    name: Annotated[str, Doc("the service's name")]
    description: Annotated[str, Doc("what its owner says it is for")]
    owner: Annotated[str, Doc("who answers for it")]
    condition: Annotated[Condition, Doc("how it is doing, in one word")]
    instances: Annotated[int, Doc("all registered instances, whatever their state")]
    serving: Annotated[int, Doc("up, alive, not isolated, weight above 0")]
    isolated: Annotated[int, Doc("kept from traffic by an operator")]
    suspect: Annotated[int, Doc("the registry has lost contact with their owner")]
    versions: Annotated[tuple[str, ...], Doc("versions that are registered, in order")]

    @property
    def other(self) -> int:
        """Instances that neither serve nor are isolated nor suspect: starting, draining, down or
        without weight.
        """
        return self.instances - self.serving - self.isolated - self.suspect


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts over the whole catalogue, whatever the filter."""

    services: Annotated[int, Doc("services, described or with instances")]
    instances: Annotated[int, Doc("all registered instances")]
    serving: Annotated[int, Doc("instances that serve")]
    isolated: Annotated[int, Doc("instances that an operator isolated")]
    suspect: Annotated[int, Doc("instances out of contact, not counting isolated ones")]
    attention: Annotated[int, Doc("services that are not wholly serving")]


_SORT_KEYS: Final[Mapping[str, Callable[[ServiceRow], Any]]] = {
    "name": lambda row: (row.name, row.namespace),
    "namespace": lambda row: (row.namespace, row.name),
    "serving": lambda row: (row.serving, row.name),
    "instances": lambda row: (row.instances, row.name),
    "isolated": lambda row: (row.isolated, row.name),
    "suspect": lambda row: (row.suspect, row.name),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceQuery:
    """What the address asks for. Holds only valid values: `parse` refuses others."""

    search: str = ""
    namespace: str = ""
    show: Show = Show.ALL
    sort: str = "name"
    descending: bool = False
    page: int = 1

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """Read `q`, `namespace`, `show`, `sort` (with "-" before it: descending) and `page`.

        Raises:
            InvalidForm: names the parameter that cannot be.
        """
        sort = parameters.get("sort") or "name"
        show = parameters.get("show") or Show.ALL
        if sort.removeprefix("-") not in _SORT_KEYS:
            raise InvalidForm(
                {"sort": Text(N_("One of: %(choices)s."), {"choices": ", ".join(_SORT_KEYS)})}
            )
        if show not in set(Show):
            raise InvalidForm(
                {"show": Text(N_("One of: %(choices)s."), {"choices": ", ".join(Show)})}
            )
        return cls(
            search=search_text(parameters),
            namespace=parameters.get("namespace", ""),
            show=Show(show),
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
            page=page_number(parameters),
        )

    @property
    def filtered(self) -> bool:
        """Whether some services may be left out."""
        return bool(self.search or self.namespace or self.show is not Show.ALL)

    def address(self, **changes: Any) -> str:  # noqa: ANN401 (any field of this class)
        """Return the query part of the address for this query with `changes`; "" if nothing differs
        from the default.
        """
        query = replace(self, **({"page": 1} | changes))
        parameters = {
            "q": query.search,
            "namespace": query.namespace,
            "show": "" if query.show is Show.ALL else query.show.value,
            "sort": "" if query.order == "name" else query.order,
            "page": "" if query.page == 1 else str(query.page),
        }
        encoded = urlencode({name: value for name, value in parameters.items() if value})
        return f"?{encoded}" if encoded else ""

    @property
    def order(self) -> str:
        """The parameter `sort`."""
        return f"-{self.sort}" if self.descending else self.sort

    def sorted_by(self, column: str) -> str:
        """Return the address that sorts by `column`; the other way round if the list is sorted by
        it already.
        """
        return self.address(sort=column, descending=column == self.sort and not self.descending)


def summarise(view: ServiceView) -> ServiceRow:
    """Count a service's instances. Each counts once: isolated before suspect before serving."""
    isolated = sum(1 for each in view.instances if each.isolated)
    suspect = sum(1 for each in view.instances if each.suspect and not each.isolated)
    serving = sum(1 for each in view.instances if each.serving)
    return ServiceRow(
        namespace=view.service.namespace,
        name=view.service.name,
        description=view.service.description,
        owner=view.service.owner,
        condition=condition_of(len(view.instances), serving),
        instances=len(view.instances),
        serving=serving,
        isolated=isolated,
        suspect=suspect,
        versions=tuple(sorted({each.version for each in view.instances if each.version})),
    )


def condition_of(instances: int, serving: int) -> Condition:
    """Return the word for so many serving out of so many instances."""
    if instances == 0:
        return Condition.EMPTY
    if serving == 0:
        return Condition.NONE_SERVING
    return Condition.SERVING if serving == instances else Condition.PARTLY


def select(rows: Iterable[ServiceRow], query: ServiceQuery) -> list[ServiceRow]:
    """Return the rows that `query` asks for, in its order."""
    chosen = [row for row in rows if _matches(row, query)]
    return sorted(chosen, key=_SORT_KEYS[query.sort], reverse=query.descending)


def count(rows: Iterable[ServiceRow]) -> Totals:
    """Add the rows up."""
    rows = tuple(rows)
    return Totals(
        services=len(rows),
        instances=sum(row.instances for row in rows),
        serving=sum(row.serving for row in rows),
        isolated=sum(row.isolated for row in rows),
        suspect=sum(row.suspect for row in rows),
        attention=sum(1 for row in rows if needs_attention(row)),
    )


def needs_attention(row: ServiceRow) -> bool:
    """Return whether some instance does not serve. An empty service waits for its first and needs
    none.
    """
    return row.condition in {Condition.PARTLY, Condition.NONE_SERVING}


def namespaces_of(view: CatalogView) -> tuple[str, ...]:
    """Return the namespaces that have services, in order."""
    return tuple(sorted({key.namespace for key in view.services}))


def _matches(row: ServiceRow, query: ServiceQuery) -> bool:
    if query.namespace and row.namespace != query.namespace:
        return False
    if query.show is Show.ATTENTION and not needs_attention(row):
        return False
    needle = query.search.casefold()
    return not needle or any(
        needle in text.casefold() for text in (row.name, row.description, row.owner)
    )
