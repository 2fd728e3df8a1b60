# SPDX-License-Identifier: Apache-2.0
"""Which packages of a mirror are the kernels that the matrix wants."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels.mirror import SUITES, mirrors, sources
from kernels.programs import Unavailable
from kernels.series import NEWEST, WANTED, Package, kernel_packages, newest_of

LISTED = [
    "linux-image-5.10.0-9-amd64",
    "linux-image-5.10.0-46-amd64",
    "linux-image-5.10.0-46-cloud-amd64",
    "linux-image-5.10.0-46-rt-amd64-dbg",
    "linux-image-6.1-amd64",
    "linux-image-6.1.0-0.deb11.52-amd64",
    "linux-image-6.1.0-56-amd64",
    "linux-image-6.1.0-56-amd64-unsigned",
    "linux-image-6.12.90+deb12.1-amd64",
    "linux-image-6.12.117+deb13-amd64",
    "linux-image-6.16.12+deb13-amd64",
    "linux-modules-7.2.13+deb14-amd64",
    "linux-base-7.3.4+deb13-amd64",
    "linux-binary-7.3.4+deb13-amd64",
    "linux-image-7.3.4+deb13-amd64",
    "linux-modules-7.3.4+deb13-amd64",
]


@pytest.mark.parametrize(
    ("series", "release"),
    [("5.10", "5.10.0-46-amd64"), ("6.1", "6.1.0-56-amd64"), ("6.12", "6.12.117+deb13-amd64")],
)
def test_the_newest_of_a_series_goes_by_numbers_not_by_letters(series, release):
    """46 is newer than 9, and 6.1 is not 6.12; kernels for clouds, for real time and for debugging are left out."""
    found = newest_of(series, kernel_packages(LISTED))

    assert Package(release, (f"linux-image-{release}",)) == found


def test_a_kernel_in_parts_is_fetched_in_parts():
    """From 7.3 on, kernel, modules and their lists are packages of their own."""
    found = newest_of(NEWEST, kernel_packages(LISTED))

    assert found is not None
    assert [f"linux-{part}-7.3.4+deb13-amd64" for part in ("base", "binary", "modules", "image")] == list(found.names)


def test_modules_without_a_kernel_are_no_kernel():
    """A mirror may keep the one longer than the other."""
    assert "7.2" not in [package.series for package in kernel_packages(LISTED)]


def test_a_series_that_the_mirror_no_longer_has_is_reported():
    """It becomes a row that says so."""
    assert newest_of("6.18", kernel_packages(LISTED)) is None


def test_newest_is_newer_than_all_that_are_wanted_by_name():
    """Otherwise one kernel would be tried twice."""
    assert newest_of(NEWEST, kernel_packages(["linux-image-6.18.15+deb13-amd64"])) is None


@given(st.integers())
def test_the_order_of_the_list_does_not_matter(seed):
    """Mirrors list as they like."""
    shuffled = random.Random(seed).sample(LISTED, len(LISTED))

    assert [newest_of(series, kernel_packages(LISTED)) for series in WANTED] == [
        newest_of(series, kernel_packages(shuffled)) for series in WANTED
    ]


def test_the_mirror_is_the_one_that_the_system_uses():
    """What is not Debian is passed over; security updates have an address of their own."""
    targets = "http://a/node nodistro\nhttp://b/debian bookworm\nhttp://c/sec bookworm-security\nhttp://d/x bookworm"

    assert {False: "http://b/debian", True: "http://c/sec"} == mirrors(targets)


@pytest.mark.parametrize("targets", ["", "http://a/ubuntu noble\n", "http://c/sec bookworm-security"])
def test_a_missing_debian_mirror_is_reported(targets):
    """On another distribution there is no mirror to take kernels from."""
    with pytest.raises(Unavailable, match="add one to the machine's sources"):
        mirrors(targets)


def test_sources_name_each_suite_that_the_mirrors_can_have():
    """Without a mirror for security updates, its suites are left out."""
    lines = sources({False: "http://b/debian"}).splitlines()

    assert [suite for suite in SUITES if not suite.endswith("-security")] == [line.split()[3] for line in lines]
    assert all(line.startswith("deb [signed-by=/") for line in lines)
