"""Routes: which request goes to which Envoy cluster, for how long, and what is tried again.

A service's routes, in the order in which Envoy tries them:

    gRPC        content type application/grpc: its own port if there is one; the caller's deadline
                (grpc-timeout) is the only time limit
    tunnel      CONNECT, on the mesher only: bytes to an endpoint and back, for clients that open a
                tunnel to reach WebSocket through a proxy
    WebSocket   upgrades: open for an hour without a byte
    repeatable  GET, HEAD, OPTIONS, PUT, DELETE (idempotent: RFC 9110 section 9.2.2)
    the rest    POST, PATCH, …

A plain request has no limit on its whole time, because a download may be long, but fails with 504
when no byte moves for 5 minutes. Every request is tried again elsewhere if it surely did not reach
an endpoint (connection refused, stream refused, reset before it was sent); repeatable ones also if
the connection broke or a gateway's error (502, 503, 504) came back before any answer.

What all routes of a virtual host share stands in the virtual host, because the route configuration
holds all services: 1,000 of them should cost Envoy no more than they must when one comes or goes.

Source: Envoy, api/envoy/config/route/v3/route_components.proto; router filter, x-envoy-retry-on.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from google.protobuf.message import Message

from tianlu_mesher.envoy_api import message_class, packed
from tianlu_mesher.resources.control_hosts import REFUSAL, REFUSAL_STATUS
from tianlu_mesher.routing.ir import PortRoute
from tianlu_mesher.routing.role import ControlRoute, Repeat, Stream

_RouteConfiguration = message_class("envoy.config.route.v3.RouteConfiguration")
_VirtualHost = message_class("envoy.config.route.v3.VirtualHost")
_FilterConfig = message_class("envoy.config.route.v3.FilterConfig")
_PreviousHosts = message_class(
    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
)
_RouteList = message_class("envoy.config.route.v3.RouteList")
_Matcher = message_class("xds.type.matcher.v3.Matcher")
_HeaderInput = message_class("envoy.type.matcher.v3.HttpRequestHeaderMatchInput")
_Any = message_class("google.protobuf.Any")

ROUTE_CONFIGURATION: Final = "tianlu"
SAME_ORIGIN_FILTER: Final = "tianlu.same_origin"
SERVED_BY_HEADER: Final = "x-tianlu-served-by"
FORWARDED_PREFIX_HEADER: Final = "x-forwarded-prefix"

# Envoy itself sets or drops x-forwarded-for, x-forwarded-proto and most of x-envoy-*.
_PROXY_HEADERS: Final = (
    "forwarded",
    "x-envoy-attempt-count",
    "x-forwarded-host",
    "x-forwarded-port",
    FORWARDED_PREFIX_HEADER,
    "x-real-ip",
)

PLAIN_IDLE_TIMEOUT = timedelta(minutes=5)
STREAM_IDLE_TIMEOUT = timedelta(hours=1)
NEVER = timedelta(0)
RETRIES_MAX = 3
# A registry node answers reads in milliseconds, and within an election when there is one.
PATIENCE = timedelta(seconds=2)

_RETRY_ANY: Final = "connect-failure,refused-stream,reset-before-request"
_RETRY_REPEATABLE: Final = f"{_RETRY_ANY},reset,gateway-error"
# A registry node that cannot serve says so as gRPC, too: a status in the headers, with no message.
_RETRY_CONTROL: Final = f"{_RETRY_REPEATABLE},unavailable"
_READING_METHODS: Final = "GET|HEAD"
_REPEATABLE_METHODS: Final = "GET|HEAD|OPTIONS|PUT|DELETE"

Match = dict[str, Any]
# Field number and wire type of RouteConfiguration.virtual_hosts. Source: protobuf encoding guide.
_VIRTUAL_HOSTS_TAG: Final = bytes([_RouteConfiguration.VIRTUAL_HOSTS_FIELD_NUMBER << 3 | 2])


def head(*, edge: bool) -> bytes:
    """Return the serialized RouteConfiguration without its virtual hosts.

    Args:
        edge: whether callers are strangers, who must not say what only a proxy may say.
    """
    return _bytes(
        _RouteConfiguration(
            name=ROUTE_CONFIGURATION,
            ignore_port_in_host_matching=True,
            request_headers_to_remove=_PROXY_HEADERS if edge else (),
            # First what is removed here, then what a route adds.
            most_specific_header_mutations_wins=True,
            response_headers_to_add=[
                _header(SERVED_BY_HEADER, "%UPSTREAM_METADATA(tianlu:instance)%")
            ],
        )
    )


def routes_fragment(routes: Iterable[dict[str, Any]]) -> bytes:
    """Return a serialized VirtualHost that holds routes and nothing else.

    Serialized messages of one type that are joined make their union: fragments can be kept and
    joined, so that one changed service does not mean building the other 999 anew.
    Source: protobuf encoding guide, "Last One Wins".
    """
    return _bytes(_VirtualHost(routes=list(routes)))


def path_fragment(prefix: str, routes: Iterable[dict[str, Any]]) -> bytes:
    """Return a serialized VirtualHost that holds the routes of paths with `prefix` alone.

    Of all prefixes the longest one is found, in a tree: a list would be walked for each request,
    and cost 1 ms with 1,000 services. So the routes have to answer whatever begins with `prefix`.
    Source: xds/type/matcher/v3/matcher.proto, MatcherTree; fragments can be joined because
    embedded messages are merged too.
    """
    action = {"name": "routes", "typed_config": packed(_RouteList(routes=list(routes)))}
    found = _Matcher.OnMatch(action=action)
    tree = {"prefix_match_map": {"map": {prefix: found}}}
    return _bytes(_VirtualHost(matcher={"matcher_tree": tree}))


def path_tree() -> bytes:
    """Return a serialized VirtualHost that says what `path_fragment` compares: the path."""
    path = {"name": "path", "typed_config": packed(_HeaderInput(header_name=":path"))}
    return _bytes(_VirtualHost(matcher={"matcher_tree": {"input": path}}))


def virtual_host(name: str, domains: Iterable[str], fragments: bytes) -> bytes:
    """Return a serialized RouteConfiguration that holds one virtual host and nothing else.

    Args:
        fragments: from `routes_fragment`, or from `path_tree` and `path_fragment`; joined.
    """
    head = _VirtualHost(name=name, domains=list(domains), retry_policy=_retry_policy(_RETRY_ANY))
    content = _bytes(head) + fragments
    return _VIRTUAL_HOSTS_TAG + _varint(len(content)) + content


def host_routes(route: PortRoute, *, tunnels: bool) -> list[dict[str, Any]]:
    """Return the routes of a virtual host that belongs to one service.

    Args:
        tunnels: whether CONNECT is offered.
    """
    routes = _routes({"prefix": "/"}, route)
    if tunnels:
        routes.insert(1, _tunnel(route))
    return routes


def path_routes(path: str, route: PortRoute) -> list[dict[str, Any]]:
    """Return the routes of a service that stands under a path, such as "/s/default/orders".

    The service sees its own paths, and the path that was cut off in `x-forwarded-prefix`.
    """
    rewrite = {"prefix_rewrite": "/"}
    header = {"request_headers_to_add": [_header(FORWARDED_PREFIX_HEADER, path)]}
    below = _routes({"prefix": f"{path}/"}, route, rewrite)
    bare = _route({"path": path}, route.envoy_cluster, PLAIN_IDLE_TIMEOUT, rewrite)
    return [{**each, **header} for each in (*below, bare)]


def control_routes(route: ControlRoute, authorities: str) -> list[dict[str, Any]]:
    """Return the routes of a path of the control plane.

    Args:
        authorities: a pattern; who asks under another authority is refused.
    """
    match: Match = {"path": route.path} if route.exact else {"prefix": route.path}
    asked = {"name": ":authority", "string_match": {"safe_regex": {"regex": authorities}}}
    refusal = {"status": REFUSAL_STATUS, "body": {"inline_string": REFUSAL}}
    refused = {"match": match, "direct_response": refusal}
    headers = {**match, "headers": [asked]}
    if route.repeat is not Repeat.GETS:
        return [_control_route(route, headers, route.repeat), refused]
    gets = {**match, "headers": [asked, _method_in(_READING_METHODS)]}
    return [
        _control_route(route, gets, Repeat.READS),
        _control_route(route, headers, Repeat.UNSENT),
        refused,
    ]


def _control_route(route: ControlRoute, match: Match, repeat: Repeat) -> dict[str, Any]:
    if route.redirect:
        redirect = {"path_redirect": route.redirect, "response_code": "FOUND"}
        return {"match": match, "redirect": redirect}
    idle = NEVER if route.stream is Stream.LASTING else PLAIN_IDLE_TIMEOUT
    made = _route(match, route.envoy_cluster, idle)
    if repeat is not Repeat.UNSENT:
        made["route"]["retry_policy"] = _retry_policy(_RETRY_CONTROL)
    if repeat is Repeat.READS:
        # What is silent for so long is not given up: the first answer counts.
        made["route"]["retry_policy"]["per_try_timeout"] = PATIENCE
        made["route"]["hedge_policy"] = {"hedge_on_per_try_timeout": True}
    if route.same_origin_only:
        made["typed_per_filter_config"] = {
            SAME_ORIGIN_FILTER: _Any(**packed(_FilterConfig(config={})))
        }
    return made


def answer_route(prefix: str, status: int, text: str) -> dict[str, Any]:
    """Return a route that Envoy answers itself; the listener makes JSON of the text."""
    return {
        "match": {"prefix": prefix},
        "direct_response": {"status": status, "body": {"inline_string": text}},
    }


def _routes(
    match: Match, route: PortRoute, action: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    cluster = route.envoy_cluster
    grpc = _route({**match, "grpc": {}}, route.grpc_envoy_cluster, NEVER, action)
    grpc["route"]["max_stream_duration"] = {"grpc_timeout_header_max": NEVER}
    upgrade = {**match, "headers": [_header_is("upgrade", "websocket")]}
    websocket = _route(upgrade, cluster, STREAM_IDLE_TIMEOUT, action)
    by_method = {**match, "headers": [_method_in(_REPEATABLE_METHODS)]}
    repeatable = _route(by_method, cluster, PLAIN_IDLE_TIMEOUT, action)
    repeatable["route"]["retry_policy"] = _retry_policy(_RETRY_REPEATABLE)
    rest = _route(match, cluster, PLAIN_IDLE_TIMEOUT, action)
    return [grpc, websocket, repeatable, rest]


def _route(
    match: Match, cluster: str, idle_timeout: timedelta, action: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "match": match,
        "route": {
            "cluster": cluster,
            "timeout": NEVER,
            "idle_timeout": idle_timeout,
            **(action or {}),
        },
    }


def _tunnel(route: PortRoute) -> dict[str, Any]:
    made = _route({"connect_matcher": {}}, route.envoy_cluster, STREAM_IDLE_TIMEOUT)
    made["route"]["upgrade_configs"] = [{"upgrade_type": "CONNECT", "connect_config": {}}]
    return made


def _retry_policy(retry_on: str) -> dict[str, Any]:
    return {
        "retry_on": retry_on,
        "num_retries": {"value": RETRIES_MAX},
        "retry_back_off": {
            "base_interval": timedelta(milliseconds=10),
            "max_interval": timedelta(milliseconds=100),
        },
        # Never the same endpoint twice in a row while there are others.
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": packed(_PreviousHosts()),
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }


def _header(key: str, value: str) -> dict[str, Any]:
    return {
        "header": {"key": key, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _header_is(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"contains": value, "ignore_case": True}}


def _method_in(methods: str) -> dict[str, Any]:
    return {"name": ":method", "string_match": {"safe_regex": {"regex": methods}}}


def _varint(number: int) -> bytes:
    """Return `number` in protobuf's encoding of lengths."""
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    content.append(number)
    return bytes(content)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
