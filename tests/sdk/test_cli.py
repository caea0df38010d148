"""The command line: lazy loading, output, exit status; in this process and for real."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
import yaml
from sdk_registry import RegistryProcess
from typer.testing import CliRunner, Result

import tianlu
from tianlu._cli import root
from tianlu._cli.calls import exit_status, pairs
from tianlu._cli.instance import parse_port
from tianlu._cli.output import state_of, table, to_data
from tianlu._errors import from_rpc

TIANLU = Path(sys.executable).parent / "tianlu"


@pytest.fixture
def run(shared_registry: RegistryProcess, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIANLU_ENDPOINTS", shared_registry.endpoint)
    monkeypatch.delenv("TIANLU_NAMESPACE", raising=False)

    def invoke(*arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(root.app, arguments, input=stdin)

    return invoke


@pytest.fixture
def registered(shared_registry: RegistryProcess) -> Iterator[tianlu.Client]:
    with tianlu.Client(shared_registry.endpoint, namespace="cli") as client:
        client.put_service(tianlu.Service("cli", "orders", "Takes orders", owner="us"))
        client.register("orders", port=9000, address="10.0.0.7", version="1.0", id="first")
        client.register("orders", port=9001, address="10.0.0.8", version="2.0", id="second")
        yield client
        for id_ in ("first", "second"):
            client.restore("orders", id_)


# What is there.


def test_service_list_as_a_table(run, registered):
    result = run("service", "list", "--namespace", "cli")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "NAMESPACE  SERVICE  SERVING  ISOLATED  SUSPECT  VERSIONS  DESCRIPTION\n"
        "cli        orders   2/2      0         0        1.0 2.0   Takes orders\n"
    )


def test_instance_list_shows_state_and_reason(run, registered):
    assert (
        run("instance", "isolate", "orders.cli", "second", "--reason", "disk is failing").exit_code
        == 0
    )
    registered.set_weight("orders", "first", 0)
    result = run("instance", "list", "orders.cli")
    assert result.stdout == (
        "INSTANCE  ADDRESS        VERSION  WEIGHT  ZONE  STATE      REASON\n"
        "first     10.0.0.7:9000  1.0      0       -     no weight  -\n"
        "second    10.0.0.8:9001  2.0      100     -     isolated   disk is failing\n"
    )
    assert run("instance", "restore", "orders.cli", "second").exit_code == 0
    assert "isolated" not in run("instance", "list", "orders.cli").stdout


def test_json_and_yaml_are_the_sdks_values(run, registered):
    result = run("instance", "list", "orders", "-n", "cli", "-o", "json")
    data = json.loads(result.stdout)
    assert [one["id"] for one in data["instances"]] == ["first", "second"]
    assert data["instances"][0]["ports"] == [{"name": "http", "number": 9000, "protocol": "http"}]
    assert data["instances"][0]["status"] == "up"
    assert data["revision"] > 0
    shown = yaml.safe_load(run("service", "show", "orders.cli", "--output", "yaml").stdout)
    assert shown["service"]["owner"] == "us"
    assert shown["instances"][1]["version"] == "2.0"


def test_service_show_put_delete(run, registered):
    result = run("service", "show", "orders.cli")
    assert result.stdout.startswith("service        orders.cli\ndescription    Takes orders\n")
    assert "first     10.0.0.7:9000" in result.stdout
    put = run(
        *("service", "put", "described.cli", "--description", "New", "--metadata", "tier=1"),
        *("--load-balancer", "round_robin", "--output", "json"),
    )
    assert json.loads(put.stdout)["metadata"] == {"tier": "1"}
    assert run("service", "delete", "described.cli").exit_code == 0
    assert run("service", "delete", "orders.cli").exit_code == 1


def test_watch_and_subscribers(run, registered):
    result = run("watch", "services", "orders.cli", "--count", "3")
    lines = [line.split(maxsplit=1)[1] for line in result.stdout.splitlines()]
    assert lines == [
        "put orders.cli (description)",
        "put orders.cli first 10.0.0.7:9000 serving",
        "put orders.cli second 10.0.0.8:9001 serving",
    ]
    result = run("watch", "services", "--namespace", "cli", "--count", "3", "-o", "json")
    assert [json.loads(line)["kind"] for line in result.stdout.splitlines()] == ["put"] * 3
    registered.subscribe("orders")
    assert "cli        orders" in run("subscribers", "--namespace", "cli").stdout


def test_kv(run):
    assert run("kv", "put", "cli/a", "1").exit_code == 0
    assert run("kv", "put", "cli/b", "-", stdin=b"\xff\x00").exit_code == 0
    result = run("kv", "get", "cli/", "--prefix", "--output", "json")
    assert [one["value"] for one in json.loads(result.stdout)["items"]] == [
        "1",
        {"base64": "/wA="},
    ]
    assert run("kv", "get", "cli/a", "--value-only").stdout_bytes == b"1\n"
    revision = str(json.loads(result.stdout)["items"][0]["mod_revision"])
    watched = run("watch", "kv", "cli/", "--prefix", "--revision", revision, "--count", "2")
    assert watched.stdout.splitlines()[0] == f"{revision} put cli/a 1"
    assert run("kv", "del", "cli/", "--prefix", "-o", "yaml").stdout == "deleted: 2\n"
    assert run("kv", "del", "cli/", "--prefix").exit_code == 1
    missing = run("kv", "get", "cli/a")
    assert (missing.exit_code, missing.stderr) == (1, "tianlu: key 'cli/a' does not exist\n")
    assert run("kv", "put", "a", "b", "--lease", "xyz").exit_code == 2


def test_instance_register_holds_the_session_and_drains(
    shared_registry: RegistryProcess, registered: tianlu.Client
):
    process = subprocess.Popen(
        [
            *(TIANLU, "instance", "register", "held.cli", "--port", "9000", "--port"),
            *("rpc=9001/grpc", "--drain-seconds", "0.1", "-e", shared_registry.endpoint),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "registered held.cli 127.0.0.1:9000\n"
    (instance,) = registered.list_instances("held")
    assert [port.protocol for port in instance.ports] == ["http", "grpc"]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "tianlu: draining\n")
    with pytest.raises(tianlu.NotFound):
        registered.list_instances("held")


# What goes wrong.


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["instance", "list", "nowhere"], 1, "service nowhere in namespace default"),
        (["instance", "isolate", "a", "b", "--reason", " "], 2, "reason: "),
        (["instance", "set-weight", "a", "b", "20000"], 2, "weight: must be a whole number"),
        (["service", "put", "Bad_Name"], 2, "service.name: "),
        (["service", "put", "a", "--metadata", "x"], 2, "metadata: 'x' is not KEY=VALUE"),
        (["instance", "register", "a", "--port", "x"], 2, "port[0]: 'x' is not"),
        (["instance", "register", "a", "--port", "99999"], 2, "ports[0].number: "),
        (["service", "list", "-e", "nonsense"], 2, "endpoints[0]: 'nonsense' cannot be read"),
        (["kv", "compact", "999999999"], 1, "future revision"),
        (["service", "list", "-e", "127.0.0.1:1", "--timeout", "0.3"], 3, "127.0.0.1:1"),
    ],
)
def test_errors_are_one_line_and_a_status(run, arguments: list[str], status: int, line: str):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    assert result.stderr.startswith("tianlu: ")
    assert result.stderr.count("\n") == 1
    assert line in result.stderr


def test_wrong_options_are_wrong_usage(run):
    assert run("service", "list", "--output", "xml").exit_code == 2
    assert run("nonsense").exit_code == 2
    assert run("service").exit_code == 2


def test_every_error_has_a_status():
    codes = ["INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN"]
    found = [exit_status(from_rpc(code, "text", endpoint="e")) for code in codes]
    assert found == [2, 1, 3, 3, 3]
    assert exit_status(tianlu.LimitReached("full")) == 1


# Loading.


def test_help_lists_all_and_imports_none():
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from tianlu._cli.root import app\n"
        "print(CliRunner().invoke(app, ['--help']).stdout)\n"
        "parts = ('tianlu_', 'grpc', 'google.protobuf', 'httpx', 'lmdb')\n"
        "print('LOADED', [name for name in sys.modules if name.startswith(parts)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "LOADED []" in done.stdout
    for name in ("service", "instance", "kv", "watch", "up", "registry", "console", "mesher"):
        assert f" {name} " in done.stdout


def test_entry_points_may_be_applications_or_functions(monkeypatch: pytest.MonkeyPatch):
    app = typer.Typer()

    @app.callback(invoke_without_command=True)
    def single(loud: bool = False) -> None:
        """One command."""
        typer.echo("HELLO" if loud else "hello")

    def plain(name: str) -> None:
        """A function."""
        typer.echo(f"hello {name}")

    loaded = {"single": app, "plain": plain, "broken": None, "number": 5}

    def load(point: EntryPoint) -> object:
        if loaded[point.name] is None:
            raise ImportError("no module named gone")
        return loaded[point.name]

    monkeypatch.setattr(EntryPoint, "load", load)
    points = [EntryPoint(name, f"m:{name}", root.GROUP) for name in loaded]
    monkeypatch.setattr(root, "entry_points", lambda group: points)
    runner, command = CliRunner(), typer.Typer(cls=root.LazyGroup)
    command.callback()(lambda: None)
    assert runner.invoke(command, ["single", "--loud"]).stdout == "HELLO\n"
    assert runner.invoke(command, ["plain", "world"]).stdout == "hello world\n"
    broken = runner.invoke(command, ["broken"])
    assert broken.exit_code == 2
    assert "no module named gone" in broken.output
    assert isinstance(runner.invoke(command, ["number"]).exception, TypeError)
    assert "From m:single." in runner.invoke(command, ["--help"]).stdout


def leaves(command):
    """Yield the commands of a group, and of the groups in it."""
    for one in getattr(command, "commands", {}).values():
        yield from leaves(one)
    if not hasattr(command, "commands"):
        yield command


def test_every_command_teaches_with_an_example():
    for name in root._OWN:
        command = root.as_command(root.subcommands()[name].load(), name)
        for one in leaves(command):
            assert one.help is not None
            assert "Examples:" in one.help, one.name


def test_version(run):
    found = json.loads(run("version", "--output", "json").stdout)
    assert found["tianlu"] == tianlu.__version__


# Small parts.


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("9000", tianlu.Port("http", 9000)),
        ("web=9000", tianlu.Port("web", 9000)),
        ("9001/grpc", tianlu.Port("grpc", 9001, "grpc")),
        ("rpc=9001/grpc", tianlu.Port("rpc", 9001, "grpc")),
    ],
)
def test_ports_are_read(text: str, port: tianlu.Port):
    assert parse_port("port[0]", text) == port


def test_pairs_are_read():
    assert pairs("m", ["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(tianlu.InvalidInput):
        pairs("m", ["=1"])


def test_tables_are_aligned_and_safe():
    text = table(("A", "LONG"), [("xx", ""), ("y\x1b[2J\n", "z")])
    plain = re.sub(r"\x1b\[\d+m", "", text)
    assert plain == "A       LONG\nxx      -\ny [2J   z\n"


def test_data_of_values():
    key = tianlu.ServiceKey("n", "s")
    change = tianlu.Change(tianlu.ChangeKind.PUT, 3, key)
    assert to_data(change) == {
        "kind": "put",
        "revision": 3,
        "key": {"namespace": "n", "name": "s"},
        "instance_id": "",
        "instance": None,
        "service": None,
    }
    with pytest.raises(TypeError):
        to_data(object())


def test_states_are_one_word():
    instance = tianlu.Instance("n", "s", "i", "a")
    assert state_of(instance) == "serving"
