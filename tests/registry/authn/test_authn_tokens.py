"""Tokens, simple and signed, and the flag that chooses."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tianlu_registry.auth import Claim
from tianlu_registry.authn.options import make_tokens
from tianlu_registry.authn.signed_tokens import CannotSign, SignedTokens, load_key
from tianlu_registry.authn.tokens import SimpleTokens, digest_of
from tianlu_registry.errors import InvalidArgument


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_simple_token_lives_by_use(clock: Clock) -> None:
    tokens = SimpleTokens(clock, ttl_seconds=10)
    token = tokens.make()
    assert tokens.claim_of(token, 5) is None
    tokens.know("ann", digest_of(token))
    for _ in range(3):
        clock.now += 9
        assert tokens.claim_of(token, 5) == Claim("ann", 5)
    clock.now += 10
    assert tokens.claim_of(token, 5) is None
    tokens.know("bob", "other")
    assert len(tokens) == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_life_at_all_is_the_usual_one(seconds: float) -> None:
    tokens = make_tokens("simple", simple_ttl_seconds=seconds)
    token = tokens.make()
    tokens.know("ann", digest_of(token))
    assert tokens.claim_of(token, 5) == Claim("ann", 5)


def test_tokens_are_forgotten(clock: Clock) -> None:
    tokens = SimpleTokens(clock)
    for number, user in enumerate(["ann", "bob", "ann"]):
        tokens.know(user, digest_of(str(number)))
    tokens.forget_user("ann")
    assert tokens.claim_of("0", 1) is None
    assert tokens.claim_of("1", 1) == Claim("bob", 1)
    tokens.forget_all()
    assert tokens.claim_of("1", 1) is None


def test_the_token_used_longest_ago_makes_room(clock: Clock) -> None:
    tokens = SimpleTokens(clock, tokens_max=2)
    for name in ("a", "b"):
        tokens.know(name, digest_of(name))
    tokens.claim_of("a", 1)
    tokens.know("c", digest_of("c"))
    assert [tokens.claim_of(name, 1) is not None for name in "abc"] == [True, False, True]


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


EC = ec.generate_private_key(ec.SECP256R1())
OTHER_EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
KEYS = {"ES256": EC, "EdDSA": ED, "RS256": RSA, "PS256": RSA}
SECRET = b"s" * 32


def signed(method: str, clock: Clock) -> SignedTokens:
    private = SECRET if method == "HS256" else pem(KEYS[method])
    return SignedTokens(load_key(method, None, private), ttl_seconds=60, clock=clock)


@pytest.mark.parametrize("method", [*KEYS, "HS256"])
def test_a_signed_token_says_whose_it_is(method: str, clock: Clock) -> None:
    tokens = signed(method, clock)
    token = tokens.sign("ann", 7)
    for _ in range(2):  # verified, then remembered
        assert tokens.claim_of(token, 9) == Claim("ann", 7)
    head, body, signature = token.split(".")
    assert tokens.claim_of(f"{head}.{body}.{signature[::-1]}", 9) is None
    clock.now += 60
    assert tokens.claim_of(token, 9) is None
    assert tokens.claim_of(token, 9) is None


def test_members_with_the_public_key_verify_only(clock: Clock) -> None:
    verifier = SignedTokens(load_key("ES256", public_pem(EC), None), ttl_seconds=60, clock=clock)
    token = signed("ES256", clock).sign("ann", 7)
    assert verifier.claim_of(token, 7) == Claim("ann", 7)
    with pytest.raises(CannotSign):
        verifier.sign("ann", 7)


def test_what_others_signed_is_refused(clock: Clock) -> None:
    tokens = signed("ES256", clock)
    content = {"username": "root", "revision": 7, "exp": clock.now + 60}
    for forged in (
        jwt.encode(content, OTHER_EC, algorithm="ES256"),
        jwt.encode(content, public_pem(EC).ljust(32)[:32], algorithm="HS256"),
        jwt.encode(content, None, algorithm="none"),
        jwt.encode({**content, "username": 5}, EC, algorithm="ES256"),
        jwt.encode({"username": "root", "revision": 7}, EC, algorithm="ES256"),
        jwt.encode({"username": "root", "exp": clock.now + 60}, EC, algorithm="ES256"),
        "",
        "a.b.c",
    ):
        assert tokens.claim_of(forged, 7) is None, forged


@pytest.mark.parametrize(
    ("method", "public", "private"),
    [
        ("ES257", None, pem(EC)),
        ("ES256", None, None),
        ("ES256", None, b"no key"),
        ("ES256", None, pem(RSA)),
        ("RS256", public_pem(EC), None),
        ("ES256", public_pem(OTHER_EC), pem(EC)),
        ("HS256", None, None),
        ("HS256", None, b"short"),
    ],
)
def test_keys_that_cannot_be(method: str, public: bytes | None, private: bytes | None) -> None:
    with pytest.raises(InvalidArgument, match="--auth-token"):
        load_key(method, public, private)


def test_the_flag(tmp_path: Path) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(pem(EC))
    public.write_bytes(public_pem(EC))
    assert isinstance(make_tokens("simple"), SimpleTokens)
    text = f"jwt,priv-key={private},pub-key={public},sign-method=ES256,ttl=1h30m"
    tokens = make_tokens(text)
    assert isinstance(tokens, SignedTokens)
    token = tokens.sign("ann", 1)
    ends = jwt.decode(token, options={"verify_signature": False})["exp"]
    again = make_tokens(text.replace("1h30m", "10m"))
    assert isinstance(again, SignedTokens)
    assert again.claim_of(token, 1) == Claim("ann", 1)
    assert ends > 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "simple,ttl=5m",
        "jwt",
        "jwt,sign-method",
        "jwt,sign-method=ES256",
        "jwt,sign-method=ES256,sign-method=ES256",
        "jwt,sign-method=ES256,priv-key=/nowhere/key.pem",
        "jwt,sign-method=HS256,priv-key={secret},ttl=5",
        "jwt,sign-method=HS256,priv-key={secret},ttl=0s",
        "jwt,sign-method=HS256,priv-key={secret},color=red",
    ],
)
def test_flags_that_cannot_be(text: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    with pytest.raises(InvalidArgument, match="--auth-token"):
        make_tokens(text.format(secret=secret))
