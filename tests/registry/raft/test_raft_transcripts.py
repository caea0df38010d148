"""Whole exchanges as golden text: transcripts/*.txt, in the language of `raft_transcript`.

When the core's behaviour has changed on purpose, write them anew and review the difference:

    TRANSCRIPTS=rewrite uv run pytest tests/registry/raft/test_raft_transcripts.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from registry.raft.raft_transcript import Transcript

FILES = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
PROMPT = "> "


def replay(text: str) -> str:
    """Return a transcript with what its commands print now. Comments and blank lines stay."""
    transcript = Transcript()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(PROMPT):
            lines.append(line)
            lines += [f"    {printed}" for printed in transcript.run(line.removeprefix(PROMPT))]
        elif not line.startswith("    "):
            lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_exchange_is_as_it_was(path: Path):
    text = path.read_text()
    replayed = replay(text)
    if os.environ.get("TRANSCRIPTS") == "rewrite":
        path.write_text(replayed)
    else:
        assert replayed == text


def test_there_are_transcripts():
    assert len(FILES) >= 8


def test_a_changed_exchange_is_noticed():
    text = FILES[0].read_text()
    assert replay(text.replace("> settle", "> settle\n> campaign 2\n> settle", 1)) != text
