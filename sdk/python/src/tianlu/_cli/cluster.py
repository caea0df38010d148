"""`tianlu cluster`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer

from tianlu._cli import options
from tianlu._cli.calls import fail
from tianlu._cli.cluster_calls import ask_cluster
from tianlu._cli.cluster_doctor import doctor
from tianlu._cli.output import Data, bytes_text, show, show_data, to_data
from tianlu._cluster.changes import Change, ClusterChanges
from tianlu._cluster.model import Member, MemberView, Survey
from tianlu._cluster.node import Nodes
from tianlu._cluster.survey import survey
from tianlu._endpoint import Endpoint
from tianlu._errors import InvalidInput

T = TypeVar("T")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="See, change and heal the cluster of registry nodes. Works with any etcd v3 cluster.",
)
member_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List, add, change and remove members."
)
app.add_typer(member_app, name="member")
app.command()(doctor)

STATUS_HEADER = (
    "ENDPOINT",
    "ID",
    "NAME",
    "VERSION",
    "DB SIZE",
    "LEADER",
    "LEARNER",
    "TERM",
    "INDEX",
    "APPLIED",
    "ERRORS",
)
MEMBER_HEADER = ("ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "LEARNER")

MemberArgument = Annotated[str, typer.Argument(metavar="MEMBER", help="Name or hexadecimal id.")]
PeerUrls = Annotated[
    str,
    typer.Option(
        "--peer-urls", metavar="URL[,URL]", help="Where the other members reach it: http://h:2380."
    ),
]


@app.command()
def status(
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Show every member: where it is, whether it answers, who leads, how far each has come.

    Asks the endpoints for the members, and each member itself. A member that cannot be reached is
    shown with the reason; exit status 3 only if no endpoint answers.

    Examples:

      tianlu cluster status

      tianlu cluster status --endpoints 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379 --output json
    """

    async def look(nodes: Nodes, given: Sequence[Endpoint]) -> Survey:
        found = await survey(nodes, given)
        found.check_answered()
        return found

    found = ask_cluster(look, endpoints=endpoints, timeout_seconds=timeout)
    show(output, _status_data(found), STATUS_HEADER, [_status_row(one) for one in found.members])
    for stranger in found.strangers:
        typer.echo(
            f"tianlu: {stranger.endpoint} answers, and is no member of cluster {found.cluster}",
            err=True,
        )


@member_app.command("list")
def list_(
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """List the members as the cluster agrees on them.

    Without a leader there is no agreement: `tianlu cluster status` asks each member then.

    Examples:

      tianlu cluster member list
    """
    found = _change(ClusterChanges.members, endpoints, timeout)
    data = {"cluster_id": found.cluster, "members": found.members}
    show(output, data, MEMBER_HEADER, [_member_row(one) for one in found.members])


@member_app.command()
def add(
    name: Annotated[str, typer.Argument(help="The name that it will be started with.")],
    peer_urls: PeerUrls,
    learner: Annotated[
        bool,
        typer.Option("--learner", help="It follows without a vote until it is promoted: safer."),
    ] = False,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Add a member, and print what to start it with.

    Examples:

      tianlu cluster member add n4 --peer-urls http://10.0.0.4:2380 --learner
    """
    urls = _urls(peer_urls)
    found = _change(lambda changes: changes.add(urls, learner=learner), endpoints, timeout)
    settings = start_settings(found, name)
    if output is not options.Output.TABLE:
        show_data(output, {**_change_data(found), "start_with": settings})
        return
    _show_change(found, output)
    typer.echo("\nStart it, with an empty data directory, with these flags:\n")
    for setting, value in settings.items():
        typer.echo(f"  --{setting.replace('_', '-')}={value}")
    typer.echo("\nor in its environment:\n")
    for setting, value in settings.items():
        typer.echo(f'  TIANLU_{setting.upper()}="{value}"')
    if learner:
        promote_it = f"tianlu cluster member promote {found.member.id}"
        typer.echo(f"\nOnce it has caught up: {promote_it}")


@member_app.command()
def remove(
    member: MemberArgument,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Remove a member for ever. To bring the machine back, add it anew with an empty directory.

    Examples:

      tianlu cluster member remove n3
    """
    _show_change(_change(lambda changes: changes.remove(member), endpoints, timeout), output)


@member_app.command()
def update(
    member: MemberArgument,
    peer_urls: PeerUrls,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Tell the cluster that a member's peers are to reach it elsewhere.

    Examples:

      tianlu cluster member update n3 --peer-urls http://10.0.0.33:2380
    """
    urls = _urls(peer_urls)
    _show_change(_change(lambda changes: changes.update(member, urls), endpoints, timeout), output)


@member_app.command()
def promote(
    member: MemberArgument,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Give a learner a vote, once it has caught up with the leader.

    Examples:

      tianlu cluster member promote n4
    """
    _show_change(_change(lambda changes: changes.promote(member), endpoints, timeout), output)


@app.command("transfer-leader")
def transfer_leader(
    member: Annotated[
        str | None,
        typer.Argument(
            metavar="[MEMBER]",
            help="Who shall lead; the follower that has most of the log if not given.",
            show_default=False,
        ),
    ] = None,
    endpoints: options.Endpoints = options.ENDPOINTS_DEFAULT,
    output: options.OutputOption = options.Output.TABLE,
    timeout: options.Timeout = options.TIMEOUT_DEFAULT,
) -> None:
    """Hand leadership to another member, such as before the leader's machine is stopped.

    Examples:

      tianlu cluster transfer-leader

      tianlu cluster transfer-leader n2
    """

    done = _change(lambda changes: changes.transfer_leader(member), endpoints, timeout)
    before, leader = done.leader_before, done.leader
    header = ("LEADER", "NAME", "BEFORE", "NAME BEFORE")
    show(output, done, header, [(leader.id, leader.name, before.id, before.name)])


def start_settings(after: Change, name: str) -> dict[str, str]:
    """Return what a member that was just added is started with, by flag. etcd has the same."""
    new = after.member
    pairs = [
        f"{name if one.id == new.id else one.name}={url}"
        for one in after.members
        for url in one.peer_urls
    ]
    urls = ",".join(new.peer_urls)
    return {
        "name": name,
        "initial_cluster": ",".join(pairs),
        "initial_cluster_state": "existing",
        "initial_advertise_peer_urls": urls,
        "listen_peer_urls": urls,
    }


def _change(
    work: Callable[[ClusterChanges], Awaitable[T]], endpoints: str, timeout_seconds: float
) -> T:
    return ask_cluster(
        lambda nodes, given: work(ClusterChanges(nodes, given)),
        endpoints=endpoints,
        timeout_seconds=timeout_seconds,
    )


def _urls(text: str) -> list[str]:
    urls = [url.strip() for url in text.split(",")]
    for url in urls:
        if "://" not in url:
            fail(InvalidInput("--peer-urls", f"{url!r} is no URL such as http://10.0.0.4:2380"))
    return urls


def _show_change(found: Change, output: options.Output) -> None:
    show(output, _change_data(found), MEMBER_HEADER, [_member_row(one) for one in found.members])


def _change_data(found: Change) -> dict[str, Data]:
    return {
        "cluster_id": found.cluster,
        "member": to_data(found.member),
        "members": to_data(found.members),
    }


def _member_row(member: Member) -> tuple[str, ...]:
    return (
        member.id,
        "started" if member.started else "unstarted",
        member.name,
        ",".join(member.peer_urls),
        ",".join(member.client_urls),
        _yes(member.learner),
    )


def _status_row(view: MemberView) -> tuple[str, ...]:
    member, answer, status = view.member, view.answer, view.status
    if answer is None or status is None:
        endpoint = answer.endpoint if answer is not None else ""
        unknown = ("",) * 3
        learner = _yes(member.learner)
        return (endpoint, member.id, member.name, *unknown, learner, *unknown, view.trouble)
    return (
        answer.endpoint,
        member.id,
        member.name,
        status.version,
        bytes_text(status.size),
        _yes(status.leader == member.id),
        _yes(status.learner),
        str(status.term),
        str(status.index),
        str(status.applied),
        view.trouble,
    )


def _status_data(found: Survey) -> dict[str, object]:
    return {
        "cluster_id": found.cluster,
        "leader": found.leader.id if found.leader is not None else None,
        "members": [
            {
                "member": view.member,
                "endpoint": view.answer.endpoint if view.answer is not None else None,
                "error": "" if view.status else view.trouble,
                "status": view.status,
            }
            for view in found.members
        ],
        "strangers": [{"endpoint": one.endpoint, "status": one.status} for one in found.strangers],
    }


def _yes(true: bool) -> str:
    return "yes" if true else ""
