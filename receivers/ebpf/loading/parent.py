# SPDX-License-Identifier: Apache-2.0
"""Compiles and attaches probes in a child process, and keeps what it hands over: maps, programs, attachments.

The parent imports no BCC, and its memory never holds a compiler.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.privileged import DirectOperations, PrivilegedOperations, PrivilegedTask
from ebpf_sidecar.receivers.ebpf.kernel.bpf_syscall import map_sizes
from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import (
    close_all,
    raise_descriptor_limit,
    receive_message,
    send_message,
)
from ebpf_sidecar.receivers.ebpf.kernel.refusals import Failure, too_few_descriptors
from ebpf_sidecar.receivers.ebpf.maps.generation import Generation
from ebpf_sidecar.receivers.ebpf.maps.kernel_map import KernelMap
from ebpf_sidecar.receivers.ebpf.maps.layout import key_dtype, value_fields
from ebpf_sidecar.receivers.ebpf.maps.loaded import Drops, HookStatus, LoadedProbes, Program
from ebpf_sidecar.receivers.ebpf.maps.near import map_places
from ebpf_sidecar.receivers.ebpf.owners.new_cgroups import NEW_CGROUPS
from ebpf_sidecar.receivers.ebpf.owners.new_names import NEW_NAMES
from ebpf_sidecar.receivers.ebpf.probe.model import Probe

from .map_sizing import near_name
from .metric_fields import why_not_made
from .own_hooks import NEW_CGROUPS_HOOK, NEW_NAMES_HOOKS
from .request import HookRequest, LoadRequest
from .targets import TARGET_CGROUPS

CALLS = "calls"
"""The C name of the map of what to do for each system call."""
_CONTROL, _DROPS = "control", "drops"
LOADER = "ebpf_sidecar.receivers.ebpf.loader.child"
"""The module that loads, with its socket as standard input."""
OWN = DirectOperations()
_REAP_SECONDS = 1.0  # a process that was killed may need a moment until it can be waited for
_MEMORY_NEEDED = (
    "compiling takes about 125 MB for a second, in addition to the service's memory; raise the memory limit to 256 MB "
    "(Kubernetes: resources.limits.memory: 256Mi; docker: --memory 256m)"
)


class LoadError(ProbeError):
    """Probes could not be loaded; ``failure`` gives the reason in one word."""

    def __init__(self, message: str, failure: Failure, *, component: str = "") -> None:
        super().__init__(message, component=component)
        self.failure = failure


def load(
    probes: Sequence[Probe], request: LoadRequest, *, timeout: float = 60, privileged: PrivilegedOperations = OWN
) -> LoadedProbes:
    """Load ``request``, which `request_for` made from ``probes``. Raises `LoadError`.

    ``timeout``: seconds per attempt; there is a second one if the compiler crashed. ``privileged``: runs the loader.
    """
    raise_descriptor_limit()
    try:
        answer, descriptors = _answer(request, timeout, privileged)
    except LoadError as error:
        if error.failure is not Failure.CRASH:
            raise
        # most likely the compiler crashed: find out for which probe
        answer, descriptors = _answer(replace(request, careful=True), timeout, privileged)
    if "failure" in answer:
        raise LoadError(f"cannot load probes: {answer['message']}", Failure(answer["failure"]))
    try:
        return _loaded(probes, request, answer, descriptors)
    except BaseException:
        close_all(descriptors)
        raise


def _answer(request: LoadRequest, timeout: float, privileged: PrivilegedOperations) -> tuple[Any, list[int]]:
    """What the loader answers, and the descriptors that it hands over. Raises `LoadError` where it does not answer."""
    try:
        with os.fdopen(os.memfd_create("loader"), "w+b") as log:  # there may be no folder for temporary files
            return _ask_loader(request, log, timeout, privileged)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        raise _too_few_descriptors() from error


def _ask_loader(
    request: LoadRequest, log: IO[bytes], timeout: float, privileged: PrivilegedOperations
) -> tuple[Any, list[int]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        ours.settimeout(timeout)
        loader = _run_loader(privileged, theirs, log)
        try:
            send_message(ours, request.to_json())
            return receive_message(ours)
        except TimeoutError as error:
            raise LoadError(
                f"cannot load probes: the loader did not finish within {timeout:g} s; raise the timeout",
                Failure.TIMEOUT,
            ) from error
        except (EOFError, OSError) as error:
            raise _unanswered(error, loader.wait(_REAP_SECONDS), log) from error
        finally:
            loader.end()


def _run_loader(privileged: PrivilegedOperations, channel: socket.socket, log: IO[bytes]) -> PrivilegedTask:
    try:
        return privileged.run(LOADER, channel.fileno(), log.fileno())
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise
        raise LoadError(f"cannot load probes: the loader cannot be started: {error}", Failure.CRASH) from error
    finally:
        channel.close()


def _unanswered(error: Exception, status: int | None, log: IO[bytes]) -> LoadError:
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return _too_few_descriptors()
    failure = Failure.KILLED if status == -signal.SIGKILL else Failure.CRASH
    return LoadError(f"cannot load probes: {exit_cause(status, _tail(log))}", failure)


def _too_few_descriptors() -> LoadError:
    return LoadError(f"cannot load probes: {too_few_descriptors().message}", Failure.DESCRIPTORS)


def exit_cause(status: int | None, log: str) -> str:
    """What happened to a loader that did not answer. ``status``: as in `subprocess`; ``log``: the end of its output."""
    if status == -signal.SIGKILL:
        cause = f"was killed (SIGKILL), most likely because memory ran out: {_MEMORY_NEEDED}"
    elif status is not None and status < 0:
        cause = f"was killed by {_signal_name(-status)}"
    else:
        cause = "closed its socket" if status is None else f"ended with exit status {status}"
    return f"the loader {cause}" + (f"\n{log}" if log else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"


def _tail(log: IO[bytes], lines: int = 8) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


def _loaded(probes: Sequence[Probe], request: LoadRequest, answer: Any, descriptors: list[int]) -> LoadedProbes:
    described = answer["maps"]
    counted = {metric.map for probe in probes for metric in probe.metrics} | {_CONTROL, _DROPS, NEW_CGROUPS, NEW_NAMES}
    maps = {each["name"]: (each, fd, each["name"] in counted) for each, fd in zip(described, descriptors, strict=False)}
    specs = {spec.name: spec.published for probe in probes for spec in probe.maps if spec.name in maps}
    readable, unreadable = _readable(specs, maps)
    hooks = tuple(HookStatus(**each) for each in answer["hooks"])
    own_hooks = tuple(HookStatus(**each) for each in answer["own_hooks"])
    rest = descriptors[len(described) :]  # programs, then their attachments
    programs = tuple(_programs(answer["programs"], rest))
    own = {hook.program for hook in own_hooks}
    return LoadedProbes(
        maps=readable,
        hooks=hooks,
        unavailable={**_not_made(probes, readable, unreadable), **_unavailable(probes, hooks)},
        programs=tuple(program for program in programs if program.name not in own),
        drops=Drops(_map(_DROPS, *maps[_DROPS]), [specs.get(reason, reason) for reason in request.drop_reasons]),
        generation=Generation(_map(_CONTROL, *maps[_CONTROL])),
        cgroup_hierarchy=answer["cgroup_hierarchy"],
        compile_seconds=answer["compile_seconds"],
        kept=answer["kept"],
        peak_rss_bytes=answer["peak_rss_bytes"],
        descriptors=tuple(descriptors),
        targets=_map(TARGET_CGROUPS, *maps[TARGET_CGROUPS]) if TARGET_CGROUPS in maps else None,
        calls=_map(CALLS, *maps[CALLS]) if CALLS in maps else None,
        own_hooks=own_hooks,
        new_cgroups=_filled(NEW_CGROUPS, (NEW_CGROUPS_HOOK,), own_hooks, maps),
        new_names=_filled(NEW_NAMES, NEW_NAMES_HOOKS, own_hooks, maps),
    )


def _filled(
    name: str, by: Sequence[HookRequest], hooks: Sequence[HookStatus], maps: Mapping[str, tuple[Any, int, bool]]
) -> KernelMap | None:
    """The reader's own map of this name, if all its hooks are attached."""
    attached = {hook.hook for hook in hooks if hook.attached}
    return _map(name, *maps[name]) if attached.issuperset(hook.name for hook in by) else None


def _readable(
    specs: Mapping[str, str], maps: Mapping[str, tuple[Any, int, bool]]
) -> tuple[dict[str, KernelMap], dict[str, str]]:
    """The probes' maps by published name, and why others cannot be read: only the metrics made from those are lost."""
    readable: dict[str, KernelMap] = {}
    unreadable: dict[str, str] = {}
    for name, published in specs.items():
        try:
            readable[published] = _with_near(_map(published, *maps[name]), maps.get(near_name(name)))
        except LoadError as error:
            unreadable[published] = str(error)
    return readable, unreadable


def _not_made(
    probes: Sequence[Probe], readable: Mapping[str, KernelMap], unreadable: Mapping[str, str]
) -> dict[str, str]:
    """The reason for each metric whose map lacks the fields it is made from."""
    found = {}
    for probe in probes:
        for metric in probe.metrics:
            published = probe.map(metric.map).published
            why = unreadable.get(published, "")
            if published in readable:
                why = why_not_made(metric, readable[published])
            if why:
                found[metric.name] = why
    return found


def _programs(attached: Mapping[str, int], descriptors: Sequence[int]) -> Iterator[Program]:
    """``attached``: the number of attachments by program. ``descriptors``: of the programs, then of the attachments."""
    place = len(attached)
    for fd, (name, count) in zip(descriptors, attached.items(), strict=False):
        yield Program(name, fd, tuple(descriptors[place : place + count]))
        place += count


def _map(published: str, described: Any, fd: int, counted: bool) -> KernelMap:  # noqa: FBT001 # from a tuple
    key_size, value_size, entries = map_sizes(fd)
    try:
        keys = key_dtype(described["key"], key_size)
        # entries of internal maps (threads, requests in flight) are only counted, so one opaque field is enough
        values = value_fields(described["value"], value_size) if counted else {"notes": slice(0, value_size // 8)}
    except (KeyError, ValueError) as error:
        raise LoadError(f'map "{published}": its layout cannot be read: {error}', Failure.COMPILE) from error
    return KernelMap(published, fd, keys, values, entries)


def _with_near(kernel_map: KernelMap, near: tuple[Any, int, bool] | None) -> KernelMap:
    if near is None:
        return kernel_map
    _, size, places = map_sizes(near[1])
    try:
        found = map_places(near[1], kernel_map.key_dtype, kernel_map.columns, (size, places))
    except ProbeError as error:
        raise LoadError(f'map "{kernel_map.name}": {error}', Failure.COMPILE) from error
    return replace(kernel_map, near=found)


def _unavailable(probes: Sequence[Probe], hooks: Sequence[HookStatus]) -> Mapping[str, str]:
    """The reason for each metric that depends on a hook that is not attached."""
    refused = {(hook.probe, hook.hook): hook.reason for hook in hooks if not hook.attached}
    return {
        metric.name: "; ".join(dict.fromkeys(reasons))
        for probe in probes
        for metric in probe.metrics
        if (reasons := [refused[probe.name, hook] for hook in metric.hooks if (probe.name, hook) in refused])
    }
