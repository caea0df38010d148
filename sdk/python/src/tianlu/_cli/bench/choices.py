"""Options that all benchmarks share, and what is made of them."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Final

import typer

from tianlu._cli.access import credentials
from tianlu._cli.bench.call import Caller
from tianlu._cli.bench.phases import ServerMeter
from tianlu._cli.bench.progress import progress
from tianlu._cli.bench.runs import Setting
from tianlu._cli.bench.target import Target
from tianlu._credentials import Credentials
from tianlu._endpoint import Endpoint, parse_endpoints
from tianlu._errors import Conflict
from tianlu._proto.etcd import rpc_pb2 as etcd

SECONDS_DEFAULT: Final = 10.0
_AUTHENTICATE: Final = "/etcdserverpb.Auth/Authenticate"
_NOT_ENABLED: Final = "authentication is not enabled"

Connections = Annotated[int, typer.Option(min=1, max=20_000, help="Connections in all.")]
Seconds = Annotated[
    float, typer.Option(min=0.1, max=24 * 3600.0, help="How long to measure, at most.")
]
Total = Annotated[int, typer.Option(min=0, help="End after so many; 0: after --seconds.")]
Rate = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="So many a second, whether or not the server keeps up (latencies count from when each "
        "was due); 0: as many as it answers.",
    ),
]
ValueBytes = Annotated[int, typer.Option(min=0, max=1_400_000, help="Size of each value.")]
Seed = Annotated[int, typer.Option(help="Which keys are chosen, in which order.")]
Processes = Annotated[
    int, typer.Option(min=1, max=256, help="Worker processes that drive the load.")
]
Prefix = Annotated[
    str, typer.Option(help="Of all keys that it makes; ends with a slash. Others are not touched.")
]
Keep = Annotated[bool, typer.Option("--keep", help="Leave keys and leases there.")]
ServerPid = Annotated[
    int | None,
    typer.Option(
        min=1, help="The server's first process, if it is on this machine: measure its CPU too."
    ),
]


def setting(
    *,
    endpoints: str,
    timeout_seconds: float,
    processes: int,
    prefix: str,
    keep: bool,
    server_pid: int | None,
) -> Setting:
    """Return what all benchmarks need, logging in if a user is named.

    Raises:
        TianluError: an option cannot be, or the server refuses the user.
    """
    who = credentials()
    given = parse_endpoints(endpoints)
    token = _log_in(given[0], who, timeout_seconds) if who.user else who.token
    return Setting(
        targets=[Target(endpoint, who, token, timeout_seconds) for endpoint in given],
        processes=processes,
        prefix=prefix,
        keep=keep,
        meter=ServerMeter(server_pid),
        watcher=progress(),
    )


def _log_in(endpoint: Endpoint, who: Credentials, timeout_seconds: float) -> str:
    """Return a token for the user; none while authentication is off."""
    request = etcd.AuthenticateRequest(name=who.user, password=who.read_password())
    try:
        with closing(Caller(Target(endpoint, who, "", timeout_seconds))) as caller:
            return caller.call(_AUTHENTICATE, request, etcd.AuthenticateResponse).token
    except Conflict as error:
        if _NOT_ENABLED in str(error):
            return ""
        raise
