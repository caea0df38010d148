"""Programs on the public etcd clients do and print the same on etcd and on Tianlu."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from clients.pairs import Subject
from clients.programs import SUITES, Language
from clients.transcript import run

REQUIRED = os.environ.get("TIANLU_CLIENTS_REQUIRED") == "1"
"""Set by bin/test, which has prepared the programs: then their absence is no excuse."""

MATTERS: dict[str, str] = {
    "go client": "kv txn watch lease lock election stm namespace leasing mirror limits reconnect "
    "auth tls",
    "go kubernetes": "k8s",
    "java jetcd": "kv txn watch lease lock election limits reconnect auth tls",
    "python etcd3": "kv txn watch lease lock limits reconnect tls",
    "python aetcd": "kv txn watch lease lock limits reconnect auth",
    "python etcd3gw": "kv watch lease lock limits reconnect tls",
    "python etcd3py": "kv txn watch lease lock auth",
    "node etcd3": "kv txn watch lease lock election limits reconnect auth tls",
}
"""What each program's steps are about: nobody drops a part unseen."""


def suites() -> list[Any]:
    """Return the suites' names; by hand, those that are not prepared are skipped."""
    reason = "not prepared: cd tests && python -m clients.prepare"
    return [
        pytest.param(name, marks=pytest.mark.skipif(_excused(language), reason=reason))
        for name, (language, _) in SUITES.items()
    ]


def _excused(language: Language) -> bool:
    return not REQUIRED and not language.is_built()


@pytest.mark.timeout(400)  # setup, and a run that ends itself after 240 s
@pytest.mark.parametrize("suite", suites())
def test_same_lines(
    suite: str, pair: list[Subject], secure_pair: list[Subject], certificates: Path
) -> None:
    language, command = SUITES[suite]
    assert language.is_built(), "not prepared: cd tests && python -m clients.prepare"
    with ThreadPoolExecutor(2) as both:
        etcd, tianlu = both.map(
            lambda server, secure: run(command, server, secure, certificates), pair, secure_pair
        )
    assert tianlu == etcd
    assert {line.partition(".")[0] for line in etcd} == set(MATTERS[suite].split())
