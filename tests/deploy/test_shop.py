"""Which instance `tianlu demo kill` takes."""

import pytest

from tianlu_standalone.datadir import StartError
from tianlu_standalone.shop import process_to_kill

RUN = {
    "parts": {
        "gateway": {"state": "serving", "pid": 1, "demo": False},
        "demo-orders-1": {"state": "waiting", "pid": None, "demo": True},
        "demo-orders-2": {"state": "serving", "pid": 12, "demo": True},
        "demo-web-1": {"state": "starting", "pid": 13, "demo": True},
    }
}


def test_a_serving_instance_is_chosen() -> None:
    assert process_to_kill(RUN, "orders") == ("demo-orders-2", 12)


@pytest.mark.parametrize("service", ["gateway", "nothing", ""])
def test_only_the_demos_services_can_be_killed(service: str) -> None:
    with pytest.raises(StartError, match="it has inventory, orders, web"):
        process_to_kill(RUN, service)


def test_nothing_to_kill_is_said() -> None:
    with pytest.raises(StartError, match="no instance of web runs"):
        process_to_kill(RUN, "web")
