"""The host snapshot: writing, reading, taking over, dying while writing, damage."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tianlu import (
    Health,
    HostSnapshot,
    Instance,
    Liveness,
    Override,
    Port,
    Rung,
    Service,
    ServiceKey,
    ServiceView,
)
from tianlu._snapshot import FILE_NAME, PIN_SECONDS
from tianlu._snapshot_writer import SnapshotWriter

KEY = ServiceKey("default", "orders")


def service_view(revision: int, count: int = 3, name: str = "orders") -> ServiceView:
    instances = tuple(
        Instance(
            "default",
            name,
            str(index),
            "10.0.0.1",
            (Port("http", 80),),
            version=str(revision),
            metadata={"a": "b"},
            override=Override(isolated=index == 1, reason="r"),
            health=Health(Liveness.SUSPECT, "why", 5),
            create_revision=1,
            mod_revision=revision,
        )
        for index in range(count)
    )
    return ServiceView(Service("default", name, owner="us", mod_revision=2), instances)


def now_ms() -> int:
    return round(time.time() * 1000)


def written(directory: Path, revision: int = 7, *, complete: bool = True, **views: ServiceView):
    writer = SnapshotWriter(directory, writer="test", complete=complete)
    services = {ServiceKey("default", name): view for name, view in views.items()}
    assert writer.write(services, revision=revision, confirmed_unix_ms=now_ms() - 60_000)
    return writer


def test_what_was_written_is_read_with_its_revision_and_age(tmp_path: Path):
    writer = written(tmp_path, orders=service_view(7))
    view = HostSnapshot(tmp_path).view()
    assert view is not None
    assert view.services == {KEY: service_view(7)}
    assert (view.revision, view.rung) == (7, Rung.SNAPSHOT)
    assert 60 <= view.age_seconds < 90
    writer.close()
    assert HostSnapshot(tmp_path).view() is not None


def test_absent_snapshot_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert HostSnapshot(tmp_path / "nowhere").view() is None
    assert not caplog.records


def test_only_what_changed_is_written_and_what_is_gone_deleted(tmp_path: Path):
    writer = written(tmp_path, a=service_view(1, name="a"), b=service_view(1, name="b"))
    newer = service_view(9, name="b")
    writer.write({ServiceKey("default", "b"): newer}, revision=9, confirmed_unix_ms=now_ms())
    found = HostSnapshot(tmp_path).read()
    assert found is not None
    meta, services = found
    assert services == {ServiceKey("default", "b"): newer}
    assert (meta.content, meta.revision, meta.services, meta.complete) == (2, 9, 1, True)
    writer.close()


def test_a_partial_writer_leaves_other_services(tmp_path: Path):
    written(tmp_path, a=service_view(1, name="a")).close()
    written(tmp_path, 3, complete=False, b=service_view(3, name="b")).close()
    view = HostSnapshot(tmp_path).view()
    assert view is not None
    assert {key.name for key in view.services} == {"a", "b"}


def test_later_writers_wait_until_the_first_is_gone(tmp_path: Path):
    first = written(tmp_path, orders=service_view(1))
    second = SnapshotWriter(tmp_path, writer="second", complete=True)
    assert not second.write({}, revision=9, confirmed_unix_ms=0)
    first.close()
    assert second.write({KEY: service_view(2)}, revision=9, confirmed_unix_ms=now_ms())
    assert not first.write({}, revision=10, confirmed_unix_ms=0)
    second.close()
    view = HostSnapshot(tmp_path).view()
    assert view is not None
    assert view.services[KEY] == service_view(2)


def test_readers_without_write_permission(tmp_path: Path):
    written(tmp_path, orders=service_view(1)).close()
    tmp_path.chmod(0o555)
    (tmp_path / FILE_NAME).chmod(0o444)
    script = (
        "import os, sys\n"
        "from tianlu import HostSnapshot\n"
        "os.getuid() == 0 and os.setuid(65534)\n"
        "print(len(HostSnapshot(sys.argv[1]).view().services))\n"
    )
    for directory in tmp_path.parents:
        if directory.stat().st_mode & 0o555 != 0o555:
            directory.chmod(directory.stat().st_mode | 0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], capture_output=True, check=False
        )
        assert done.stdout == b"1\n", done.stderr.decode()
    finally:
        tmp_path.chmod(0o755)


CRASHING_WRITER = """
import sys, time, itertools
sys.path.insert(0, sys.argv[2])
from test_host_snapshot import KEY, service_view
from tianlu._snapshot_writer import SnapshotWriter
writer = SnapshotWriter(sys.argv[1], writer="crashing", complete=True)
print("ready", flush=True)
for revision in itertools.count(1):
    writer.write({KEY: service_view(revision, 200)}, revision=revision,
                 confirmed_unix_ms=round(time.time() * 1000))
"""


def test_killed_while_writing_at_any_moment_leaves_a_whole_snapshot(tmp_path: Path):
    newest = 0
    for round_ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", CRASHING_WRITER, str(tmp_path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 0.05 + 0.037 * round_
        reads = 0
        while time.monotonic() < deadline or not reads:
            view = HostSnapshot(tmp_path).view()
            if view is not None:
                _check_whole(view.services[KEY], view.revision)
                reads += 1
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        view = HostSnapshot(tmp_path).view()
        assert view is not None
        _check_whole(view.services[KEY], view.revision)
        newest = max(newest, view.revision)
    assert newest > 1


def _check_whole(view: ServiceView, revision: int) -> None:
    assert {one.version for one in view.instances} == {str(revision)}
    assert len(view.instances) == 200


def test_a_slow_reader_still_sees_the_state_it_began_with(tmp_path: Path):
    """Every state stays whole for PIN_SECONDS: the pages are pinned."""
    from tianlu._lmdb_file import read_states

    clock = [0.0]
    writer = SnapshotWriter(tmp_path, writer="w", complete=True, clock=lambda: clock[0])
    for revision in range(1, 4):
        writer.write({KEY: service_view(revision, 300)}, revision=revision, confirmed_unix_ms=0)
    for items in read_states(tmp_path / FILE_NAME):
        for step in range(20):
            clock[0] += PIN_SECONDS / 21
            writer.write(
                {KEY: service_view(10 + step, 300)}, revision=10 + step, confirmed_unix_ms=0
            )
        records = dict(items)
        break
    assert b'"revision": 3' in records[b"meta"]
    assert b"s/default/orders" in records
    writer.close()


def test_a_damaged_snapshot_is_ignored_with_a_word_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    written(tmp_path, orders=service_view(1, 100)).close()
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[8192:] = bytes(len(data) - 8192)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert HostSnapshot(tmp_path).view() is None
    assert "snapshot.ignored" in caplog.text
    written(tmp_path, orders=service_view(2)).close()
    view = HostSnapshot(tmp_path).view()
    assert view is not None
    assert view.services[KEY] == service_view(2)
    assert path.with_suffix(".damaged").exists()


def test_one_flipped_bit_in_a_record_is_noticed(tmp_path: Path):
    written(tmp_path, orders=service_view(1)).close()
    path = tmp_path / FILE_NAME
    data = path.read_bytes()
    assert data.count(b"10.0.0.1") >= 1
    path.write_bytes(data.replace(b"10.0.0.1", b"10.0.0.3"))
    assert HostSnapshot(tmp_path).view() is None


def test_another_format_is_not_guessed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tianlu._snapshot_writer.FORMAT", 2)
    written(tmp_path, orders=service_view(1)).close()
    monkeypatch.undo()
    assert HostSnapshot(tmp_path).view() is None


def test_a_disk_that_refuses_is_logged_once_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("not a directory")
    writer = SnapshotWriter(tmp_path / "file", writer="w", complete=True)
    with caplog.at_level(logging.WARNING):
        assert not writer.write({}, revision=1, confirmed_unix_ms=0)
        assert not writer.write({}, revision=2, confirmed_unix_ms=0)
    assert caplog.text.count("write_failed") == 1
    writer.close()
