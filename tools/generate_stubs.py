#!/usr/bin/env python3
"""Generate the Python stubs under sdk/python/src/tianlu/_proto from proto/.

Usage: `uv run tools/generate_stubs.py` rewrites them; `--check` only says whether they are fresh
(exit 1 if not).

The stubs use a descriptor pool of their own (tianlu._proto.pool), so that an application may load
another etcd client's stubs, which declare the same names, in the same process. Services are called
and served by their descriptors; no `_pb2_grpc` modules are made.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
OUT = ROOT / "sdk/python/src/tianlu/_proto"
PACKAGE = "tianlu._proto"
_PRIVATE_POOL = f"from {PACKAGE}.pool import POOL as _POOL\n"


def _rewrite(text: str) -> str:
    """Point imports at our package and registration at our pool."""
    text = re.sub(
        r"^from (etcd|tianlu\.v1) import", rf"from {PACKAGE}.\1 import", text, flags=re.MULTILINE
    )
    text = text.replace(f"{PACKAGE}.tianlu.v1", f"{PACKAGE}.v1")
    if "_descriptor_pool.Default()" in text:
        text = text.replace("_descriptor_pool.Default()", "_POOL")
        text = text.replace(
            "from google.protobuf import descriptor_pool as _descriptor_pool\n", _PRIVATE_POOL
        )
    text = re.sub(
        r"^_runtime_version\.ValidateProtobufRuntimeVersion\(.*?\)\n",
        "",
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    return text.replace("from google.protobuf import runtime_version as _runtime_version\n", "")


def generate() -> dict[Path, str]:
    """Return every stub's path and text."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        status = protoc.main(
            ["protoc", f"-I{PROTO}", f"--python_out={scratch}", f"--pyi_out={scratch}", *sources]
        )
        if status != 0:
            raise SystemExit(f"protoc failed with status {status}")
        made: dict[Path, str] = {}
        for path in sorted(Path(scratch).rglob("*_pb2.py*")):
            relative = path.relative_to(scratch)
            parts = relative.parts[1:] if relative.parts[0] == "tianlu" else relative.parts
            made[OUT.joinpath(*parts)] = _rewrite(path.read_text())
        return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a stub is stale"
    )
    arguments = parser.parse_args()
    stale = [
        (path, text)
        for path, text in generate().items()
        if not path.exists() or path.read_text() != text
    ]
    for path, text in stale:
        print(f"{'stale' if arguments.check else 'wrote'} {path.relative_to(ROOT)}")
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
