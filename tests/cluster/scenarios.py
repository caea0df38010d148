"""The faults that a cluster must survive, each as a scenario that reads like what happens.

A scenario leaves its faults in place when it ends: the proof heals network and members after it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.histories import now
from cluster.netns import NetworkUnusable
from cluster.proof import Run

from tianlu._proto.etcd import rpc_pb2

CLOCK_JUMP_SECONDS = 100_000
"""More than a day: enough for any lease to have ended by a clock that is believed."""

STATUS_OF_AN_ORDERLY_END = (0, -15)
"""After SIGTERM: etcd dies of the signal itself once it has cleaned up."""


_KEYS_A_TXN = 100


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults, and the cluster that they need.

    Attributes:
        members: at the beginning.
        spare: namespaces for members that join.
        disk_megabytes: of each member's own file system; 0 for none.
        snapshot_count: entries between raft snapshots: few, so that members come back to a log
            that is gone; 0 for the system's default.
        exits_allowed: whether members may end by themselves, as on a full disk.
        time_namespaces: whether the kernel must have them.
    """

    faults: Callable[[Run], None]
    members: int = 3
    spare: int = 0
    disk_megabytes: int = 0
    snapshot_count: int = 0
    exits_allowed: bool = False
    time_namespaces: bool = False

    def why_not_here(self) -> str | None:
        """Return why it cannot run on this machine; None when it can."""
        if self.time_namespaces and not Path("/proc/self/ns/time").exists():
            return "this kernel has no time namespaces"
        return None


def calm(run: Run) -> None:
    """Nothing happens: what is found here is the harness's fault, or a plain defect."""
    while run.goes_on():
        run.rest(1, 1)


def kill(run: Run) -> None:
    """Members are killed and started again, the leader every other time."""
    while run.goes_on():
        victim = run.pick()
        run.say(f"kill {victim}")
        run.kill(victim)
        run.rest(0.0, 2.0)
        run.cluster.start(victim)
        run.rest(0.5, 2.0)
        # At most one is down by our doing: the cluster is to work on most of the time.
        run.cluster.wait_healthy()


def kill_all(run: Run) -> None:
    """All members are killed at once, again and again."""
    while run.goes_on():
        run.rest(1.0, 4.0)
        run.say("kill all")
        for number in list(run.cluster.members):
            run.kill(number)
        run.rest(0.0, 0.5)
        for number in run.cluster.members:
            run.cluster.start(number)
        run.cluster.wait_healthy()


def pause_leader(run: Run) -> None:
    """The leader stops for longer than an election takes, and then goes on as if it still led."""
    while run.goes_on():
        leader = run.cluster.wait_leader()
        run.say(f"pause {leader}")
        run.cluster.pause(leader)
        run.rest(1.0, 10.0)
        run.cluster.resume(leader)
        run.rest(1.0, 3.0)
        run.cluster.wait_healthy()


def hang(run: Run) -> None:
    """The innermost process of a member stands still; whoever watches over it may replace it."""
    while run.goes_on():
        victim = run.pick()
        processes = run.cluster.members[victim].processes
        assert processes is not None
        innermost = processes.pids()[-1]
        run.say(f"hang process {innermost} of {victim}")
        os.kill(innermost, signal.SIGSTOP)
        run.rest(5.0, 25.0)
        with contextlib.suppress(ProcessLookupError):
            os.kill(innermost, signal.SIGCONT)
        run.cluster.wait_healthy()


def partition(run: Run) -> None:
    """A random minority is cut off, both ways."""
    numbers = list(run.cluster.members)
    while run.goes_on():
        run.draw.shuffle(numbers)
        minority = numbers[: max(1, (len(numbers) - 1) // 2)]
        run.say(f"cut off {minority}")
        run.cluster.network.partition(minority, set(numbers) - set(minority))
        run.rest(1.0, 6.0)
        run.cluster.network.heal()
        run.rest(1.0, 3.0)


def isolate_leader(run: Run) -> None:
    """The leader is cut off from the others; clients still reach it."""
    while run.goes_on():
        leader = run.cluster.wait_leader()
        run.say(f"isolate leader {leader}")
        run.cluster.network.isolate(leader)
        run.rest(1.0, 6.0)
        run.cluster.network.heal()
        run.rest(1.0, 3.0)
        run.cluster.wait_healthy()


def one_way(run: Run) -> None:
    """What one member sends to some others is lost, while what they send still arrives."""
    while run.goes_on():
        deaf = run.pick()
        others = [number for number in run.cluster.members if number != deaf]
        some = run.draw.sample(others, run.draw.randint(1, len(others)))
        away = run.draw.random() < 0.5
        run.say(f"cut {deaf} -> {some}" if away else f"cut {some} -> {deaf}")
        for other in some:
            run.cluster.network.cut(*((deaf, other) if away else (other, deaf)))
        run.rest(1.0, 6.0)
        run.cluster.network.heal()
        run.rest(1.0, 3.0)


def lossy(run: Run) -> None:
    """A share of the packets between members is lost, and some members are slow."""
    while run.goes_on():
        share = run.draw.choice((0.02, 0.1, 0.3))
        slow = run.draw.sample(list(run.cluster.members), run.draw.randint(0, 2))
        run.cluster.network.lose(share)
        run.say(f"lose {share:.0%}, slow {slow}")
        if slow:
            try:
                run.say(run.cluster.network.slow(*slow))
            except NetworkUnusable as error:
                run.say(f"not slow: {error}")
        run.rest(3.0, 8.0)
        run.cluster.network.heal()
        run.rest(0.5, 2.0)


def full_disk(run: Run) -> None:
    """The disk of one member fills up; later there is room again."""
    while run.goes_on():
        victim = run.pick()
        run.say(f"fill the disk of {victim}")
        run.cluster.fill_disk(victim)
        run.rest(3.0, 8.0)
        run.say(f"room again on {victim}; ended by themselves: {run.cluster.exits()}")
        run.cluster.revive()
        run.cluster.wait_healthy()
        run.rest(1.0, 3.0)


def clock_jump(run: Run) -> None:
    """Members are killed and come back with a monotonic clock more than a day ahead or behind."""
    while run.goes_on():
        victim = run.pick()
        member = run.cluster.members[victim]
        member.clock_shift_seconds = run.draw.choice((CLOCK_JUMP_SECONDS, 1, 0))
        run.say(f"restart {victim} with its clock {member.clock_shift_seconds} s ahead")
        run.kill(victim)
        run.cluster.start(victim)
        run.cluster.wait_healthy()
        run.rest(1.0, 3.0)


def rolling_restart(run: Run) -> None:
    """Members are stopped in order and started again, one after the other, the leader last."""
    while run.goes_on():
        leader = run.cluster.wait_leader()
        for number in sorted(run.cluster.members, key=lambda one: one == leader):
            run.say(f"restart {number}")
            status = run.cluster.stop(number)
            if status not in STATUS_OF_AN_ORDERLY_END:
                raise TimeoutError(f"member {number} ended with status {status}")
            run.cluster.start(number)
            run.cluster.wait_healthy()
            run.rest(0.5, 1.5)


def membership(run: Run) -> None:
    """Members join and leave while clients work; the leader leaves too."""
    spare = [n for n in range(run.cluster.network.count) if n not in run.cluster.members]
    while run.goes_on():
        joins = spare.pop(0)
        run.say(f"{joins} joins")
        run.cluster.join(joins)
        run.cluster.wait_healthy()
        run.rest(1.0, 3.0)
        leaves = run.pick()
        run.say(f"{leaves} leaves")
        run.cluster.remove(leaves)
        spare.append(leaves)
        run.cluster.wait_healthy()
        run.rest(1.0, 3.0)


def wipe(run: Run) -> None:
    """A member loses its disk, is replaced under the same name and address, and catches up."""
    while run.goes_on():
        victim = run.pick()
        run.say(f"wipe {victim}")
        run.kill(victim)
        run.rest(0.5, 2.0)
        run.cluster.remove(victim)
        run.cluster.join(victim)
        run.cluster.wait_healthy()
        run.rest(1.0, 3.0)


def catch_up(run: Run) -> None:
    """A member catches up with a state of some size, and is disturbed while it does."""
    _fill(run, keys=60_000)
    while run.goes_on():
        victim = run.pick()
        run.say(f"wipe {victim}")
        run.kill(victim)
        run.cluster.wait_leader()
        run.cluster.remove(victim)
        run.cluster.join(victim)
        run.rest(0.5, 4.0)
        disturbance = run.draw.choice(
            ("kill it", "kill the leader", "cut it off", "lose", "pause it")
        )
        run.say(disturbance)
        match disturbance:
            case "kill it":
                run.kill(victim)
            case "kill the leader":
                run.kill(run.cluster.wait_leader())
            case "cut it off":
                run.cluster.network.isolate(victim)
            case "lose":
                run.cluster.network.lose(0.1)
            case _:
                run.cluster.pause(victim)
        run.rest(0.5, 4.0)
        run.cluster.network.heal()
        run.cluster.revive()
        run.cluster.wait_healthy()


def _fill(run: Run, keys: int) -> None:
    """Put keys of 500 bytes, as fast as they are taken."""
    for first in range(0, keys, _KEYS_A_TXN):
        puts = [
            rpc_pb2.RequestOp(
                request_put=rpc_pb2.PutRequest(key=b"fill/%08d" % number, value=b"x" * 500)
            )
            for number in range(first, first + _KEYS_A_TXN)
        ]
        request = rpc_pb2.TxnRequest(success=puts)
        run.cluster.ask_until_answered(lambda client, r=request: client.call("KV/Txn", r, 20))


def everything(run: Run) -> None:
    """Kills, pauses, cuts and losses in any order, of any members, at once."""
    cluster = run.cluster
    actions: dict[str, Callable[[], object]] = {
        "kill": lambda: run.kill(run.pick()),
        "kill another": lambda: run.kill(run.pick()),
        "pause": lambda: cluster.pause(run.pick()),
        "isolate": lambda: cluster.network.isolate(run.draw.choice(list(cluster.members))),
        "cut": lambda: cluster.network.cut(*run.draw.sample(list(cluster.members), 2)),
        "lose": lambda: cluster.network.lose(run.draw.choice((0.05, 0.2))),
        "heal": cluster.network.heal,
        "revive": cluster.revive,
        "revive all": cluster.revive,
    }
    while run.goes_on():
        name = run.draw.choice(list(actions))
        if cluster.running() or name.startswith("revive"):
            run.say(name)
            actions[name]()
        run.rest(0.2, 3.0)
        if run.draw.random() < 0.1:
            cluster.network.heal()
            cluster.revive()
            with contextlib.suppress(TimeoutError):
                cluster.wait_healthy(seconds=20)


def tour(*stations: str) -> Callable[[Run], None]:
    """Return a scenario of others, each for its share of the time, with healing in between."""

    def visit(run: Run) -> None:
        share = (run.until - now()) / len(stations)
        for name in stations:
            run.say(name)
            run.until = now() + share
            SCENARIOS[name].faults(run)
            run.cluster.network.heal()
            run.cluster.revive()
            run.cluster.wait_healthy()

    return visit


_SNAPSHOTS_OFTEN = 500

SCENARIOS = {
    "calm": Scenario(calm),
    "kill": Scenario(kill, snapshot_count=_SNAPSHOTS_OFTEN),
    "kill-all": Scenario(kill_all, snapshot_count=_SNAPSHOTS_OFTEN),
    "pause-leader": Scenario(pause_leader),
    "hang": Scenario(hang),
    "partition": Scenario(partition, snapshot_count=_SNAPSHOTS_OFTEN),
    "partition-of-five": Scenario(partition, members=5),
    "isolate-leader": Scenario(isolate_leader),
    "one-way": Scenario(one_way),
    "lossy": Scenario(lossy),
    "full-disk": Scenario(full_disk, disk_megabytes=320, exits_allowed=True),
    "clock-jump": Scenario(clock_jump, time_namespaces=True),
    "rolling-restart": Scenario(rolling_restart),
    "membership": Scenario(membership, spare=2, snapshot_count=_SNAPSHOTS_OFTEN),
    "wipe": Scenario(wipe, snapshot_count=_SNAPSHOTS_OFTEN),
    "catch-up": Scenario(catch_up, snapshot_count=_SNAPSHOTS_OFTEN),
    "everything": Scenario(everything, snapshot_count=_SNAPSHOTS_OFTEN),
}
