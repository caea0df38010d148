"""What can be fuzzed: a reader of bytes, tried with one case after another."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A reader under attack.

    Attributes:
        name: what it is called on the command line.
        run: makes one case from its random source and tries it. It returns a word for what the
            reader said ("refused", "read"), for the statistics, and raises if the reader did
            anything that it must not.
        seconds_max: a case that takes longer hangs.
    """

    name: str
    run: Callable[[random.Random], str]
    seconds_max: float = 30.0


def damage(data: bytearray, chance: random.Random) -> None:
    """Change bytes as disks, cables and enemies do; the length may change too."""
    for _ in range(chance.choice([1, 1, 1, 2, 5, 30])):
        _KINDS[chance.randrange(len(_KINDS))](data, chance)


def _place(data: bytearray, chance: random.Random) -> int:
    """Return a place in the data; the beginning is where most of the sense is."""
    return chance.randrange(min(len(data), 200) if chance.random() < 0.3 else len(data))


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random) -> None:
    if data:
        start = _place(data, chance)
        piece = chance.randbytes(chance.choice([1, 4, 8, 64, 512, 4096]))
        data[start : start + len(piece)] = piece


def _number(data: bytearray, chance: random.Random) -> None:
    """Put a large or a small number where one may be."""
    if data:
        size = chance.choice([1, 2, 4, 8])
        start = _place(data, chance) // size * size
        number = chance.choice(
            [0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), chance.getrandbits(8)]
        )
        data[start : start + size] = number.to_bytes(size, "little")


def _zero(data: bytearray, chance: random.Random) -> None:
    if data:
        start = _place(data, chance) // 512 * 512
        size = min(512 * chance.randint(1, 16), len(data) - start)
        data[start : start + size] = bytes(size)


def _move(data: bytearray, chance: random.Random) -> None:
    if data:
        size = chance.choice([8, 512, 4096])
        source, target = _place(data, chance) // size * size, _place(data, chance) // size * size
        data[target : target + size] = data[source : source + size]


def _cut(data: bytearray, chance: random.Random) -> None:
    if data:
        del data[_place(data, chance) :]


def _extend(data: bytearray, chance: random.Random) -> None:
    data += (
        chance.randbytes(chance.choice([1, 31, 512, 5000])) if chance.random() < 0.5 else bytes(999)
    )


def _remove(data: bytearray, chance: random.Random) -> None:
    if data:
        start = _place(data, chance)
        del data[start : start + chance.choice([1, 8, 512, 4096])]


_KINDS = (_flip, _flip, _overwrite, _number, _number, _zero, _move, _cut, _extend, _remove)
