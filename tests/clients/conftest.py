"""A fresh etcd and a fresh Tianlu for every program; TLS servers for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from clients.pairs import START_SECONDS_MAX, Subject, open_shop, plain, secure, write_certificates

NAMES = ("etcd", "tianlu")


@contextmanager
def running(pair: list[Subject]) -> Iterator[list[Subject]]:
    try:
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda server: server.process.start(START_SECONDS_MAX), pair))
        yield pair
    finally:
        for server in pair:
            server.process.kill()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("clients-certificates")
    write_certificates(directory)
    return directory


@pytest.fixture(scope="session")
def secure_pair(
    tmp_path_factory: pytest.TempPathFactory, certificates: Path
) -> Iterator[list[Subject]]:
    directories = [tmp_path_factory.mktemp(f"clients-secure-{name}") for name in NAMES]
    pair = [secure(name, at, certificates) for name, at in zip(NAMES, directories, strict=True)]
    with running(pair):
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda server: open_shop(server, certificates), pair))
        yield pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Subject]]:
    for name in NAMES:
        (tmp_path / name).mkdir()
    with running([plain(name, tmp_path / name) for name in NAMES]) as both:
        yield both
