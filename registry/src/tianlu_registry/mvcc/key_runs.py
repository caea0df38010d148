"""Taking a run of neighbours out of a SortedList, or putting one in, all at once.

A SortedList is a list of sorted lists of some 1,000 keys each. One by one, a key costs a search, a
shift and an update of the positions; a run is a slice of one or a few of those lists. This is the
one place that knows SortedList's parts: `_lists`, the lists; `_maxes`, the last of each; `_len`;
`_load`: a list holds half of it to twice of it, but for the last, which may be short; `_index`,
made anew when empty.
Source: sortedcontainers 2.4, sortedlist.py.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from sortedcontainers import SortedList


def remove_run(keys: SortedList[bytes], start: int, stop: int) -> None:
    """Remove the keys at positions `start` to `stop`.

    Args:
        start, stop: 0 <= start < stop <= len(keys).
    """
    first, at = keys._pos(start)
    last, to = keys._pos(stop - 1)
    lists = keys._lists
    left = lists[first][:at] + lists[last][to + 1 :]
    if len(left) < keys._load // 2 and last + 1 < len(lists):
        last += 1
        left += lists[last]
    _replace(keys, first, last + 1, left)
    keys._len -= stop - start


def add_run(keys: SortedList[bytes], run: list[bytes]) -> None:
    """Add ascending keys that are not there; at once, if none that is there lies among them.

    Args:
        run: not empty.
    """
    lists, maxes = keys._lists, keys._maxes
    place = min(bisect_left(maxes, run[0]), len(maxes) - 1)
    around = lists[place] if lists else []
    at = bisect_left(around, run[0])
    if at < len(around) and around[at] < run[-1]:
        keys.update(run)
        return
    _replace(keys, max(place, 0), place + 1, around[:at] + run + around[at:])
    keys._len += len(run)


def _replace(keys: SortedList[bytes], start: int, stop: int, found: list[bytes]) -> None:
    """Put lists of `found`, about equally long, in the place of those from `start` to `stop`."""
    count = max(len(found) // keys._load, 1) if found else 0
    ends = [len(found) * number // count for number in range(count + 1)] if count else []
    pieces = [found[at:end] for at, end in pairwise(ends)]
    keys._lists[start:stop] = pieces
    keys._maxes[start:stop] = [piece[-1] for piece in pieces]
    del keys._index[:]
