"""The answers that Envoy gives by itself: JSON, or a gRPC status, that says what is wrong.

A gRPC caller is shown the message alone, for its library puts it into the status' text.

Source: Envoy, "Local reply modification"; response flags in "Access logging".
"""

from __future__ import annotations

from typing import Any, Final

_ASKED: Final = "%REQ(:METHOD)% %REQ(:AUTHORITY)%%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"
_IS_GRPC: Final = {
    "header_filter": {
        "header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    }
}
_RUNTIME_KEY: Final = "tianlu.local_reply"  # Envoy wants a name; nothing ever sets it


def local_reply_config() -> dict[str, Any]:
    """Return the HTTP connection manager's local_reply_config.

    The first mapper that matches is used. Flags: NR no route, UH no healthy upstream, NC no
    cluster, UO overflow (circuit breaker), UF connection failure, UC connection termination,
    UR remote reset, LR local reset, URX retry limit, UT response timeout, SI stream idle timeout,
    DT duration timeout.
    """
    mappers = [
        _by_flags(
            "service_unknown",
            "no service is registered under this name; ask for SERVICE.NAMESPACE",
            "NR",
        ),
        _by_flags("no_instance", "the service has no instance that takes traffic now", "UH"),
        _by_flags("not_ready", "the route is known and its endpoints are not yet", "NC"),
        _by_flags("overloaded", "too many requests wait for this service", "UO"),
        _by_flags("timeout", "the instance did not answer in time", "UT", "SI", "DT"),
        _by_flags(
            "instance_failed",
            "the connection to %UPSTREAM_CLUSTER% failed (%RESPONSE_CODE_DETAILS%)",
            "UF",
            "UC",
            "UR",
            "LR",
            "URX",
        ),
        _by_status("not_allowed", 403),
        _by_status("not_found", 404),
        _by_status("misdirected", 421),
        _by_status("not_ready", 503),
        _by_least_status("bad_request", 400),
    ]
    return {"mappers": [each for pair in mappers for each in pair]}


def _by_flags(error: str, message: str, *flags: str) -> list[dict[str, Any]]:
    return _mappers({"response_flag_filter": {"flags": list(flags)}}, error, message)


def _by_status(error: str, status: int) -> list[dict[str, Any]]:
    return _mappers(_status_filter("EQ", status), error, "%LOCAL_REPLY_BODY%")


def _by_least_status(error: str, status: int) -> list[dict[str, Any]]:
    return _mappers(
        _status_filter("GE", status), error, "%LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)"
    )


def _status_filter(operator: str, status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": _RUNTIME_KEY}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _mappers(match: dict[str, Any], error: str, message: str) -> list[dict[str, Any]]:
    """Return the mapper for gRPC callers, and the one for all others."""
    fields = {"error": error, "message": message, "asked": _ASKED, "status": "%RESPONSE_CODE%"}
    return [
        {
            "filter": {"and_filter": {"filters": [match, _IS_GRPC]}},
            "body_format_override": {"text_format_source": {"inline_string": message}},
        },
        {
            "filter": match,
            "body_format_override": {
                "json_format": fields,
                "content_type": "application/json; charset=utf-8",
            },
        },
    ]
