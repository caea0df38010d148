"""A little of the random attacks; `python -m hostile` goes on for as long as it is told."""

from __future__ import annotations

import asyncio
import secrets

from hostile.attacked import Attacked
from hostile.random_cases import run_case

CASES = 300


async def test_random_attacks(node: Attacked) -> None:
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    with node.unharmed(96 << 20):
        for first in range(0, CASES, 20):
            await asyncio.gather(
                *(run_case(node.target, f"{seed}:{first + number}") for number in range(20))
            )
    assert "call_crashed" not in node.log
    assert "request_crashed" not in node.log
    assert "Traceback" not in node.log
