"""grpc.reflection v1 and v1alpha, over the descriptors of the services actually served.

Those live in several descriptor pools (Tianlu's stubs have one of their own), so the files are
collected from the services themselves. Source: grpc doc/server-reflection.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2

from tianlu_registry.api.grpc_asgi import RpcContext, StatusCode

_ALPHA = "grpc.reflection.v1alpha"
_STABLE = "grpc.reflection.v1"


def reflection_services() -> tuple[ServiceDescriptor, ServiceDescriptor]:
    """Return the services of v1alpha and of v1, which differs in its package name only and which
    the grpcio-reflection distribution does not have."""
    alpha = reflection_pb2.DESCRIPTOR
    proto = FileDescriptorProto()
    alpha.CopyToProto(proto)
    proto.name = proto.name.replace("v1alpha", "v1")
    proto.package = _STABLE
    for field in (field for message in proto.message_type for field in message.field):
        if field.type_name:
            field.type_name = field.type_name.replace(_ALPHA, _STABLE)
    for method in (method for service in proto.service for method in service.method):
        method.input_type = method.input_type.replace(_ALPHA, _STABLE)
        method.output_type = method.output_type.replace(_ALPHA, _STABLE)
    pool = DescriptorPool()
    pool.Add(proto)
    stable = pool.FindServiceByName(f"{_STABLE}.ServerReflection")
    return alpha.services_by_name["ServerReflection"], stable


class ReflectionServicer:
    """Answers one version of the protocol.

    Args:
        service: the version's descriptor, from `reflection_services`.
        served: the services to tell about, by full name; read at each request.
    """

    def __init__(self, service: ServiceDescriptor, served: Mapping[str, ServiceDescriptor]) -> None:
        method = service.methods_by_name["ServerReflectionInfo"]
        self._response_class: Any = GetMessageClass(method.output_type)
        self._served = served

    async def ServerReflectionInfo(  # noqa: N802
        self,
        requests: AsyncIterator[Any],
        context: RpcContext,
    ) -> AsyncIterator[Any]:
        async for request in requests:
            yield self._answer(request)

    def _answer(self, request: Any) -> Any:  # noqa: ANN401 - one of two message classes
        response = self._response_class(valid_host=request.host, original_request=request)
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            services = response.list_services_response.service
            for name in sorted(self._served):
                services.add(name=name)
            return response
        found = self._find(kind, request)
        if found is None:
            response.error_response.error_code = StatusCode.NOT_FOUND
            response.error_response.error_message = f"{kind}: not served here"
        else:
            response.file_descriptor_response.file_descriptor_proto.extend(
                file.serialized_pb for file in _with_dependencies([found])
            )
        return response

    def _find(self, kind: str | None, request: Any) -> FileDescriptor | None:  # noqa: ANN401
        files = _with_dependencies(service.file for service in self._served.values())
        if kind == "file_by_filename":
            return next((file for file in files if file.name == request.file_by_filename), None)
        if kind == "file_containing_symbol":
            symbol = request.file_containing_symbol
            return next((file for file in files if _contains(file, symbol)), None)
        return None  # proto3 files have no extensions to find


def _with_dependencies(files: Iterable[FileDescriptor]) -> list[FileDescriptor]:
    """Return `files` and all they import, each once, importers first."""
    found: dict[str, FileDescriptor] = {}
    waiting = list(files)
    while waiting:
        file = waiting.pop(0)
        if file.name not in found:
            found[file.name] = file
            waiting.extend(file.dependencies)
    return list(found.values())


def _contains(file: FileDescriptor, symbol: str) -> bool:
    """Whether `file` declares a service, method, message, field or enum of that full name."""
    prefix = f"{file.package}." if file.package else ""
    if not symbol.startswith(prefix):
        return False
    first, *rest = symbol.removeprefix(prefix).split(".")
    if first in file.services_by_name:
        return not rest or rest[0] in file.services_by_name[first].methods_by_name
    if first in file.enum_types_by_name:
        return True
    message = file.message_types_by_name.get(first)
    for name in rest[:-1]:
        message = message.nested_types_by_name.get(name) if message is not None else None
    if message is None or not rest:
        return message is not None
    return (
        rest[-1] in message.nested_types_by_name
        or rest[-1] in message.fields_by_name
        or rest[-1] in message.enum_types_by_name
    )
