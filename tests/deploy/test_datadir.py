"""The data directory: who holds it, and what cannot be one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tianlu_standalone.datadir import SOCKET_PATH_BYTES_MAX, DataDir, StartError, read_run


def test_a_second_opener_is_told_who_holds_it(tmp_path: Path) -> None:
    held = DataDir.open(tmp_path / "data")
    try:
        with pytest.raises(StartError, match=rf"is held by process {os.getpid()} \(tianlu up\)"):
            DataDir.open(tmp_path / "data")
    finally:
        held.close()
    DataDir.open(tmp_path / "data").close()


def test_a_killed_holder_leaves_the_directory_free(tmp_path: Path) -> None:
    code = (
        "import sys, os, pathlib; from tianlu_standalone.datadir import DataDir;"
        "DataDir.open(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], check=False)
    DataDir.open(tmp_path / "data").close()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StartError, match="a file stands where the directory should be"):
        DataDir.open(tmp_path / "data")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_an_unwritable_directory_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    tmp_path.chmod(0o755)
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        try:
            DataDir.open(tmp_path / "closed")
        except StartError as error:
            os._exit(0 if "not writable for this user" in str(error) else 2)
        finally:
            os._exit(3)
    status = os.waitpid(pid, 0)[1]
    # pytest's own temporary directory may be closed to others; then even looking is refused.
    assert os.waitstatus_to_exitcode(status) == 0


def test_sockets_fit_whatever_the_length_of_the_path(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path / ("long" * 30))
    try:
        assert len(os.fsencode(data.socket("registry-admin"))) <= SOCKET_PATH_BYTES_MAX
        assert data.run.stat().st_mode & 0o077 == 0
    finally:
        data.close()
        data.run.rmdir()


def test_run_file_is_private_and_gone_after_close(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path)
    data.write_run({"pid": 1})
    assert read_run(tmp_path) == {"pid": 1}
    assert data.run_file.stat().st_mode & 0o077 == 0
    data.close()
    with pytest.raises(StartError, match="nothing runs on"):
        read_run(tmp_path)
