"""Runs a client program against one server and keeps its lines.

A program prints one line a step, ``STEP: OUTCOME``, and last ``end``. A line that begins with a
question mark asks for something and waits for a line of answer: ``?restart`` (the server is
killed and started again on its port), ``?etcdctl ARGUMENTS`` (somebody else does something).
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

from clients.pairs import Subject

SECONDS_MAX = 240.0

_TRUST = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)
"""Settings of the machine that some clients obey rather than the authority they are given."""


def run(command: list[str], server: Subject, secure: Subject, certificates: Path) -> list[str]:
    """Return the lines of a run that has ended well, without what differs between servers."""
    arguments = [server.target, secure.target, str(certificates)]
    process = subprocess.Popen(
        [*command, *arguments],
        env={name: value for name, value in os.environ.items() if name not in _TRUST},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    too_long = threading.Timer(SECONDS_MAX, process.kill)
    too_long.start()
    complaints: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: complaints.extend(process.stderr or ()))
    reader.start()
    try:
        lines = _converse(process, server)
    finally:
        too_long.cancel()
        process.kill()
        status = process.wait(10)
        reader.join(10)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    assert lines[-1:] == ["end"], _report(server, lines, complaints, status)
    return [comparable(line, server, secure) for line in lines[:-1]]


def _converse(process: subprocess.Popen[str], server: Subject) -> list[str]:
    assert process.stdin is not None
    assert process.stdout is not None
    lines: list[str] = []
    for line in map(str.rstrip, process.stdout):
        if not line.startswith("?"):
            lines.append(line)
            continue
        match line[1:].split():
            case ["restart"]:
                server.restart()
            case ["etcdctl", *arguments]:
                server.etcdctl(*arguments)
            case _:
                raise AssertionError(f"the program asks for what nobody knows: {line}")
        process.stdin.write("done\n")
        process.stdin.flush()
    return lines


def comparable(line: str, server: Subject, secure: Subject) -> str:
    """Return a line with placeholders for addresses and ids."""
    for subject in (server, secure):
        line = line.replace(subject.target, "<target>")
    return re.sub(r"\b[0-9a-f]{12,16}\b", "<id>", line)


def _report(server: Subject, lines: list[str], complaints: list[str], status: int) -> str:
    last = "\n".join([*lines[-3:], *complaints[-40:]])
    return f"against {server.name} the program did not come to its end (status {status}):\n{last}"
