"""Files of the audit log: bounded, continued, moved away by others, torn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tianlu_registry.audit.files import RotatingFile
from tianlu_registry.audit.options import AuditOptions
from tianlu_registry.errors import InvalidArgument


def test_a_full_file_is_followed_by_another_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = RotatingFile(path, bytes_max=4, older_max=2)
    for line in (b"a\n", b"b\n", b"c\n", b"d\n", b"e\n", b"f\n", b"g\n"):
        file.append(line)
    file.close()
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "audit.log": "g\n",
        "audit.log.1": "e\nf\n",
        "audit.log.2": "c\nd\n",
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_older_ones_it_begins_anew(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "audit.log", bytes_max=2, older_max=0)
    file.append(b"a\n")
    file.append(b"b\n")
    file.close()
    assert [each.read_text() for each in tmp_path.iterdir()] == ["b\n"]


def test_it_is_continued_after_a_restart(tmp_path: Path) -> None:
    for line in (b"a\n", b"b\n"):
        file = RotatingFile(tmp_path / "audit.log", bytes_max=100, older_max=1)
        file.append(line)
        file.close()
    assert (tmp_path / "audit.log").read_text() == "a\nb\n"


def test_half_a_line_of_before_stays_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text('a\n{"half')
    file = RotatingFile(path, bytes_max=100, older_max=1)
    file.append(b"b\n")
    file.close()
    assert path.read_text().splitlines() == ["a", '{"half', "b"]


def test_a_file_that_was_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = RotatingFile(path, bytes_max=100, older_max=1)
    file.append(b"a\n")
    path.rename(tmp_path / "moved")
    file.append(b"b\n")
    (tmp_path / "other").write_text("")
    (tmp_path / "other").replace(path)
    file.append(b"c\n")
    file.close()
    assert (tmp_path / "moved").read_text() == "a\n"
    assert path.read_text() == "c\n"


def test_a_directory_that_went_away_is_an_error_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    file = RotatingFile(tmp_path / "logs" / "audit.log", bytes_max=100, older_max=1)
    (tmp_path / "logs").rmdir()
    with pytest.raises(OSError, match="No such file"):
        file.append(b"a\n")
    (tmp_path / "logs").mkdir()
    file.append(b"b\n")
    file.close()
    assert (tmp_path / "logs" / "audit.log").read_text() == "b\n"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"bytes_max": 10}, "audit_log_max_bytes"),
        ({"files": 0}, "audit_log_files"),
        ({"path": "", "strict": True}, "audit_log_strict"),
    ],
)
def test_options_that_cannot_be_are_named(settings: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        AuditOptions(**{"path": "a", **settings})  # type: ignore[arg-type]
    assert raised.value.field == field
