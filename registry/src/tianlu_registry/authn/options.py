"""The flag --auth-token: ``simple``, or ``jwt,pub-key=F,priv-key=F,sign-method=M,ttl=10m``.

Source: etcd server/auth/store.go (`decomposeOpts`), options.go.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

from tianlu_registry.authn.tokens import TTL_SECONDS, SimpleTokens, Tokens
from tianlu_registry.errors import InvalidArgument

_FLAG: Final = "--auth-token"
_JWT_OPTIONS: Final = frozenset({"pub-key", "priv-key", "sign-method", "ttl"})
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def make_tokens(text: str, *, simple_ttl_seconds: float = TTL_SECONDS) -> Tokens:
    """Return the tokens that a value of the flag asks for.

    Args:
        simple_ttl_seconds: how long an unused simple token lives; the default if it is not above 0.

    Raises:
        InvalidArgument: it cannot be understood, or a file of it cannot be read.
    """
    kind, *pairs = text.split(",")
    options = _options(pairs)
    if kind == "simple":
        if options:
            raise InvalidArgument(_FLAG, f"simple has no options, not {', '.join(options)}")
        # As in etcd: tokens that end at once would lock everybody out.
        ttl_seconds = simple_ttl_seconds if simple_ttl_seconds > 0 else TTL_SECONDS
        return SimpleTokens(time.monotonic, ttl_seconds=ttl_seconds)
    if kind == "jwt":
        return _signed(options)
    raise InvalidArgument(_FLAG, f"{kind!r} is no kind of token; use simple or jwt,...")


def _signed(options: dict[str, str]) -> Tokens:
    # Cryptography takes time and memory that a member with simple tokens does not need.
    from tianlu_registry.authn.signed_tokens import SignedTokens, load_key

    unknown = sorted(set(options) - _JWT_OPTIONS)
    if unknown:
        known = ", ".join(sorted(_JWT_OPTIONS))
        raise InvalidArgument(_FLAG, f"jwt has no option {unknown[0]!r}; it has {known}")
    if "sign-method" not in options:
        raise InvalidArgument(_FLAG, "jwt needs sign-method=, such as RS256")
    key = load_key(
        options["sign-method"], _read(options.get("pub-key")), _read(options.get("priv-key"))
    )
    ttl = options.get("ttl")
    return SignedTokens(key, ttl_seconds=TTL_SECONDS if ttl is None else _seconds(ttl))


def _options(pairs: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not value:
            raise InvalidArgument(_FLAG, f"{pair!r} is not NAME=VALUE")
        if name in options:
            raise InvalidArgument(_FLAG, f"{name} is given twice")
        options[name] = value
    return options


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(_FLAG, f"cannot read {path}: {error.strerror}") from error


def _seconds(text: str) -> float:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(_FLAG, f"ttl {text!r} is no duration such as 10m or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise InvalidArgument(_FLAG, "ttl must be longer than nothing")
    return seconds
