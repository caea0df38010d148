"""Whether a newer view may replace what is published. Pure.

Traffic that follows a wrong empty list is the worst thing that a registry can cause, so an empty
or older view from anywhere but a registry never replaces a fuller one.
"""

from __future__ import annotations

from tianlu import CatalogView, Rung


def refusal(view: CatalogView, published: CatalogView | None) -> str:
    """Return why `view` must not replace `published`; "" if it may."""
    if published is None:
        return ""
    from_registry = view.rung is not Rung.SNAPSHOT
    if not view.services and published.services and not (from_registry and view.revision > 0):
        return "it is empty and no registry has said so"
    if not from_registry and view.revision < published.revision:
        return "it is a snapshot, older than what is published"
    return ""
