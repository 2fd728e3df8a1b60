# SPDX-License-Identifier: Apache-2.0
"""`make peers` builds what is missing, and one peer's failure does not keep the others away."""

import shutil
import subprocess
from pathlib import Path

import pytest
from peers import VERSIONS, cached

CI = Path(__file__).parents[1] / ".ci"
GOOD = 'echo "of $otelcol" >"$1/program"'


@pytest.fixture
def build(tmp_path):
    """Runs the script with other recipes: name and shell text each."""
    shutil.copytree(CI, tmp_path / ".ci", ignore=shutil.ignore_patterns("__pycache__"))

    def run(*names, **recipes):
        for name in ("otelcol", "prometheus3", "oap"):
            (tmp_path / ".ci/peers" / name).write_text(f"#!/bin/bash\n{recipes.get(name, GOOD)}\n")
        environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)}
        command = [tmp_path / ".ci/build-peers", *names]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_a_peer_that_fails_is_named_and_the_others_are_built(tmp_path, build):
    """With the end of its output; what it left is not taken for a peer."""
    done = build(otelcol='touch "$1/program"; echo no such module; exit 3')
    peers = {name: cached(name, {"XDG_CACHE_HOME": tmp_path}) for name in ("otelcol", "prometheus3", "oap")}

    assert 1 == done.returncode
    assert "no such module" in done.stderr
    assert "peers: not built: otelcol\n" in done.stderr
    assert {"otelcol"} == {name for name, folder in peers.items() if folder is None}
    assert f"of {VERSIONS['otelcol']}\n" == (peers["oap"] / "program").read_text()


def test_a_peer_is_built_once(tmp_path, build):
    """And what its build has downloaded is removed."""
    build("oap")
    done = build("oap", oap="exit 1")

    assert (0, "oap 10.1.0: already there\n") == (done.returncode, done.stderr)
    assert not (tmp_path / "ebpf-sidecar/peers/oap/build").exists()
    assert not (tmp_path / "ebpf-sidecar/peers/otelcol").exists()


def test_a_build_that_failed_is_tried_again(tmp_path, build):
    """The next time it is asked for."""
    assert 1 == build("oap", oap="exit 1").returncode
    assert 0 == build("oap").returncode
    assert cached("oap", {"XDG_CACHE_HOME": tmp_path})


def test_a_name_that_is_no_peers_is_refused(build):
    """With those that there are."""
    done = build("prometheus")

    assert 1 == done.returncode
    assert "prometheus: no such peer; choose from otelcol prometheus3 oap\n" in done.stderr


def test_where_peers_are_kept_can_be_chosen(tmp_path):
    """By a variable of ours, else by the one for caches; what is not built is nowhere."""
    folder = tmp_path / "mine" / "oap" / VERSIONS["oap"]
    folder.mkdir(parents=True)

    assert folder == cached("oap", {"EBPF_SIDECAR_PEERS": str(tmp_path / "mine"), "XDG_CACHE_HOME": "/nowhere"})
    assert cached("oap", {"XDG_CACHE_HOME": str(tmp_path)}) is None
