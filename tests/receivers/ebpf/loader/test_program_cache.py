# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled programs."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.receivers.ebpf.kernel.tracefs import Tracefs
from ebpf_sidecar.receivers.ebpf.loader import child
from ebpf_sidecar.receivers.ebpf.loader.bytecode import Bytecode, MapLayout
from ebpf_sidecar.receivers.ebpf.loader.program_cache import (
    DEFAULT_FOLDER,
    MAX_FILES,
    ProgramCache,
    default_folder,
    key_of,
)
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest

CODE = Bytecode((MapLayout("control", 2, 4, 8, 2, 0, "int", "unsigned long"),), {"program": bytes(16)}, "GPL")
KEY = key_of(["text", "flags"])
SYSTEM = ("sysname", "nodename", "release", "version", "machine")


@pytest.fixture
def cache(tmp_path):
    """One that holds one object."""
    cache = ProgramCache(tmp_path / "of" / "programs")
    cache.keep(KEY, CODE)
    return cache


def test_what_was_kept_is_found_by_its_key_alone(cache):
    """In a file that no other user may read."""
    assert CODE == cache.find(KEY)
    assert cache.find(key_of(["other"])) is None
    assert [0o700, 0o600] == [stat.S_IMODE(each.stat().st_mode) for each in (cache.folder, cache.folder / KEY)]
    assert [KEY] == [file.name for file in cache.folder.iterdir()]


@given(parts=st.lists(st.text(), min_size=2), at=st.integers(0))
def test_no_other_parts_make_the_same_key(parts, at):
    """Nor the same ones joined, or in another order."""
    first = at % (len(parts) - 1)
    joined = [*parts[:first], parts[first] + parts[first + 1], *parts[first + 2 :]]

    assert key_of(parts) == key_of(tuple(parts))
    assert key_of(parts) != key_of(joined)
    assert parts == parts[::-1] or key_of(parts) != key_of(reversed(parts))


HARM = {
    "one byte": lambda file: file.write_bytes(file.read_bytes()[:-2] + b" }"),
    "the end is missing": lambda file: file.write_bytes(file.read_bytes()[:-10]),
    "empty": lambda file: file.write_bytes(b""),
    "no text": lambda file: file.write_bytes(b"\xff" * 100),
    "open to all": lambda file: file.chmod(0o666),
    "its folder is open to all": lambda file: file.parent.chmod(0o777),
    "a link": lambda file: (file.rename(file.with_name("real")), file.symlink_to("real")),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_damaged_or_could_be_another_users_is_not_used(cache, harm):
    """Then it is compiled again."""
    HARM[harm](cache.folder / KEY)

    assert cache.find(KEY) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("whose", ["the file", "the folder"])
def test_what_another_user_owns_is_not_used(cache, whose):
    """Whatever its mode is."""
    os.chown(cache.folder / KEY if whose == "the file" else cache.folder, 65534, 65534)

    assert cache.find(KEY) is None


@pytest.mark.parametrize("place", ["a file", "open to all", "cannot be made"])
def test_where_nothing_can_be_kept_nothing_is(tmp_path, place):
    """That is no error: each start compiles."""
    folder = tmp_path / "programs"
    if place == "a file":
        folder.write_text("")
    elif place == "open to all":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder = Path("/proc/nowhere")

    ProgramCache(folder).keep(KEY, CODE)

    assert ProgramCache(folder).find(KEY) is None


def test_the_least_recently_used_go_first(tmp_path):
    """The folder is bounded; what was found just now stays."""
    cache = ProgramCache(tmp_path / "programs")
    keys = [key_of([str(number)]) for number in range(MAX_FILES + 2)]
    for age, key in enumerate(keys[:MAX_FILES]):
        cache.keep(key, CODE)
        os.utime(cache.folder / key, (age, age))
    cache.find(keys[0])

    for key in keys[MAX_FILES:]:
        cache.keep(key, CODE)

    assert [True, False, False] == [cache.find(key) is not None for key in keys[:3]]
    assert MAX_FILES == len(list(cache.folder.iterdir()))


def test_a_file_that_cannot_be_replaced_leaves_no_other(cache):
    """A folder in the file's place: the attempt is taken away."""
    other = key_of(["other"])
    (cache.folder / other).mkdir()

    cache.keep(other, CODE)

    assert {KEY, other} == {file.name for file in cache.folder.iterdir()}


def test_leftovers_of_a_killed_writer_do_no_harm(cache):
    """In a container the next one has the same process id."""
    other = key_of(["other"])
    (cache.folder / f"{other}.{os.getpid()}").write_bytes(b"half")

    cache.keep(other, CODE)

    assert CODE == cache.find(other)


def test_the_same_programs_are_found_under_another_host_name(tmp_path, monkeypatch):
    """A pod has a new one at each start; another kernel needs other programs."""
    here, request, tracefs = os.uname(), LoadRequest((), (), str(tmp_path), (), (), {}, (), {}, ()), Tracefs(tmp_path)

    def key_on(**differences):
        system = SimpleNamespace(**{name: getattr(here, name) for name in SYSTEM} | differences)
        monkeypatch.setattr(child, "os", SimpleNamespace(uname=lambda: system, environ=os.environ))
        return key_of(child._surroundings(request, tracefs))

    assert key_on() == key_on(nodename="another")
    assert len(SYSTEM) == len({key_on(), *(key_on(**{name: "another"}) for name in SYSTEM if name != "nodename")})


def test_the_folder_is_systemds_or_the_systems():
    """The unit's ``CacheDirectory=`` may list several."""
    assert "/var/cache/one" == default_folder({"CACHE_DIRECTORY": "/var/cache/one:/var/cache/two"})
    assert DEFAULT_FOLDER == default_folder({})
