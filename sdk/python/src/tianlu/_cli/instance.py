"""`tianlu instance`."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tianlu._cli import options
from tianlu._cli.calls import call, fail, pairs
from tianlu._cli.output import show, show_event
from tianlu._cli.service import INSTANCE_HEADER, instance_row
from tianlu._errors import InvalidInput
from tianlu._model import Instance, Port
from tianlu._view import Listing

if TYPE_CHECKING:
    from tianlu._client import AsyncClient

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List, register, isolate and remove instances."
)

DRAIN_SECONDS_DEFAULT: Final = 3.0

Reason = Annotated[str, typer.Option(help="Why: others will ask.")]
Actor = Annotated[str, typer.Option(envvar="USER", help="Who asks.")]


@app.command("list")
def list_(
    service: options.ServiceArgument,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """List all instances of a service, whatever their state.

    Examples:

      tianlu instance list orders

      tianlu instance list orders --output json
    """

    async def work(client: AsyncClient) -> Listing[Instance]:
        return await client.list_instances(service)

    found = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    rows = [instance_row(one) for one in found]
    show(output, {"revision": found.revision, "instances": found.items}, INSTANCE_HEADER, rows)


@app.command()
def register(
    service: options.ServiceArgument,
    port: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]NUMBER[/PROTOCOL]",
            help="A port: 9000, http=9000 or rpc=9001/grpc. The first is the default one.",
        ),
    ],
    address: Annotated[
        str | None,
        typer.Option(envvar="TIANLU_ADVERTISE_ADDRESS", help="Default: found by the route."),
    ] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Default: address:port.")] = None,
    version: Annotated[str, typer.Option()] = "",
    weight: Annotated[int, typer.Option(help="0 to 10000.")] = 100,
    zone: Annotated[str, typer.Option()] = "",
    metadata: options.Metadata = [],  # noqa: B006 - typer copies defaults
    drain_seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="For requests under way, when stopped.")
    ] = DRAIN_SECONDS_DEFAULT,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Register an instance and keep it registered until this command is stopped.

    For programs that cannot register themselves. Ctrl-C or SIGTERM drains and deregisters it.

    Examples:

      tianlu instance register legacy --port 9000

      tianlu instance register legacy --port http=9000 --port rpc=9001/grpc --version 2.1
    """
    try:
        ports = [parse_port(f"port[{index}]", text) for index, text in enumerate(port)]
        labels = pairs("metadata", metadata)
    except InvalidInput as error:
        fail(error)

    async def work(client: AsyncClient) -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        registration = await client.register(
            service,
            ports=ports,
            address=address,
            version=version,
            weight=weight,
            zone=zone,
            metadata=labels,
            id=id_,
        )
        one = registration.instance
        show_event(output, one, f"registered {one.service}.{one.namespace} {one.id}")
        await stopped.wait()
        typer.echo("tianlu: draining", err=True)
        await registration.deregister(drain_seconds)

    call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)


@app.command()
def deregister(
    service: options.ServiceArgument,
    instance: options.InstanceArgument,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Remove an instance, whoever registered it.

    Its owner may register it again. To keep traffic away for good, isolate it.

    Examples:

      tianlu instance deregister orders 10.0.0.7:9000
    """

    async def work(client: AsyncClient) -> int:
        return await client.deregister(service, instance)

    revision = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    show(
        output,
        {"service": service, "instance": instance, "revision": revision},
        ("DEREGISTERED", "REVISION"),
        [(instance, str(revision))],
    )


@app.command()
def isolate(
    service: options.ServiceArgument,
    instance: options.InstanceArgument,
    reason: Reason,
    actor: Actor = "",
    for_seconds: Annotated[
        float, typer.Option("--for", min=0, help="Lift it after so many seconds; 0: never.")
    ] = 0,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Keep traffic away from an instance until it is restored.

    Examples:

      tianlu instance isolate orders 10.0.0.7:9000 --reason "disk is failing"

      tianlu instance isolate orders 10.0.0.7:9000 --reason "heap dump" --for 600
    """
    expires = round((time.time() + for_seconds) * 1000) if for_seconds else 0

    async def work(client: AsyncClient) -> Instance:
        return await client.isolate(
            service, instance, reason=reason, actor=actor, expires_unix_ms=expires
        )

    one = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    show(output, one, INSTANCE_HEADER, [instance_row(one)])


@app.command()
def restore(
    service: options.ServiceArgument,
    instance: options.InstanceArgument,
    reason: Reason = "",
    actor: Actor = "",
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Lift an instance's isolation.

    Examples:

      tianlu instance restore orders 10.0.0.7:9000
    """

    async def work(client: AsyncClient) -> Instance:
        return await client.restore(service, instance, reason=reason, actor=actor)

    one = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    show(output, one, INSTANCE_HEADER, [instance_row(one)])


@app.command("set-weight")
def set_weight(
    service: options.ServiceArgument,
    instance: options.InstanceArgument,
    weight: Annotated[int, typer.Argument(help="0 to 10000; 0 takes no traffic.")],
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    namespace: options.Namespace = options.NAMESPACE_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Set an instance's weight: its share of traffic relative to the others.

    Examples:

      tianlu instance set-weight orders 10.0.0.7:9000 10
    """

    async def work(client: AsyncClient) -> Instance:
        return await client.set_weight(service, instance, weight)

    one = call(work, endpoints=endpoints, namespace=namespace, timeout_seconds=timeout)
    show(output, one, INSTANCE_HEADER, [instance_row(one)])


def parse_port(field: str, text: str) -> Port:
    """Read "9000", "http=9000" or "rpc=9001/grpc".

    Raises:
        InvalidInput: the number is none. Ranges and protocols are checked by `register`.
    """
    name, equals, rest = text.rpartition("=")
    number, _, protocol = rest.partition("/")
    if not number.isdecimal():
        raise InvalidInput(field, f"{text!r} is not [NAME=]NUMBER[/PROTOCOL]")
    protocol = protocol or "http"
    return Port(name if equals else protocol, int(number), protocol)
