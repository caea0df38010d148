"""Reads an LMDB file without LMDB: no locks, no mapping, no way to crash the process.

LMDB's library maps the file and trusts what it finds there. A truncated file ends the reading
process with SIGBUS and a zeroed page with SIGABRT (tests/sdk/test_lmdb_file.py shows both), and an
application must not die because a cache on disk is damaged. So readers use this walker over
ordinary reads, and every offset is checked.

It reads the main database of a file written by LMDB 0.9 (data format version 1) on a little-endian
64-bit machine. It takes no reader slot: whoever writes must keep the pages of a committed state
from being reused for as long as reads may take; `tianlu._snapshot.SnapshotWriter` does.

Source: the structures MDB_page, MDB_node, MDB_db and MDB_meta in LMDB's mdb.c.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAGIC: Final = 0xBEEFC0DE
_FORMAT_VERSION: Final = 1
_META: Final = struct.Struct("<16xIIQQ" + "IHHQQQQQ" * 2 + "QQ")
_PAGE_HEADER: Final = struct.Struct("<QHHHH")
_NODE_HEADER: Final = struct.Struct("<HHHH")
_PAGE_BRANCH: Final = 0x01
_PAGE_LEAF: Final = 0x02
_PAGE_OVERFLOW: Final = 0x04
_NODE_BIG: Final = 0x01
_NO_PAGE: Final = 0xFFFF_FFFF_FFFF_FFFF
_PAGE_SIZES: Final = tuple(1 << bits for bits in range(9, 17))
_PAGE_SIZE_DEFAULTS: Final = (4096, 16384, 65536)
_DEPTH_MAX: Final = 32


class DamagedFile(Exception):
    """The file is not what LMDB writes: truncated, overwritten or something else."""


@dataclass(frozen=True, slots=True)
class _Meta:
    page_size: int
    root: int
    pages: int
    transaction: int


def read_states(path: Path) -> Iterator[Iterator[tuple[bytes, bytes]]]:
    """Yield the committed states in a file, newest first (LMDB keeps two), each as its items.

    The items of a state come in order of their keys. A reader that finds the newest state damaged
    may take the one before.

    Raises:
        DamagedFile: while iterating, when the file makes no sense.
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        metas = _metas(file.fileno())
        if not metas:
            raise DamagedFile("it has no valid LMDB header")
        for meta in sorted(metas, key=lambda meta: -meta.transaction):
            yield _Walker(file.fileno(), size, meta).items()


def _metas(descriptor: int) -> list[_Meta]:
    first = _parse_meta(os.pread(descriptor, _META.size, 0))
    sizes = (first.page_size,) if first else _PAGE_SIZE_DEFAULTS
    seconds = (_parse_meta(os.pread(descriptor, _META.size, size)) for size in sizes)
    return [meta for meta in (first, *seconds) if meta is not None]


def _parse_meta(data: bytes) -> _Meta | None:
    if len(data) < _META.size:
        return None
    magic, version, _, _, page_size, *fields = _META.unpack(data)
    if magic != _MAGIC or version != _FORMAT_VERSION or page_size not in _PAGE_SIZES:
        return None
    *_, root, last_page, transaction = fields
    return _Meta(page_size, root, last_page + 1, transaction)


class _Walker:
    """A walk over one committed state. Every page is visited at most once."""

    def __init__(self, descriptor: int, size: int, meta: _Meta) -> None:
        self._descriptor = descriptor
        self._size = size
        self._meta = meta
        self._visited = 0

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        if self._meta.root != _NO_PAGE:
            yield from self._walk(self._meta.root, 0)

    def _walk(self, number: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
        page = self._page(number, 1)
        if depth > _DEPTH_MAX:
            raise DamagedFile("its tree is too deep")
        _, _, flags, lower, _ = _PAGE_HEADER.unpack_from(page)
        if not flags & (_PAGE_BRANCH | _PAGE_LEAF) or not 16 <= lower <= len(page):
            raise DamagedFile(f"page {number} is no page of a tree")
        for offset in struct.unpack_from(f"<{(lower - 16) // 2}H", page, 16):
            low, high, node_flags, key_size = self._unpack(_NODE_HEADER, page, offset)
            start = offset + _NODE_HEADER.size
            if flags & _PAGE_BRANCH:
                yield from self._walk(low | high << 16 | node_flags << 32, depth + 1)
                continue
            end = start + key_size
            yield page[start:end], self._data(page, end, low | high << 16, node_flags)

    def _data(self, page: bytes, start: int, size: int, flags: int) -> bytes:
        if not flags & _NODE_BIG:
            if start + size > len(page):
                raise DamagedFile("an item reaches beyond its page")
            return page[start : start + size]
        (number,) = self._unpack(struct.Struct("<Q"), page, start)
        count = -(-(size + 16) // self._meta.page_size)
        big = self._page(number, count)
        if not _PAGE_HEADER.unpack_from(big)[2] & _PAGE_OVERFLOW:
            raise DamagedFile(f"page {number} is no overflow page")
        return big[16 : 16 + size]

    def _page(self, number: int, count: int) -> bytes:
        self._visited += count
        page_size = self._meta.page_size
        if self._visited > self._meta.pages or (number + count) * page_size > self._size:
            raise DamagedFile(f"page {number} lies outside the file")
        page = os.pread(self._descriptor, count * page_size, number * page_size)
        if len(page) < count * page_size or _PAGE_HEADER.unpack_from(page)[0] != number:
            raise DamagedFile(f"page {number} is overwritten")
        return page

    @staticmethod
    def _unpack(form: struct.Struct, page: bytes, offset: int) -> tuple[int, ...]:
        if offset + form.size > len(page):
            raise DamagedFile("an offset points beyond its page")
        return form.unpack_from(page, offset)
