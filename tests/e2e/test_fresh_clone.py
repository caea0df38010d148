"""`bin/up` in a fresh clone, as a new user would start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from e2e.platform_process import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of what is committed."""
    directory = tmp_path_factory.mktemp("fresh") / "tianlu"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(directory)], check=True)
    return directory


def without_virtual_environment() -> dict[str, str]:
    """Return this environment as a user's shell has it, not as pytest's."""
    hidden = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def test_bin_up_serves_the_shop(clone: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        up = subprocess.Popen(
            ["./bin/up", "--listen", "127.0.0.1:0"],
            cwd=clone,
            env=without_virtual_environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        def link() -> re.Match[str] | None:
            assert up.poll() is None, output.read_text()
            return re.search(r"first visit: (http://\S+?)/console/", output.read_text())

        found = wait_until("bin/up prints the first-visit link", link, 480)
        assert found is not None
        entrance = found.group(1)
        assert httpx.get(f"{entrance}/readyz").status_code == httpx.codes.OK
        wait_until(
            "the shop answers",
            lambda: httpx.get(f"{entrance}/s/default/web/").is_success,
            60,
        )
        assert (clone / ".tianlu" / "run.json").exists()
        assert list(clone.glob(".tools/cores/*/tianlu_registry/mvcc/store.*.so"))
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(40) == 0
    assert output.read_text().endswith("stopped\n")


@pytest.mark.parametrize("name", ["old", "none"])
def test_without_a_usable_python_it_says_so_in_one_line(
    clone: Path, tmp_path: Path, name: str
) -> None:
    """The set-up's own functions, with a PATH on which python3 is too old or is not there."""
    if name == "old":
        old = tmp_path / "python3"
        old.write_text("#!/bin/sh\necho 'old - 3.9'\n")
        old.chmod(0o755)
    script = f"ROOT={clone}; PATH={tmp_path}; . {clone}/bin/_setup.sh; PYTHONS=python3; find_python"
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, timeout=60)
    found = ", found only 3.9" if name == "old" else ""
    assert done.returncode == 1
    assert done.stderr == (
        f"tianlu: Python 3.11 or newer is needed{found}; install it and try again\n"
    )
