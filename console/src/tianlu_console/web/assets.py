"""The built front end: which file has which hashed name, and serving them."""

from __future__ import annotations

import json
import logging
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from tianlu_console.errors import Missing
from tianlu_console.text import N_, Text

_logger = logging.getLogger(__name__)

DIST: Final = Path(__file__).parent.parent / "static" / "dist"
CACHE_FOREVER: Final = "public, max-age=31536000, immutable"
"""A changed file has another name."""


class Assets:
    """The files of one build.

    Args:
        base_path: where the console's addresses begin, without a slash at the end.
    """

    def __init__(self, base_path: str, dist: Path = DIST) -> None:
        self._prefix = f"{base_path}/static"
        self._dist = dist
        self._names = read_manifest(dist)
        # Only names that the build made are served: a request never becomes a path.
        self._servable = frozenset(path.name for path in dist.glob("*") if path.suffix != ".gz")

    def url(self, name: str) -> str:
        """Return the address of a built file by the name that its source has; "" if it was not
        built.
        """
        built = self._names.get(name)
        return f"{self._prefix}/{built}" if built else ""

    def router(self) -> APIRouter:
        """Return the route that serves the files."""
        router = APIRouter()
        router.add_api_route("/static/{name}", self.serve, methods=["GET"])
        return router

    def serve(self, request: Request, name: str) -> Response:
        """Send a file, compressed where the browser takes it."""
        if name not in self._servable:
            raise Missing(Text(N_("There is no such file.")))
        path, headers = (
            self._dist / name,
            {"cache-control": CACHE_FOREVER, "vary": "Accept-Encoding"},
        )
        compressed = path.with_name(f"{name}.gz")
        if "gzip" in request.headers.get("accept-encoding", "") and compressed.exists():
            path, headers = compressed, {**headers, "content-encoding": "gzip"}
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return FileResponse(path, headers=headers, media_type=media_type)


def read_manifest(dist: Path) -> Mapping[str, str]:
    """Return built names by source names; empty, with a warning, if the front end was not built."""
    try:
        files = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError) as error:
        _logger.warning(
            "front end not built, pages have no style: run `uv sync` error=%r", str(error)
        )
        return {}
    return {str(name): str(built) for name, built in files.items()}
