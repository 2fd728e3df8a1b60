# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.container_path import Container, cgroup_paths, container_directory, container_of

ID = "0a1b2c3d" * 8
OUTER = "9f" * 32
UID = "12345678-90ab-cdef-1234-567890abcdef"
UID_ = UID.replace("-", "_")
UIDX = UID.replace("-", r"\x2d")
STATIC = "aabbccddeeff00112233445566778899"
FARGATE = "cd189a933e5849daa93386466019ab50-2495160603"

SHAPES = [
    # systemd driver, each QoS class
    (f"/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope", ID, "containerd", UID, "guaranteed"),
    (
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
        ID, "containerd", UID, "burstable",
    ),
    (
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/crio-{ID}.scope",
        ID, "cri-o", UID, "besteffort",
    ),
    (f"/kubepods.slice/kubepods-pod{UID_}.slice/docker-{ID}.scope", ID, "docker", UID, "guaranteed"),
    (
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{ID}.scope",
        ID, "containerd", STATIC, "burstable",
    ),
    (
        rf"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UIDX}.slice/cri\x2dcontainerd-{ID}.scope",
        ID, "containerd", UID, "burstable",
    ),
    # cgroupfs driver, each QoS class: a bare id does not name its runtime
    (f"/kubepods/pod{UID}/{ID}", ID, "", UID, "guaranteed"),
    (f"/kubepods/burstable/pod{UID}/{ID}", ID, "", UID, "burstable"),
    (f"/kubepods/besteffort/pod{STATIC}/{ID}", ID, "", STATIC, "besteffort"),
    (f"/kubepods/burstable/pod{UID}/crio-{ID}", ID, "cri-o", UID, "burstable"),
    # kubelet with a root of its own, kind and minikube: the innermost container wins
    (
        f"/docker/{OUTER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
        f"kubelet-kubepods-besteffort-pod{UID_}.slice/cri-containerd-{ID}.scope",
        ID, "containerd", UID, "besteffort",
    ),
    (
        f"/system.slice/docker-{OUTER}.scope/kubelet.slice/kubelet-kubepods.slice/"
        f"kubelet-kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
        ID, "containerd", UID, "guaranteed",
    ),
    (f"/docker/{OUTER}/kubepods/burstable/pod{UID}/{ID}", ID, "", UID, "burstable"),
    (f"/docker/{OUTER}/docker/{ID}", ID, "docker", "", ""),
    # Docker inside a pod: the container is Docker's, the pod is still the pod
    (f"/kubepods/burstable/pod{UID}/{OUTER}/docker/{ID}", ID, "docker", UID, "burstable"),
    # containerd on cgroupfs below a kubelet on systemd
    (
        f"/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
        ID, "containerd", UID, "burstable",
    ),
    # a cgroup namespace shows paths relative to its own root
    (f"/../../kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope", ID, "containerd", UID, "burstable"),
    # without Kubernetes
    (f"/system.slice/docker-{ID}.scope", ID, "docker", "", ""),
    (f"/docker/{ID}", ID, "docker", "", ""),
    (f"/machine.slice/libpod-{ID}.scope", ID, "podman", "", ""),
    (f"/libpod_parent/libpod-{ID}", ID, "podman", "", ""),
    (f"/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-{ID}.scope", ID, "podman", "", ""),
    (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope", ID, "podman", "", ""),
    (f"/system.slice/web.service/libpod-payload-{ID}", ID, "podman", "", ""),
    (f"/default/{ID}", ID, "containerd", "", ""),
    (f"/system.slice/nerdctl-{ID}.scope", ID, "containerd", "", ""),
    (f"/ecs/4fa1b2c3d4e5f60718293a4b5c6d7e8f/{ID}", ID, "", "", ""),
    (f"/ecs/cd189a933e5849daa93386466019ab50/{FARGATE}", FARGATE, "", "", ""),
    (f"/ecstasks.slice/ecstasks-4fa1b2c3d4e5f60718293a4b5c6d7e8f.slice/docker-{ID}.scope", ID, "docker", "", ""),
    (f"/system.slice/foreign-runtime-{ID}.scope", ID, "", "", ""),
    # Kata Containers
    (f"/kubepods/burstable/pod{UID}/kata_{ID}", ID, "kata", UID, "burstable"),
    (f"/kata_overhead/{ID}", ID, "", "", ""),
    # LXC, Incus and LXD (the project is part of the name), Proxmox, libvirt
    ("/lxc.payload.web", "web", "lxc", "", ""),
    ("/lxc.payload.project_web-1", "project_web-1", "lxc", "", ""),
    ("/user.slice/user-1000.slice/session-2.scope/lxc.payload.web", "web", "lxc", "", ""),
    ("/lxc/web", "web", "lxc", "", ""),
    ("/lxc/101", "101", "lxc", "", ""),
    (r"/machine.slice/machine-lxc\x2d4711\x2dweb.scope", "web", "lxc", "", ""),
    ("/lxc/outer/lxc/inner", "inner", "lxc", "", ""),
    (f"/lxc.payload.outer/docker/{ID}", ID, "docker", "", ""),
    # systemd-nspawn, as a service and by hand
    ("/machine.slice/systemd-nspawn@web.service", "web", "systemd-nspawn", "", ""),
    (r"/machine.slice/systemd-nspawn@web\x2dserver.service", "web-server", "systemd-nspawn", "", ""),
    (r"/machine.slice/machine-web\x2dserver.scope", "web-server", "systemd-nspawn", "", ""),
    # Nomad: v2 (1.3 and later, 1.7 and later), v1 (1.7 and later, before)
    (f"/nomad.slice/{UID}.web.scope", f"{UID}.web", "nomad", "", ""),
    (f"/nomad.slice/share.slice/{UID}.web.scope", f"{UID}.web", "nomad", "", ""),
    (f"/nomad.slice/reserve.slice/{UID}.web.v2.scope", f"{UID}.web.v2", "nomad", "", ""),
    (f"/nomad/share/{UID}.web", f"{UID}.web", "nomad", "", ""),
    (f"/nomad/{UID}", UID, "nomad", "", ""),
    (f"/nomad.slice/docker-{ID}.scope", ID, "docker", "", ""),
    # ctr run, on the host, from inside a cgroup namespace, in a node's container
    ("/default/my-redis.2", "my-redis.2", "containerd", "", ""),
    ("/k8s.io/debug", "debug", "containerd", "", ""),
    ("/../../default/web", "web", "containerd", "", ""),
    (f"/docker/{OUTER}/default/web", "web", "containerd", "", ""),
    # Garden
    ("/garden/6f265890-5165-7fab-6b52-18d1", "6f265890-5165-7fab-6b52-18d1", "garden", "", ""),
    (f"/init.scope/garden/good/{UID}", UID, "garden", "", ""),
    (f"/system.slice/garden.service/garden-tag/bad/{UID}", UID, "garden", "", ""),
    # Mesos
    (f"/mesos/{UID}", UID, "mesos", "", ""),
    (f"/mesos/{STATIC}/mesos/{UID}", UID, "mesos", "", ""),
]  # fmt: skip

NOT_CONTAINERS = [
    "",
    "/",
    "/init.scope",
    "/system.slice/ssh.service",
    "/user.slice/user-1000.slice/session-2.scope",
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice",
    f"/kubepods/burstable/pod{UID}",
    f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope",
    f"/machine.slice/libpod-conmon-{ID}.scope",
    f"/system.slice/docker-{ID[:12]}.scope",
    f"/docker/{ID}0",
    f"/docker/{ID.upper()}",
    f"/elsewhere/{FARGATE}",
    "/sandbox/9e9675ccf10126870c0b0c9232b39e69",
    "/lxc",
    "/lxc.monitor.web",
    "/lxc.monitor/101",
    "/machine.slice/systemd-nspawn@web.service/supervisor",
    r"/machine.slice/machine-qemu\x2d1\x2dweb.scope",
    "/nomad.slice/share.slice",
    f"/system.slice/{UID}.web.scope",
    "/default",
    "/default/not_a_name_-",
    "/system.slice/default/web",
    f"/garden/a/b/{UID}",
    "/garden/good",
    f"/elsewhere/{UID}",
    "/mesos/slave",
]

BELOW = ["", "/container", "/init.scope", "/system.slice/nginx.service", "/a/b/c"]


@pytest.mark.parametrize(("path", "id_", "runtime", "uid", "qos"), SHAPES)
def test_a_path_gives_container_runtime_pod_and_class(path, id_, runtime, uid, qos):
    """Every shape that a runtime and a driver make is understood."""
    assert Container(path, id_, runtime, uid, qos) == container_of(path)


@pytest.mark.parametrize("below", BELOW)
def test_what_lies_below_a_container_belongs_to_it(below):
    """Nested cgroups inside a container of any shape reduce to the container's own directory."""
    assert [] == [path for path, *_ in SHAPES if path != container_directory(path + below)]


@pytest.mark.parametrize("path", NOT_CONTAINERS)
def test_other_directories_are_no_containers(path):
    """Services, pod directories, monitors and look-alikes are not taken for containers, and keep their path."""
    assert container_of(path) is None
    assert path == container_directory(path)


def test_a_pods_own_directory_inside_a_node_container_belongs_to_the_node():
    """In kind, what runs beside the containers of a pod runs in the node's container."""
    node = f"/docker/{OUTER}"

    assert node == container_directory(f"{node}/kubelet.slice/kubelet-kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope")


@given(st.text(alphabet=st.sampled_from("/-_:.x2d\\pod0af") | st.characters(codec="utf-8")))
def test_any_text_is_answered(path):
    """No path, however broken, raises; a directory found is a prefix of the path, and stays what it is."""
    directory = container_directory(path)

    assert path.startswith(directory)
    assert directory == container_directory(directory)


PROC = {
    "v1": ("2:cpu,cpuacct:/a\n1:name=systemd:/b\n", {"cpu": "/a", "cpuacct": "/a", "name=systemd": "/b"}),
    "v2": ("0::/a\n", {"": "/a"}),
    "hybrid": ("4:memory:/a\n0::/b\n", {"memory": "/a", "": "/b"}),
    "removed while in use": ("0::/a (deleted)\n", {"": "/a"}),
    "a colon in the name": ("0::/a:cri-containerd:x\n", {"": "/a:cri-containerd:x"}),
    "nothing": ("", {}),
    "no cgroup line at all": ("garbage\n7\n", {}),
}


@pytest.mark.parametrize("case", PROC)
def test_all_lines_of_proc_are_available_by_controller(case):
    """Each controller of a shared line has its path; the unified hierarchy has the empty name."""
    text, expected = PROC[case]

    assert expected == cgroup_paths(text)
