"""The client programs: where they are built, and from what.

Each language has a folder of sources here and one of the same name under `BUILT`, which holds its
toolchain (where a package index carries one), its packages and what was built. A stamp there
tells from which sources that was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parents[1] / ".tools" / "clients"


@dataclass(frozen=True, slots=True)
class Language:
    """The programs of one language.

    Attributes:
        name: of its folder.
        inputs: patterns of the files that a build depends on; what an interpreter reads as it
            stands is none of them.
    """

    name: str
    inputs: tuple[str, ...]

    @property
    def sources(self) -> Path:
        return HERE / self.name

    @property
    def built(self) -> Path:
        return BUILT / self.name

    def digest(self) -> str:
        """Return one digest over the names and contents of the inputs."""
        digest = hashlib.sha256()
        files = {file for pattern in self.inputs for file in self.sources.glob(pattern)}
        for file in sorted(files):
            digest.update(file.relative_to(self.sources).as_posix().encode() + b"\0")
            digest.update(file.read_bytes() + b"\0")
        return digest.hexdigest()

    def is_built(self) -> bool:
        """Tell whether what stands under `built` comes from the present sources."""
        stamp = self.built / "stamp"
        return stamp.exists() and stamp.read_text() == self.digest()


GO = Language("go", ("*.go", "go.mod", "go.sum", "toolchain.txt"))
JAVA = Language("java", ("clients/*.java", "pom.xml"))
NODE = Language("node", ("package.json", "toolchain.txt"))
PYTHON = Language("python", ("*.txt",))
LANGUAGES = (GO, JAVA, NODE, PYTHON)

PYTHON_CLIENTS = ("etcd3", "aetcd", "etcd3gw", "etcd3py")


def _python(name: str) -> list[str]:
    return [str(PYTHON.built / name / "bin/python"), str(PYTHON.sources / f"with_{name}.py")]


SUITES: dict[str, tuple[Language, list[str]]] = {
    "go client": (GO, [str(GO.built / "program"), "client"]),
    "go kubernetes": (GO, [str(GO.built / "program"), "kubernetes"]),
    "node etcd3": (
        NODE,
        [
            *("env", f"NODE_PATH={NODE.built / 'node_modules'}"),
            *(str(NODE.built / "node"), str(NODE.sources / "main.js")),
        ],
    ),
    "java jetcd": (
        JAVA,
        [
            *("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-cp", f"{JAVA.built / 'classes'}:{JAVA.built / 'libraries'}/*", "clients.Main"),
        ],
    ),
    **{f"python {name}": (PYTHON, _python(name)) for name in PYTHON_CLIENTS},
}
"""Command lines of the programs, without where the servers are."""
