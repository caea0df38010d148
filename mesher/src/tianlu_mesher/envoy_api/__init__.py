"""Message classes of Envoy's API, made at run time from the descriptors that the build wrote.

They live in a descriptor pool of their own: nothing is registered in protobuf's default pool, so
an application's own copy of Envoy's API, or of google.api, cannot clash with ours. Field and enum
names are Envoy's, verbatim. Constructors take keyword arguments; a nested message may be given as
a dictionary, an enum by its name, a Duration as a `timedelta`.

    >>> Cluster(name="orders", type="EDS", connect_timeout=timedelta(seconds=1))
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from tianlu_mesher.errors import BuildIncomplete

TYPE_URL_PREFIX = "type.googleapis.com/"
_ARTIFACT = "descriptors.binpb"
_REMEDY = (
    f"Envoy's descriptors ({_ARTIFACT}) are {{fault}} in tianlu_mesher.envoy_api. The build writes "
    "them: run `uv sync --reinstall-package tianlu-mesher` in a checkout, or install a wheel"
)


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in load_descriptors(_ARTIFACT).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def load_descriptors(artifact: str) -> descriptor_pb2.FileDescriptorSet:
    """Read the descriptor set that the build hook wrote.

    Raises:
        BuildIncomplete: it is missing or damaged; the message says how to build it.
    """
    try:
        content = files(__name__).joinpath(artifact).read_bytes()
        return descriptor_pb2.FileDescriptorSet.FromString(content)
    except FileNotFoundError:
        raise BuildIncomplete(_REMEDY.format(fault="missing")) from None
    except DecodeError:
        raise BuildIncomplete(_REMEDY.format(fault="damaged")) from None


@cache
def message_class(full_name: str) -> type[Any]:
    """Return the class of a message, such as "envoy.config.cluster.v3.Cluster".

    Its instances are typed Any because the classes exist at run time only.

    Raises:
        BuildIncomplete: the descriptors are missing.
        KeyError: they hold no such message.
    """
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(full_name))


def type_url(full_name: str) -> str:
    """Return the URL that names a message type inside an Any."""
    return TYPE_URL_PREFIX + full_name


def packed(message: Message) -> dict[str, Any]:
    """Return `message` as an Any, in the form that constructors take.

    Serialized deterministically, so that equal content has equal bytes in every process.
    """
    return {
        "type_url": type_url(message.DESCRIPTOR.full_name),
        "value": message.SerializeToString(deterministic=True),
    }


def to_json(message: Message) -> str:
    """Return `message` as JSON with Envoy's field names, for people and for Envoy's bootstrap."""
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, descriptor_pool=_pool()
    )
