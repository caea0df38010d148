"""The demo shop's processes. Pure; the shop itself stands in deploy/demo."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tianlu_standalone.datadir import DataDir, StartError
from tianlu_standalone.parts import Part, Probe
from tianlu_standalone.users import Users

_PACKAGED = Path(__file__).parent / "demo"
_IN_REPOSITORY = Path(__file__).parents[2] / "demo"
DIRECTORY = _PACKAGED if _PACKAGED.is_dir() else _IN_REPOSITORY

PART_PREFIX = "demo-"


@dataclass(frozen=True, slots=True)
class ShopProcess:
    """One instance of one of the shop's services."""

    service: str
    number: int
    version: str = "1"

    @property
    def part_name(self) -> str:
        return f"{PART_PREFIX}{self.service}-{self.number}"


INSTANCES = (
    ShopProcess("inventory", 1),
    ShopProcess("inventory", 2),
    ShopProcess("orders", 1),
    ShopProcess("orders", 2),
    ShopProcess("orders", 3, version="2"),
    ShopProcess("web", 1),
)


def shop_parts(
    data: DataDir,
    *,
    entrance: str,
    registry: str,
    mesher: str,
    requests_per_second: float,
    users: Users | None = None,
) -> tuple[Part, ...]:
    """Return the shop's instances and the load on it.

    Args:
        data: a held data directory.
        entrance: URL of the gateway.
        registry: endpoints of the registry itself, with commas between. The shop prefers the first
            of them to the entrance, so that its sessions do not depend on the gateway.
        mesher: URL of the mesher's outbound proxy.
        requests_per_second: of the load, which goes in through the gateway.
        users: who the shop is towards the registry.
    """
    environment = {
        **(users.environment("demo") if users is not None else {}),
        "TIANLU_ENDPOINTS": f"{registry},{entrance.removeprefix('http://')}",
        "TIANLU_MESHER": mesher,
    }
    instances = tuple(
        Part(
            process.part_name,
            (sys.executable, str(DIRECTORY / f"{process.service}.py")),
            environment={
                **environment,
                "SHOP_VERSION": process.version,
                "SHOP_RUN_FILE": str(data.run / f"{process.part_name}.json"),
            },
            run_file=data.run / f"{process.part_name}.json",
            probe=Probe("/healthz"),
            stop_order=-1,
            demo=True,
        )
        for process in INSTANCES
    )
    load = Part(
        f"{PART_PREFIX}load",
        (sys.executable, str(DIRECTORY / "load.py"), entrance, str(requests_per_second)),
        stop_order=-2,
        demo=True,
    )
    return (*instances, load)


def process_to_kill(run: dict[str, object], service: str) -> tuple[str, int]:
    """Choose a running instance of a demo service.

    Args:
        run: content of run.json.
        service: such as ``orders``.

    Returns:
        The part's name and process id.

    Raises:
        StartError: the demo has no such service, or none of its instances runs.
    """
    parts = run.get("parts")
    mine = {
        name: part
        for name, part in (parts.items() if isinstance(parts, dict) else ())
        if part.get("demo") and name.rpartition("-")[0] == PART_PREFIX + service
    }
    if not mine:
        known = ", ".join(sorted({process.service for process in INSTANCES}))
        raise StartError(f"the demo has no service {service!r}; it has {known}")
    for name, part in sorted(mine.items()):
        if part.get("state") == "serving" and isinstance(part.get("pid"), int):
            return name, part["pid"]
    raise StartError(f"no instance of {service} runs at the moment; try again in a few seconds")
