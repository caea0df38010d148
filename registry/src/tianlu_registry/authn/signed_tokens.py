"""Signed tokens (JWT): any member that has the key can tell whose they are, without memory.

The price: they cannot be taken back. But each carries the auth revision that it was made at, and is
refused after any change of users or roles, as etcd's are.

Source: etcd server/auth/jwt.go, options.go; RFC 7519.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tianlu_registry.auth import Claim
from tianlu_registry.errors import AuthRefused, InvalidArgument

METHODS: Final = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA",
    "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC",
    "EdDSA": "Ed25519",
    "HS256": "secret", "HS384": "secret", "HS512": "secret",
}  # fmt: skip
"""Signing methods, and their kind of key."""

_KINDS: Final[dict[str, tuple[type, type]]] = {
    "RSA": (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    "EC": (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey),
    "Ed25519": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
}

_CACHE_MAX: Final = 10_000
"""Verified tokens remembered: a signature takes longer to verify than most requests to serve."""

_SECRET_BYTES_MIN: Final = 32  # RFC 7518, 3.2: at least as long as the hash

_FLAG: Final = "--auth-token"


class CannotSign(AuthRefused):
    text = "tianlu: this member verifies tokens but has no private key to sign them with"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What tokens are signed with and verified by.

    Attributes:
        method: one of `METHODS`.
        sign: None on a member that only verifies.
    """

    method: str
    verify: Any
    sign: Any = None


class SignedTokens:
    """Makes and reads signed tokens.

    Args:
        clock: seconds since 1970, which all members must agree on.
    """

    def __init__(
        self,
        key: SigningKey,
        *,
        ttl_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._verified: OrderedDict[str, tuple[Claim, float]] = OrderedDict()

    def sign(self, user: str, revision: int) -> str:
        """Return a token for a user whose password was right at an auth revision.

        Raises:
            CannotSign: there is no private key here.
        """
        if self._key.sign is None:
            raise CannotSign
        claims = {
            "username": user,
            "revision": revision,
            "exp": int(self._clock() + self._ttl_seconds),
        }
        return jwt.encode(claims, self._key.sign, algorithm=self._key.method)

    def claim_of(self, token: str, revision: int) -> Claim | None:
        found = self._verified.get(token) or self._verify(token)
        if found is None:
            return None
        claim, ends = found
        if ends <= self._clock():
            self._verified.pop(token, None)
            return None
        return claim

    def make(self) -> str:
        raise CannotSign

    def know(self, user: str, digest: str) -> None:
        """Nothing is remembered: tokens speak for themselves."""

    def forget_user(self, user: str) -> None:
        """Nothing is remembered; the auth revision in a token makes it worthless."""

    def forget_all(self) -> None:
        """The same."""

    def _verify(self, token: str) -> tuple[Claim, float] | None:
        try:
            content = jwt.decode(
                token,
                self._key.verify,
                algorithms=[self._key.method],
                # Expiry is looked at by our own clock, at every use.
                options={"require": ["exp", "username", "revision"], "verify_exp": False},
            )
            claim = Claim(_text(content["username"]), int(content["revision"]))
            ends = float(content["exp"])
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        while len(self._verified) >= _CACHE_MAX:
            self._verified.popitem(last=False)
        self._verified[token] = (claim, ends)
        return claim, ends


def load_key(method: str, public: bytes | None, private: bytes | None) -> SigningKey:
    """Return the key of a signing method.

    Args:
        public, private: PEM files, or (private, HS*) the secret.

    Raises:
        InvalidArgument: they are missing, of another kind, or do not belong together.
    """
    if method not in METHODS:
        raise InvalidArgument(
            _FLAG, f"sign-method {method!r} is not known; use one of {', '.join(METHODS)}"
        )
    if METHODS[method] == "secret":
        if private is None or len(private) < _SECRET_BYTES_MIN:
            raise InvalidArgument(
                _FLAG,
                f"{method} needs a secret of {_SECRET_BYTES_MIN} bytes or more in the file of "
                "priv-key=",
            )
        return SigningKey(method, private, private)
    if not private and not public:
        raise InvalidArgument(_FLAG, f"{method} needs pub-key=FILE or priv-key=FILE")
    try:
        sign = load_pem_private_key(private, password=None) if private else None
        verify = load_pem_public_key(public) if public else None
    except (ValueError, TypeError) as error:
        raise InvalidArgument(_FLAG, f"a key file is no PEM key: {error}") from error
    _check_kind(method, sign, verify)
    if sign is None:
        return SigningKey(method, verify)
    own: Any = sign.public_key()
    if verify is not None and _encoded(verify) != _encoded(own):
        raise InvalidArgument(_FLAG, "pub-key and priv-key do not belong together")
    return SigningKey(method, own, sign)


def _check_kind(method: str, sign: object, verify: object) -> None:
    for key, kind in zip((sign, verify), _KINDS[METHODS[method]], strict=True):
        if key is not None and not isinstance(key, kind):
            raise InvalidArgument(_FLAG, f"{method} needs a key of kind {METHODS[method]}")


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("username is no text")
    return value
