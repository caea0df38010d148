"""The host snapshot: the catalogue on disk, for when no registry can be reached.

One process of a host writes it, any process reads it. docs/reference/host-snapshot.md has the
format; in short, an LMDB file `catalog.lmdb` with a record per service and one record `meta`, each
with a checksum before it.

Writing is atomic: LMDB commits a transaction whole or not at all, whenever the writer is killed.
Reading takes no lock, opens no socket and needs no more than permission to read: see
`tianlu._lmdb_file`. Two things keep a read from seeing pages that are being reused: the writer
holds read transactions that pin every state for at least PIN_SECONDS after it was replaced, and
every record has a checksum.

A snapshot that cannot be read is reported in the log and treated as absent. It is never an error.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tianlu._convert import (
    instance_from_proto,
    instance_to_proto,
    service_from_proto,
    service_to_proto,
)
from tianlu._lmdb_file import DamagedFile, read_states
from tianlu._model import Rung
from tianlu._proto.v1 import catalog_pb2
from tianlu._view import CatalogView, ServiceKey, ServiceView

_log: Final = logging.getLogger(__name__)

FILE_NAME: Final = "catalog.lmdb"
LOCK_NAME: Final = "writer.lock"
FORMAT: Final = 1
PIN_SECONDS: Final = 5.0
"""A reader has at least this long to read the state that it has begun to read."""
MAP_BYTES: Final = 1 << 30
"""Most that a snapshot can grow to: address space, not disk."""
META_KEY: Final = b"meta"
SERVICE_PREFIX: Final = b"s/"
_CHECKSUM_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """What a snapshot says of itself.

    Attributes:
        content: grows by one with every write.
        revision: the catalogue revision of the newest write.
        confirmed_unix_ms: when the writer last knew it to be current.
        complete: whether it holds the whole catalogue; else only what its writers subscribed to.
        writer: who wrote it, for people.
        services: how many service records there are.
        checksum: sum of all service records' checksums, modulo 2^32: no record is missing.
    """

    content: int
    revision: int
    confirmed_unix_ms: int
    complete: bool
    writer: str
    services: int
    checksum: int


_META_FIELDS: Final = tuple(field.name for field in fields(SnapshotMeta))


class HostSnapshot:
    """Reads the host snapshot in a directory. No sockets, no locks; safe while it is written.

    Args:
        directory: where the snapshot lies; need not exist.
    """

    def __init__(self, directory: Path | str) -> None:
        self._path = Path(directory) / FILE_NAME

    def view(self) -> CatalogView | None:
        """Return the snapshot, or None if there is none that can be read (the log says why)."""
        read = self.read()
        if read is None:
            return None
        meta, services = read
        age_seconds = max(0.0, time.time() - meta.confirmed_unix_ms / 1000)
        return CatalogView(meta.revision, services, Rung.SNAPSHOT, age_seconds)

    def read(self) -> tuple[SnapshotMeta, Mapping[ServiceKey, ServiceView]] | None:
        """Return the snapshot with what it says of itself, or None like `view`."""
        problem = "it holds no committed state"
        try:
            for items in read_states(self._path):
                try:
                    return _decode(items)
                except DamagedFile as error:
                    problem = str(error)
        except FileNotFoundError:
            return None
        except (DamagedFile, OSError) as error:
            problem = str(error)
        _log.warning("snapshot.ignored path=%s problem=%s", self._path, problem)
        return None


def _decode(
    items: Iterable[tuple[bytes, bytes]],
) -> tuple[SnapshotMeta, Mapping[ServiceKey, ServiceView]]:
    services: dict[ServiceKey, ServiceView] = {}
    meta: SnapshotMeta | None = None
    checksum = 0
    for key, record in items:
        body = _unseal(key, record)
        if key == META_KEY:
            meta = _decode_meta(body)
        elif key.startswith(SERVICE_PREFIX):
            view = _decode_service(body)
            services[ServiceKey(view.service.namespace, view.service.name)] = view
            checksum += checksum_of(record)
    if meta is None:
        raise DamagedFile("it says nothing of itself")
    if len(services) != meta.services or checksum % 2**32 != meta.checksum:
        raise DamagedFile("a service record is missing")
    return meta, MappingProxyType(services)


def service_record_key(key: ServiceKey) -> bytes:
    return SERVICE_PREFIX + f"{key.namespace}/{key.name}".encode()


def checksum_of(record: bytes) -> int:
    return int.from_bytes(record[:_CHECKSUM_BYTES], "little")


def seal(key: bytes, body: bytes) -> bytes:
    """Return a record: the checksum over key and body, then the body."""
    return zlib.crc32(body, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "little") + body


def _unseal(key: bytes, record: bytes) -> bytes:
    body = record[_CHECKSUM_BYTES:]
    if seal(key, body)[:_CHECKSUM_BYTES] != record[:_CHECKSUM_BYTES]:
        raise DamagedFile(f"record {key!r} does not match its checksum")
    return body


def _decode_meta(body: bytes) -> SnapshotMeta:
    try:
        said = json.loads(body)
    except ValueError as error:
        raise DamagedFile("what it says of itself cannot be read") from error
    found = said.get("format")
    if found != FORMAT:
        raise DamagedFile(f"its format is {found}; this release reads {FORMAT}")
    return SnapshotMeta(**{name: said[name] for name in _META_FIELDS})


def _decode_service(body: bytes) -> ServiceView:
    message = catalog_pb2.DiscoverResponse.FromString(body)
    return ServiceView(
        service_from_proto(message.service),
        tuple(instance_from_proto(instance) for instance in message.instances),
    )


def encode_service(view: ServiceView, revision: int) -> bytes:
    return catalog_pb2.DiscoverResponse(
        service=service_to_proto(view.service),
        instances=[instance_to_proto(instance, joined=True) for instance in view.instances],
        revision=revision,
    ).SerializeToString(deterministic=True)
