"""What is held against a cluster: every rule refuses what it is there to refuse."""

from __future__ import annotations

from dataclasses import replace

from cluster import leases, locks, revisions, watches
from cluster.histories import NEVER, History, Kind, Operation, read
from cluster.leases import Tenancy
from cluster.revisions import Event
from cluster.watches import Seen
from hypothesis import given, settings
from hypothesis import strategies as st

ACCOUNT = [
    Event(2, "a", "1", 2),
    Event(3, "b", "2", 3),
    Event(4, "a", "3", 2),
    Event(5, "b", None),
    Event(6, "b", "4", 6),
]


def put(at: float, key: str, value: str, revision: int) -> Operation:
    return Operation(1, Kind.PUT, key, at, at + 1, value, revision=revision)


def get(at: float, key: str, value: str | None, revision: int, mod_revision: int) -> Operation:
    return Operation(
        2, Kind.GET, key, at, at + 1, value, revision=revision, mod_revision=mod_revision
    )


def delete(at: float, key: str, revision: int) -> Operation:
    return Operation(3, Kind.DELETE, key, at, at + 1, revision=revision)


OPERATIONS = [
    put(0, "a", "1", 2),
    put(10, "b", "2", 3),
    get(15, "a", "1", 3, 2),
    put(20, "a", "3", 4),
    delete(30, "b", 5),
    get(35, "b", None, 5, 0),
    replace(put(40, "b", "4", 0), completed=NEVER),
    get(50, "b", "4", 6, 6),
]


def test_an_account_that_agrees_is_not_held_against_anybody() -> None:
    assert revisions.judge(OPERATIONS, ACCOUNT) == []


def test_an_acknowledged_write_that_is_missing_is_lost() -> None:
    (found,) = revisions.judge([put(0, "a", "9", 9)], ACCOUNT[:0])
    assert found.startswith("lost")


def test_a_write_at_another_revision_or_with_another_value_shows() -> None:
    assert revisions.judge([*OPERATIONS, put(60, "a", "8", 4)], ACCOUNT)
    changed = [replace(ACCOUNT[0], value="2"), *ACCOUNT[1:]]
    assert revisions.judge(OPERATIONS, changed)


def test_revisions_follow_real_time() -> None:
    backwards = [put(0, "a", "1", 4), get(10, "b", None, 3, 0)]
    found = revisions.judge(backwards, [Event(4, "a", "1", 4)])
    assert ["has no newer revision" in one for one in found] == [True]
    same = [put(0, "a", "1", 4), put(10, "a", "2", 4)]
    assert any("no newer" in one for one in revisions.judge(same, [Event(4, "a", "1", 4)]))
    overlapping = [put(0, "a", "1", 4), replace(get(0.5, "b", None, 3, 0), completed=9)]
    assert revisions.judge(overlapping, [Event(4, "a", "1", 4)]) == []


def test_a_change_that_nobody_asked_for_shows_and_so_does_one_made_twice() -> None:
    stranger = [*ACCOUNT, Event(7, "a", "stranger", 2)]
    assert "nobody" in revisions.judge(OPERATIONS, stranger)[0]
    twice = [*ACCOUNT, Event(7, "b", "4", 6)]
    assert "twice" in revisions.judge(OPERATIONS, twice)[0]


def test_a_read_tells_what_the_store_held_at_its_revision() -> None:
    assert revisions.judge([*OPERATIONS, get(60, "a", "1", 6, 2)], ACCOUNT)
    assert revisions.judge([*OPERATIONS, get(60, "a", "3", 6, 2)], ACCOUNT)
    assert revisions.judge([*OPERATIONS, get(60, "a", "3", 6, 4)], ACCOUNT) == []


SEEN = [Seen(event, float(number), 1) for number, event in enumerate(ACCOUNT)]


def test_a_watch_sees_every_change_once_and_in_order() -> None:
    assert watches.judge(1, SEEN, ACCOUNT) == []
    assert watches.judge(4, SEEN[2:], ACCOUNT) == []
    assert "never came" in watches.judge(1, SEEN[:-1], ACCOUNT)[0]
    assert "did not come" in watches.judge(1, [*SEEN[:2], *SEEN[3:]], ACCOUNT)[0]
    assert "twice" in watches.judge(1, [*SEEN[:3], *SEEN[2:]], ACCOUNT)[0]
    invented = Seen(Event(3, "c", "x", 3), 1.0, 1)
    assert "never" in watches.judge(1, [*SEEN[:2], invented, *SEEN[2:]], ACCOUNT)[0]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_damage_to_a_watch_shows(data: st.DataObject) -> None:
    count = len(SEEN)
    first, second = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count - 1))
    swapped = list(SEEN)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    assert bool(watches.judge(1, swapped, ACCOUNT)) == (first != second)
    assert watches.judge(1, [*SEEN[:first], *SEEN[first + 1 :]], ACCOUNT)


def test_a_key_stays_as_long_as_its_lease_was_promised() -> None:
    life = Tenancy("k", lease=1, revision=2, kept_until=100.0)
    for gone, wrong in ((99.0, True), (101.0, False)):
        watch = [Seen(Event(3, "k", None), gone, 1)]
        assert bool(leases.judge([life], [watch])) == wrong
    assert leases.judge([life], [[]]) == []
    late, early = [Seen(Event(3, "k", None), at, 1) for at in (120.0, 90.0)]
    assert leases.judge([life], [[late], [early]]), "the earliest sight counts"


def lock_events(*events: Event) -> list[str]:
    return locks.judge(list(events), "l/")


def test_only_the_holder_of_a_lock_writes() -> None:
    first, second = Event(2, "l/lock/a", "0", 2), Event(3, "l/lock/b", "1", 3)
    released = Event(5, "l/lock/a", None)
    by_first, by_second = Event(4, "l/guarded", "2 0 1 0", 4), Event(6, "l/guarded", "3 1 1 0", 4)
    assert lock_events(first, second, by_first, released, by_second) == []
    assert "held the lock" in lock_events(first, second, Event(4, "l/guarded", "3 1 1 0", 4))[0]
    late = Event(7, "l/guarded", "2 0 1 1", 4)
    assert len(lock_events(first, second, by_first, released, by_second, late)) == 2


def test_a_history_is_read_back_as_it_was_written(tmp_path) -> None:
    file = tmp_path / "history.jsonl"
    with History(file) as history:
        for operation in OPERATIONS:
            history.add(operation)
    assert read(file) == OPERATIONS
    assert history.acknowledged() == len(OPERATIONS) - 1
