"""Merged permissions, against an oracle that looks at every key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from registry.auth.auth_fakes import BOTH, READ, WRITE

from tianlu._proto.etcd.auth_pb2 import Permission
from tianlu_registry.auth.permissions import Access, KeyPermissions, is_range

LETTERS = "abcdef"
KEYS = [one + two for one in LETTERS for two in ("", "\0", "a", "f")] + ["g", "zz"]
"""Every key that the oracle looks at: enough to tell any two of the ranges below apart."""

bounds = st.sampled_from([letter.encode() for letter in LETTERS])
ends = st.one_of(bounds, st.sampled_from([b"", b"\0", b"ca", b"a\0"]))
kinds = st.sampled_from([READ, WRITE, BOTH])
permissions = st.lists(
    st.builds(lambda kind, key, end: (kind, key, end), kinds, bounds, ends).filter(
        lambda each: is_range(each[1], each[2])
    ),
    max_size=6,
)


def covers(key: str, start: bytes, end: bytes) -> bool:
    wanted = key.encode()
    if not end:
        return wanted == start
    return start <= wanted and (end == b"\0" or wanted < end)


@given(permissions, bounds, ends, st.sampled_from(list(Access)))
def test_a_range_is_permitted_if_all_its_keys_are(
    granted: list[tuple[int, bytes, bytes]], key: bytes, end: bytes, access: Access
) -> None:
    if not is_range(key, end):
        return
    merged = KeyPermissions(
        Permission(permType=kind, key=start, range_end=stop)  # type: ignore[arg-type]
        for kind, start, stop in granted
    )
    suitable = [(start, stop) for kind, start, stop in granted if kind in (access, BOTH)]
    expected = all(
        any(covers(one, start, stop) for start, stop in suitable)
        for one in KEYS
        if covers(one, key, end)
    )
    if end == b"\0":  # no sample of keys shows that a range has no end
        expected = expected and any(stop == b"\0" for _, stop in suitable)
    assert merged.permit(key, end, access) is expected


def test_ranges_that_touch_count_as_one() -> None:
    merged = KeyPermissions(
        Permission(permType=READ, key=key, range_end=end)
        for key, end in ((b"a", b"c"), (b"c", b"f"), (b"f", b""), (b"f\0", b"h"))
    )
    assert merged.permit(b"b", b"g", Access.READ)
    assert not merged.permit(b"b", b"i", Access.READ)
    assert not merged.permit(b"b", b"g", Access.WRITE)
    assert not merged.permit(b"b", b"\0", Access.READ)


def test_of_an_unknown_type_nothing_is_permitted() -> None:
    """As in etcd. Enums are open: a grant may have any number."""
    unknown = Permission(permType=9, key=b"b", range_end=b"d")  # type: ignore[arg-type]
    merged = KeyPermissions([unknown])
    assert not any(merged.permit(b"b", b"", access) for access in Access)


def test_of_an_empty_range_the_start_counts() -> None:
    """As in etcd, where such a range is an interval that overlaps those around its start."""
    merged = KeyPermissions([Permission(permType=READ, key=b"b", range_end=b"d")])
    assert merged.permit(b"c", b"a", Access.READ)
    assert not merged.permit(b"e", b"a", Access.READ)
