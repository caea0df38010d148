"""An answer that a handler has as bytes: it is sent as it is, and never built as a message."""

from __future__ import annotations

from typing import Final


class EncodedMessage:
    """A serialized message in the place of one.

    Attributes:
        data: the bytes.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data: Final = data

    def SerializeToString(self) -> bytes:  # noqa: N802 - the name that messages have
        """Return the bytes."""
        return self.data
