"""The versions of services that a request names."""

from __future__ import annotations

from otelprof._core import Profiles
from tests.e2e.harness import request


def test_each_pair_is_told_once() -> None:
    """Name and version of each service that has a Profile, in order, without those that lack one of them."""
    message = request()
    (first,) = message.resource_profiles
    for service, version in (("checkout", "2"), ("cart", "1"), ("checkout", "2"), ("", "3"), ("cart", "")):
        resource = message.resource_profiles.add()
        resource.CopyFrom(first)
        resource.scope_profiles[0].profiles[0].profile_id = f"{service:8}{version:8}".encode()
        resource.resource.attributes[0].value.string_value = service
        resource.resource.attributes.add(key="service.version").value.string_value = version
    empty = message.resource_profiles.add()
    empty.resource.CopyFrom(message.resource_profiles[1].resource)
    empty.resource.attributes[1].value.string_value = "no profile"
    profiles = Profiles.decode(message.SerializeToString())
    assert [("checkout", "2"), ("cart", "1")] == profiles.service_versions()


def test_a_version_that_is_no_text() -> None:
    """A number in the place of a version is none."""
    message = request()
    message.resource_profiles[0].resource.attributes.add(key="service.version").value.int_value = 2
    assert [] == Profiles.decode(message.SerializeToString()).service_versions()
