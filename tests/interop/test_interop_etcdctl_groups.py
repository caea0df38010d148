"""No command of etcdctl is forgotten: each that `etcdctl --help` lists is compared somewhere."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable

import pytest
from interop import (
    test_interop_auth,
    test_interop_cluster,
    test_interop_etcdctl,
    test_interop_etcdctl_forms,
    test_interop_etcdctl_streams,
    test_interop_recipes,
)
from interop.interop_servers import ETCDCTL

ELSEWHERE = {
    "check perf": test_interop_etcdctl_streams.test_checks_run,
    "elect": test_interop_recipes.test_same_etcdctl_holding,
    "lease keep-alive": test_interop_etcdctl_streams.test_same_kept_lease,
    "make-mirror": test_interop_etcdctl_streams.test_mirrors_both_ways,
    "snapshot save": test_interop_cluster.test_same_snapshot,
    "snapshot status": test_interop_cluster.test_etcdctl_says_that_our_snapshot_is_none_of_etcds,
    "txn": test_interop_etcdctl.test_same_transactions,
    "watch": test_interop_etcdctl.test_same_watches,
}
"""Commands that a test of their own compares."""

NOT_COMPARED = {
    "help": "asks no server",
    "snapshot restore": "asks no server, and reads etcd's files only: `tianlu snapshot restore`",
    "check datascale": "judges the server's memory: docs/reference/clients.md has what it says",
}
"""Why the others are not."""


def listed() -> set[str]:
    """Return the commands that etcdctl has, such as ``lease grant``."""
    told = subprocess.run([ETCDCTL, "--help"], capture_output=True, text=True, timeout=20).stdout
    commands = told.partition("COMMANDS:")[2].partition("OPTIONS:")[0]
    return set(re.findall(r"^\t([a-z-]+(?: [a-z-]+)?)\t", commands, re.MULTILINE))


def compared() -> set[str]:
    """Return the first words of all commands that tables of these modules compare."""
    commands: Iterable[list[str]] = [
        *(command for each in test_interop_etcdctl.SCENARIOS.values() for command in each),
        *test_interop_etcdctl_forms.IN_ALL_FORMS,
        *test_interop_etcdctl_forms.WITH_FLAGS,
        *test_interop_cluster.CHANGES,
        *test_interop_auth.BEFORE,
        *test_interop_auth.WHILE_ON,
        *test_interop_auth.AFTER,
    ]
    words = [[word for word in command if not word.startswith("-")] for command in commands]
    return {" ".join(each[:count]) for each in words for count in (1, 2)}


@pytest.mark.parametrize("command", sorted(listed()))
def test_every_command_is_compared(command: str) -> None:
    assert (command in compared()) + (command in ELSEWHERE) + (command in NOT_COMPARED) >= 1


def test_nothing_is_excused_that_does_not_exist() -> None:
    assert set(ELSEWHERE) | set(NOT_COMPARED) <= listed()
    assert len(listed()) > 40
