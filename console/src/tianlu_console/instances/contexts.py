"""The typed contexts of a service's page and of the forms on it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Annotated, Self
from urllib.parse import quote

from annotated_doc import Doc

from tianlu import LoadBalancer, Service, ServiceKey
from tianlu_console.audit.log import Subject
from tianlu_console.catalogue.source import Source
from tianlu_console.instances.query import InstanceQuery
from tianlu_console.instances.rows import InstanceRow
from tianlu_console.services.listing import ServiceRow
from tianlu_console.text import Text
from tianlu_console.web.listing import PageOf


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What a service's description says."""

    namespace: Annotated[str, Doc("the service's namespace")]
    name: Annotated[str, Doc("the service's name")]
    description: Annotated[str, Doc("what its owner says it is for")]
    owner: Annotated[str, Doc("who answers for it")]
    load_balancer: Annotated[LoadBalancer, Doc("how callers choose among its instances")]
    metadata: Annotated[dict[str, str], Doc("what its owner attached")]

    @classmethod
    def of(cls, service: Service) -> Self:
        """Take them from the catalogue's service."""
        return cls(
            namespace=service.namespace,
            name=service.name,
            description=service.description,
            owner=service.owner,
            load_balancer=service.load_balancer,
            metadata=dict(sorted(service.metadata.items())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancesPage:
    """The context of instances/list.html, and its JSON twin."""

    source: Annotated[Source, Doc("how fresh the page is, and its revision")]
    service: Annotated[ServiceFacts, Doc("what the service's description says")]
    counts: Annotated[ServiceRow, Doc("its instances counted, whatever the filter")]
    instances: Annotated[PageOf[InstanceRow], Doc("the rows that match, one page of them")]
    query: Annotated[InstanceQuery, Doc("what was asked for")] = field(metadata={"page_only": True})
    path: Annotated[str, Doc("the page's address without a query")] = field(
        metadata={"page_only": True}
    )

    def action_path(self, row: InstanceRow, action: str) -> str:
        """Return the address of an instance's form."""
        return instance_path(self.path, row.id, action)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePage:
    """The context of instances/restore.html."""

    subject: Annotated[Subject, Doc("the instance")]
    path: Annotated[str, Doc("the address of the service's page")]
    reason: Annotated[str, Doc("as typed so far")]
    reason_length_max: Annotated[int, Doc("in characters")]
    problems: Annotated[dict[str, Text], Doc("what is wrong, by field")]
    failure: Annotated[Text | None, Doc("why the registry or the console did not do it")]

    @property
    def action(self) -> str:
        """The form's address."""
        return instance_path(self.path, self.subject.instance, "restore")

    @property
    def command(self) -> str:
        """The command that does the same."""
        return _command("restore", self.subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatePage:
    """The context of instances/isolate.html."""

    subject: Annotated[Subject, Doc("the instance")]
    path: Annotated[str, Doc("the address of the service's page")]
    reason: Annotated[str, Doc("as typed so far")]
    reason_length_max: Annotated[int, Doc("in characters")]
    expires_seconds: Annotated[str, Doc("as chosen so far")]
    expiry_choices: Annotated[tuple[int, ...], Doc("after how long it may lift itself; 0: never")]
    problems: Annotated[dict[str, Text], Doc("what is wrong, by field")]
    failure: Annotated[Text | None, Doc("why the registry or the console did not do it")]

    @property
    def action(self) -> str:
        """The form's address."""
        return instance_path(self.path, self.subject.instance, "isolate")

    @property
    def command(self) -> str:
        """The command that does the same."""
        lifted = ("--for", self.expires_seconds) if self.expires_seconds != "0" else ()
        reason = self.reason.strip() or "REASON"
        return _command("isolate", self.subject, "--reason", reason, *lifted)


def service_path(base: str, key: ServiceKey) -> str:
    """Return the address of a service's page."""
    return f"{base}/services/{quote(key.namespace, safe='')}/{quote(key.name, safe='')}"


def instance_path(service: str, instance_id: str, action: str) -> str:
    """Return the address of an instance's form below its service's page."""
    return f"{service}/instances/{quote(instance_id, safe='')}/{action}"


def _command(verb: str, subject: Subject, *options: str) -> str:
    words = ["tianlu", "instance", verb, subject.service, subject.instance]
    return shlex.join([*words, "--namespace", subject.namespace, *options])
