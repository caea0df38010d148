"""Texts for people that are written in one place and translated in another.

A message is made where the fault is known and shown where the reader's language is known. `Text`
carries it between the two: an English msgid and its parameters. `N_` only marks a literal for
extraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from gettext import NullTranslations
from types import MappingProxyType
from typing import Final

_NONE: Final[Mapping[str, object]] = MappingProxyType({})


def N_(message: str) -> str:  # noqa: N802 (gettext's own name, which the extractor looks for)
    """Mark `message` for translation and return it as it is."""
    return message


@dataclass(frozen=True, slots=True)
class Text:
    """A translatable sentence.

    Attributes:
        msgid: English, with %(name)s for each parameter.
        parameters: what goes in; never translated.
    """

    msgid: str
    parameters: Mapping[str, object] = field(default_factory=lambda: _NONE)

    def render(self, translations: NullTranslations) -> str:
        """Return the sentence in the language of `translations`."""
        translated = translations.gettext(self.msgid)
        return translated % self.parameters if self.parameters else translated

    def __str__(self) -> str:
        return self.msgid % self.parameters if self.parameters else self.msgid
