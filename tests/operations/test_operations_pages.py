"""The pages of docs/operations: what they say to type exists, and the first of them works.

`cd tests && python -m operations` goes through all of them.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from operations.pages import PAGES, REPOSITORY, Hosts, blocks_of, first_missing

from tianlu._cli.root import as_command, subcommands
from tianlu._credentials import VARIABLES
from tianlu_registry.cli import app as registry_app

HOW_TOS = (
    "three-hosts",
    "client-tls",
    "authentication",
    "replace-a-member",
    "disaster-recovery",
    "upgrade",
    "full-disk",
    "doctor",
)
UNIT = REPOSITORY / "deploy/systemd/tianlu-registry.service"
EXAMPLE = REPOSITORY / "deploy/systemd/registry.env.example"

_COMMAND = re.compile(
    r"(?:^|[;&|(] *|until |then |-- /opt/tianlu/\.venv/bin/)tianlu ((?:[^\n;|&#`]|\\\n)+)"
)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in HOW_TOS:
        text = (PAGES / f"{page}.md").read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        inline = re.findall(r"`(tianlu [a-z][^`]*)`", text)
        for source in (*blocks, *inline):
            for line in source.splitlines():
                found += [(page, match[1]) for match in _COMMAND.finditer(line)]
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_of_a_page_exists_with_its_options(page: str, command: str) -> None:
    name, *words = shlex.split(command)
    known = subcommands()
    assert name in known, f"{page}: tianlu has no {name!r}"
    loaded = known[name].load()
    if not isinstance(loaded, typer.Typer):
        return
    group: Any = as_command(loaded, name)
    while words and words[0] in getattr(group, "commands", {}):
        group = group.commands[words.pop(0)]
    assert not getattr(group, "commands", {}), f"{page}: tianlu {command}: {words[:1]} is unknown"
    options = {option for parameter in group.params for option in parameter.opts}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    assert not unknown, f"{page}: tianlu {command}: no {unknown}"


def test_every_variable_of_the_pages_is_a_flag() -> None:
    command = typer.main.get_command(registry_app)
    known = {parameter.envvar for parameter in command.params if parameter.envvar}
    texts = [(PAGES / f"{page}.md").read_text() for page in HOW_TOS]
    used = set(re.findall(r"TIANLU_\w+(?==)", "".join([*texts, EXAMPLE.read_text()])))
    assert len(used) > 10
    assert used - known == {"TIANLU_ENDPOINTS", *VARIABLES.values()} & used


def test_the_example_is_the_first_host_of_the_page() -> None:
    (settings,) = re.findall(
        r"<<END\n(.*?)^END$", (PAGES / "three-hosts.md").read_text(), re.MULTILINE | re.DOTALL
    )
    example = [line for line in EXAMPLE.read_text().splitlines() if not line.startswith("#")]
    assert example == settings.replace("$N", "1").splitlines()


def test_the_unit_does_not_start_again_what_does_not_mend_itself() -> None:
    (line,) = re.findall(r"^RestartPreventExitStatus=(.*)$", UNIT.read_text(), re.MULTILINE)
    statuses = re.findall(r"^\| (\d+) \|", (PAGES / "exit-codes.md").read_text(), re.MULTILINE)
    assert set(line.split()) <= set(statuses)
    assert {"75", "77"} <= set(line.split())


@pytest.mark.parametrize("page", HOW_TOS)
def test_a_page_says_where_each_block_is_typed(page: str) -> None:
    blocks = blocks_of(page)
    assert blocks
    for block in blocks:
        assert re.match(r"on (your own machine|every host|host [123])$", block.place), block.script
        subprocess.run(["bash", "-n", "-c", block.script], check=True)


def test_what_is_seen_is_compared_line_by_line() -> None:
    seen = "healthy: 3 of 3\nID   NAME\n7f   n1     yes\n"
    assert first_missing("healthy: 3 of …\n… n1 … yes\n", seen) is None
    assert first_missing("… n1 …\n… 3 of 3\n", seen) == "… 3 of 3"
    assert first_missing("… n2 …\n", seen) == "… n2 …"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
@pytest.mark.timeout(300)
def test_three_hosts_come_up_as_written(tmp_path: Path) -> None:
    with Hosts(tmp_path) as hosts:
        hosts.run_page("three-hosts")
