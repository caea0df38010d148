"""Three registry nodes: each is ended under load, the leader by SIGKILL, and no caller notices."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator

import grpc
import httpx
import pytest
from e2e.call_loops import call_loops
from e2e.load import EvenLoad
from e2e.platform_process import Platform, platform, wait_until
from e2e.services import http_process

import tianlu
from tianlu._proto.etcd import rpc_pb2

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NODES = ("registry-1", "registry-2", "registry-3")
SERVICE = "lasting"
CALL_SECONDS = 60.0
"""What a call may take before it counts as failed: an election and a restart on a slow machine are
well within it, and what is not retried fails at once."""

TTL_SECONDS = 60
"""Of sessions: this is not about machines that are too slow to renew one."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("cluster") / "data", "--nodes", "3") as made:
        yield made.wait_ready()


def sockets(running: Platform) -> list[str]:
    """Return the nodes' endpoints on this machine."""
    return [running.address(node, "client_urls")[1] for node in NODES]


def leader(running: Platform) -> str:
    """Return the node that leads, once there is one that all agree on."""

    def agreed() -> str:
        named = {}
        for node, target in zip(NODES, sockets(running), strict=True):
            with grpc.insecure_channel(target) as channel:
                call = channel.unary_unary(
                    "/etcdserverpb.Maintenance/Status",
                    request_serializer=rpc_pb2.StatusRequest.SerializeToString,
                    response_deserializer=rpc_pb2.StatusResponse.FromString,
                )
                try:
                    status = call(rpc_pb2.StatusRequest(), timeout=10)
                except grpc.RpcError:
                    return ""
            named[node] = (status.header.member_id, status.leader)
        leaders = {leader for _, leader in named.values()}
        found = [node for node, (member, _) in named.items() if leaders == {member}]
        return found[0] if found else ""

    return wait_until("a leader", agreed, 60)


class Watched:
    """The changes of the service, as one client sees them, across all failovers."""

    def __init__(self, client: tianlu.Client) -> None:
        self.changes: list[tianlu.Change] = []
        self._client = client
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        with contextlib.suppress(tianlu.ClientClosed):
            for change in self._client.watch(SERVICE):
                self.changes.append(change)

    def weights(self, instance_id: str) -> list[int]:
        """Return the weights that an instance was seen with."""
        return [
            change.instance.weight
            for change in self.changes
            if change.instance is not None and change.instance_id == instance_id
        ]


class Owner:
    """Registers an instance and says its weight anew with each call, counting up."""

    def __init__(self, client: tianlu.Client, port: int) -> None:
        self.registration = client.register(SERVICE, port=port, address="127.0.0.1", weight=1)
        self.session_id = client.status().session_id
        self._client = client
        self._weights = itertools.count(2)

    def update(self) -> None:
        self.registration.update(weight=next(self._weights))

    def check(self) -> None:
        """Everything said was kept, under the session of the beginning."""
        status = self._client.status()
        assert (status.session_id, status.session) == (self.session_id, "held")


def end(running: Platform, node: str, number: signal.Signals) -> None:
    """End a node, and wait until it is back and serves."""
    restarts = running.run()["parts"][node]["restarts"]
    os.kill(running.pid(node), number)
    running.wait_restarted(node, restarts + 1)


def test_nodes_end_one_after_the_other_and_no_call_that_can_be_retried_fails(
    running: Platform,
) -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(http_process(SERVICE))[0] for _ in range(2)]
        direct, through, learning = (
            stack.enter_context(
                tianlu.Client(
                    endpoints,
                    timeout_seconds=CALL_SECONDS,
                    ttl_seconds=TTL_SECONDS,
                    learn_endpoints=learn,
                )
            )
            for endpoints, learn in (
                (sockets(running), False),
                (running.authority, False),
                (running.address("registry-1", "client_urls")[0], True),
            )
        )
        owners = [Owner(direct, ports[0]), Owner(through, ports[1])]
        watches = [Watched(direct), Watched(through)]
        direct.subscribe(SERVICE)
        direct.kv.put("failover", "x")
        url = f"{running.entrance}/s/default/{SERVICE}/"
        wait_until("the service answers", lambda: httpx.get(url).is_success)
        learning.kv.get("failover")  # learning begins with the first call
        wait_until("nodes are learnt", lambda: len(learning.status().endpoints) >= 3, 90)

        calls: dict[str, Callable[[], object]] = {
            "reads of the nodes": lambda: both_listed(direct),
            "reads through the gateway": lambda: both_listed(through),
            "reads of learnt nodes": lambda: both_listed(learning),
            "keys": lambda: direct.kv.get("failover"),
            "picks": lambda: direct.pick(SERVICE),
            "registrations at the nodes": owners[0].update,
            "registrations through the gateway": owners[1].update,
            "etcd's API": stack.enter_context(etcd_read(running)),
            "JSON": stack.enter_context(json_read(running)),
        }
        mesher = running.address("mesher")
        loads = [
            stack.enter_context(EvenLoad(url, rate=10, timeout=30)),
            stack.enter_context(
                EvenLoad(f"http://{SERVICE}.default/", rate=10, proxy=mesher, timeout=30)
            ),
        ]
        with call_loops(calls) as loops:
            first = leader(running)
            end(running, first, signal.SIGKILL)
            for node in NODES:
                if node != first:
                    leader(running)
                    end(running, node, signal.SIGTERM)
            wait_until("the platform is ready", lambda: is_ready(running), 60)
        assert {loop.name: loop.failures[:3] for loop in loops if loop.failures} == {}
        assert min(loop.calls for loop in loops) > 10
        for load in loads:
            assert load.failures() == []
            assert len(load.outcomes) > 50
        for owner in owners:
            owner.check()
            for watch in watches:
                check_watch(watch, owner.registration)


def is_ready(running: Platform) -> bool:
    return httpx.get(f"{running.entrance}/readyz").status_code == httpx.codes.OK


def both_listed(client: tianlu.Client) -> None:
    assert len(client.discover(SERVICE).instances) == 2
    assert len(client.list_instances(SERVICE).items) == 2


@contextlib.contextmanager
def etcd_read(running: Platform) -> Iterator[Callable[[], None]]:
    """Give a read as an etcd client without retries of its own makes it, through the gateway."""
    with grpc.insecure_channel(running.authority) as channel:
        call = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=rpc_pb2.RangeRequest.SerializeToString,
            response_deserializer=rpc_pb2.RangeResponse.FromString,
        )

        def read() -> None:
            assert call(rpc_pb2.RangeRequest(key=b"failover"), timeout=CALL_SECONDS).count == 1

        yield read


@contextlib.contextmanager
def json_read(running: Platform) -> Iterator[Callable[[], None]]:
    path = f"{running.entrance}/v1/namespaces/default/services/{SERVICE}/instances"
    with httpx.Client(timeout=CALL_SECONDS, trust_env=False) as client:

        def read() -> None:
            answer = client.get(path)
            assert answer.is_success, answer.text

        yield read


def check_watch(watch: Watched, registration: tianlu.Registration) -> None:
    """Every change was seen, in order, once; nobody was ever removed."""
    instance = registration.instance
    wait_until(
        "the watch has the last change",
        lambda: watch.weights(instance.id)[-1:] == [instance.weight],
        60,
    )
    weights = watch.weights(instance.id)
    steps = [after - before for before, after in itertools.pairwise(weights)]
    # A watch that fell behind gets the difference instead of each step, never a step back; a mark
    # of suspicion, taken back, repeats a weight.
    assert min(steps, default=0) >= 0, weights
    assert {change.kind for change in watch.changes} == {tianlu.ChangeKind.PUT}


def test_what_the_entrance_says_of_nodes(running: Platform) -> None:
    parts = httpx.get(f"{running.entrance}/readyz").json()["parts"]
    assert [parts[node] for node in NODES] == ["serving"] * 3
    metrics = httpx.get(f"{running.entrance}/metrics").text
    for node in NODES:
        assert f'part="{node}"' in metrics
        assert f"  {node} serving" in running.output.read_text()
