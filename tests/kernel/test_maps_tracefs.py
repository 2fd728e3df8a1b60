# SPDX-License-Identifier: Apache-2.0
"""Where tracefs is not mounted, the loader mounts it for itself, and no other process sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mounts import WITHOUT_TRACEFS, in_mounts

from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

ROOT = Path(__file__).parents[2]
PROBE = ROOT / "bpf" / "page_cache.yaml"
LOAD = [sys.executable, str(Path(__file__).parent / "workloads" / "load.py"), "none", str(PROBE)]
UNSEEN = '"$@" && ! grep tracefs /proc/self/mounts >&2'
# a folder with everything of "/" in it
CHROOT = """
for each in /*; do
    if [ -L "$each" ]; then cp -d "$each" "{root}"; fi
    if [ -d "$each" ] && ! [ -L "$each" ]; then mkdir "{root}$each" && mount --rbind "$each" "{root}$each"; fi
done
mount --make-{propagation} "{root}/sys"
chroot "{root}" """

pytestmark = pytest.mark.parallel


@pytest.fixture
def loaded():
    """Load a probe where there is no tracefs, and look for one afterwards."""

    def loaded(before=""):
        path = os.pathsep.join(filter(None, [str(ROOT / ".src"), os.environ.get("PYTHONPATH")]))
        command = in_mounts(WITHOUT_TRACEFS, ["sh", "-ec", before + UNSEEN, "sh", *LOAD])
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
        )
        assert 0 == done.returncode, done.stderr
        return json.loads(done.stdout)

    return loaded


def test_a_missing_tracefs_is_mounted_privately(loaded):
    """In its own mount namespace; none is left where the loader was started."""
    assert {"hooks": len(read_probe(PROBE).hooks)} == loaded()


@pytest.mark.parametrize("propagation", ["private", "shared"])
def test_after_chroot_the_mount_is_private_too(loaded, tmp_path, propagation):
    """A root that is no mount point, as debootstrap makes it, and where systemd shares what is mounted below it."""
    before = CHROOT.format(root=tmp_path, propagation=propagation)

    assert {"hooks": len(read_probe(PROBE).hooks)} == loaded(before)
