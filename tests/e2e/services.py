"""Small real services that tests register: HTTP and gRPC."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

GRPC_METHOD = "/e2e.Echo/Echo"

_HTTP_PROCESS = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"name": sys.argv[1], "pid": os.getpid(), "path": self.path}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def http_process(name: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run an HTTP service as a process; gives its port and the process, to be killed."""
    with subprocess.Popen(
        [sys.executable, "-c", _HTTP_PROCESS, name], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


@contextlib.contextmanager
def http_echo(name: str) -> Iterator[int]:
    """Run an HTTP service in a thread; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps({"name": name, "path": self.path}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def grpc_echo() -> Iterator[tuple[int, Callable[..., bytes | None]]]:
    """Run a gRPC echo service; gives its port and a function that calls it through a target."""

    class Echo(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if details.method != GRPC_METHOD:
                return None
            return grpc.unary_unary_rpc_method_handler(lambda request, _: request)

    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def call(target: str, authority: str, message: bytes) -> bytes | None:
        options = [("grpc.default_authority", authority), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(target, options) as channel:
            try:
                answer: bytes = channel.unary_unary(GRPC_METHOD)(message, timeout=5)
            except grpc.RpcError:
                return None
            return answer

    try:
        yield port, call
    finally:
        server.stop(None).wait()
