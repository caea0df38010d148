"""Which packets of a member are dropped: a program of the classic Berkeley packet filter.

Every kernel with `tc` and the `bpf` classifier runs it, so nothing need be installed. A program
sees an Ethernet frame that the member has sent and answers with a verdict of `tc`.

Source: Linux Documentation/networking/filter.rst (instructions, ancillary data); tc-bpf(8) (direct
action); RFC 791 section 3.1 (the destination at byte 16 of the header).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

_LOAD_HALF, _LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 40, 32, 21, 37, 6
_ETHERTYPE_AT, _DESTINATION_AT = 12, 14 + 16
_IPV4 = 0x0800
_RANDOM = 0xFFFFF000 + 56  # not a place in the frame: the kernel's random number
_DROP, _GO_ON = 2, 0xFFFFFFFF
_WORD_MAX = 0xFFFFFFFF


def program(blocked: Collection[str], lossy: Collection[str] = (), loss: float = 0.0) -> str:
    """Return the program's text, as `tc filter … bpf bytecode` takes it.

    Args:
        blocked: IPv4 destinations that nothing reaches.
        lossy: destinations to which a share of the packets is lost.
        loss: that share, from 0 to 1.
    """
    lossy = lossy if loss > 0 else ()
    code = [(_LOAD_HALF, 0, 0, _ETHERTYPE_AT), (_JUMP_EQUAL, 1, 0, _IPV4), (_RETURN, 0, 0, _GO_ON)]
    code.append((_LOAD_WORD, 0, 0, _DESTINATION_AT))
    for address in sorted(blocked):
        code += [(_JUMP_EQUAL, 0, 1, _number(address)), (_RETURN, 0, 0, _DROP)]
    for address in sorted(lossy):
        # The accumulator is overwritten by the random number, so these instructions end.
        code += [
            (_JUMP_EQUAL, 0, 4, _number(address)),
            (_LOAD_WORD, 0, 0, _RANDOM),
            (_JUMP_GREATER, 1, 0, int(loss * _WORD_MAX)),
            (_RETURN, 0, 0, _DROP),
            (_RETURN, 0, 0, _GO_ON),
        ]
    code.append((_RETURN, 0, 0, _GO_ON))
    return f"{len(code)}," + ",".join(" ".join(map(str, step)) for step in code)


def _number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))
