"""`tianlu service`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tianlu._cli import options
from tianlu._cli.calls import call, fail, pairs
from tianlu._cli.output import show, show_data, state_of, table
from tianlu._errors import InvalidInput
from tianlu._model import Instance, LoadBalancer, Service, ServiceSummary
from tianlu._view import Listing

if TYPE_CHECKING:
    from tianlu._client import AsyncClient

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List, show, describe and delete services."
)

INSTANCE_HEADER = ("INSTANCE", "ADDRESS", "VERSION", "WEIGHT", "ZONE", "STATE", "REASON")


@app.command("list")
def list_(
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="List all namespaces.")
    ] = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """List services with the counts of their instances.

    Examples:

      tianlu service list

      tianlu service list --all-namespaces --output json
    """

    async def work(client: AsyncClient) -> Listing[ServiceSummary]:
        return await client.list_services("" if all_namespaces else None)

    found = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    rows = [
        (
            one.service.namespace,
            one.service.name,
            f"{one.serving}/{one.instances}",
            str(one.isolated),
            str(one.suspect),
            " ".join(one.versions),
            one.service.description,
        )
        for one in found
    ]
    header = (
        "NAMESPACE",
        "SERVICE",
        "SERVING",
        "ISOLATED",
        "SUSPECT",
        "VERSIONS",
        "DESCRIPTION",
    )
    show(output, {"revision": found.revision, "services": found.items}, header, rows)


@app.command("show")
def show_(
    service: options.ServiceArgument,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Show a service and its instances.

    Examples:

      tianlu service show orders

      tianlu service show orders.staging --output yaml
    """

    async def work(client: AsyncClient) -> tuple[ServiceSummary, Listing[Instance]]:
        summary = await client.get_service(service)
        return summary, await client.list_instances(service)

    summary, instances = call(
        work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout
    )
    if output is not options.Output.TABLE:
        data = {"revision": instances.revision, "service": summary.service}
        show_data(output, {**data, "instances": instances.items})
        return
    described = summary.service
    for name, value in (
        ("service", f"{described.name}.{described.namespace}"),
        ("description", described.description),
        ("owner", described.owner),
        ("load balancer", described.load_balancer.value),
        ("metadata", " ".join(f"{key}={value}" for key, value in described.metadata.items())),
        ("serving", f"{summary.serving} of {summary.instances}"),
    ):
        typer.echo(f"{name:<14} {value or '-'}")
    typer.echo()
    typer.echo(table(INSTANCE_HEADER, [instance_row(one) for one in instances]), nl=False)


@app.command()
def put(
    service: options.ServiceArgument,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    owner: Annotated[str, typer.Option(help="Who answers for it.")] = "",
    load_balancer: Annotated[
        LoadBalancer, typer.Option(help="How callers choose among its instances.")
    ] = LoadBalancer.LEAST_REQUEST,
    metadata: options.Metadata = [],  # noqa: B006 - typer copies defaults
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Describe a service; replaces what its description said before.

    Examples:

      tianlu service put orders --description "Takes orders" --owner shop-team

      tianlu service put orders --load-balancer round_robin --metadata tier=1
    """
    try:
        labels = pairs("metadata", metadata)
    except InvalidInput as error:
        fail(error)

    async def work(client: AsyncClient) -> Service:
        key = client.service_key(service)
        described = Service(key.namespace, key.name, description, owner, load_balancer, labels)
        return await client.put_service(described)

    put_ = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    row = (put_.namespace, put_.name, str(put_.mod_revision))
    show(output, put_, ("NAMESPACE", "SERVICE", "REVISION"), [row])


@app.command()
def delete(
    service: options.ServiceArgument,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Delete a service's description. Refused while it has instances.

    Examples:

      tianlu service delete orders
    """

    async def work(client: AsyncClient) -> int:
        return await client.delete_service(service)

    revision = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    show(
        output,
        {"service": service, "revision": revision},
        ("DELETED", "REVISION"),
        [(service, str(revision))],
    )


def instance_row(instance: Instance) -> tuple[str, ...]:
    """Return an instance's row under INSTANCE_HEADER."""
    reason = instance.override.reason if instance.isolated and instance.override else ""
    return (
        instance.id,
        instance.authority() if instance.ports else instance.address,
        instance.version,
        str(instance.weight),
        instance.zone,
        state_of(instance),
        reason or (instance.health.reason if instance.suspect else ""),
    )
