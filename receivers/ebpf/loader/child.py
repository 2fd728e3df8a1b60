# SPDX-License-Identifier: Apache-2.0
"""The short-lived child that compiles, unless the result is cached, and attaches.

Started by `loading/parent.py`, with a socket as its standard input. It hands over all descriptors and exits; the kernel
objects stay.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebpf_sidecar.receivers.ebpf.kernel import refusals
from ebpf_sidecar.receivers.ebpf.kernel.btf import Btf
from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import raise_descriptor_limit, receive_message, send_message
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import Tracefs, find_tracefs, is_mounted, mount_tracefs
from ebpf_sidecar.receivers.ebpf.loading.plan import Plan, make_plan
from ebpf_sidecar.receivers.ebpf.loading.refusal import LoadRefused, Reason
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest

from .bcc_compiler import compile_with_bcc
from .bcc_package import bcc_version, how_to_make_visible, system_folder
from .bytecode import Bytecode, MapLayout
from .c_source import assemble
from .compiling import compile_working_probes
from .filling import fill_calls, fill_sets
from .program_cache import ProgramCache, default_folder, key_of
from .program_loader import ProgramLoader, RunningKernel, by_name, create_maps, status
from .trial import in_child


@dataclass(frozen=True, slots=True)
class _Object:
    """What is loaded. ``kept``: whether it comes from the cache."""

    plan: Plan
    bytecode: Bytecode
    kept: bool


def main() -> None:
    """Answer the one request that arrives on standard input, which is a socket."""
    raise_descriptor_limit()  # the limit is inherited
    channel = socket.socket(fileno=0)
    request = LoadRequest.from_json(receive_message(channel)[0])
    try:
        answer, descriptors = _load(request)
    except LoadRefused as refusal:
        answer, descriptors = _refusal(refusal.problem), []
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        answer, descriptors = _refusal(refusals.too_few_descriptors()), []
    send_message(channel, answer, descriptors)


def _refusal(problem: refusals.LoadProblem) -> dict[str, Any]:
    return {"failure": problem.failure, "message": problem.message}


def _load(request: LoadRequest) -> tuple[dict[str, Any], list[int]]:
    privileges = refusals.own_privileges()
    certain = refusals.before_loading(privileges)
    if certain:
        raise LoadRefused(certain)
    kernel = RunningKernel(_tracefs(privileges), Btf.of_kernel(), privileges)
    started = time.monotonic()

    def compiled(some: LoadRequest) -> _Object:
        return _compiled(some, make_plan(some, kernel.tracefs, kernel.types, privileges.release), kernel)

    done = compile_working_probes(request, compiled, in_child(compiled, _log) if request.careful else None)
    plan, bytecode = done.result.plan, done.result.bytecode
    seconds = time.monotonic() - started
    descriptors = create_maps(bytecode, privileges)
    maps = by_name(bytecode, descriptors)
    fill_calls(maps, done.request.calls)
    fill_sets(maps, request.sets)
    own, loader = (ProgramLoader(bytecode, descriptors, kernel) for _ in range(2))
    # first, so that the names of everything counted are known
    own_hooks = [*own.attach_all(plan.own), *_uncompiled_own(request, done.own_broken)]
    hooks = [*loader.attach_all(plan.choices), *_uncompiled(request, done.broken)]
    _refuse_if_nothing_works(hooks, loader, request)
    handed = [layout for layout in bytecode.maps if layout.name in done.request.maps]
    answer = {
        "maps": [_description(layout) for layout in handed],
        "hooks": hooks,
        "own_hooks": own_hooks,
        "programs": {name: len(each) for name, each in [*own.attachments.items(), *loader.attachments.items()]},
        "compile_seconds": seconds,
        "kept": done.result.kept,
        "peak_rss_bytes": _peak_rss(),
        "cgroup_hierarchy": plan.cgroup_hierarchy,
    }
    programs = [*own.programs.values(), *loader.programs.values()]
    attached = [*own.attachments.values(), *loader.attachments.values()]
    attachments = [descriptor for each in attached for descriptor in each]
    return answer, [maps[layout.name] for layout in handed] + programs + attachments


def _uncompiled(request: LoadRequest, broken: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The status of the hooks of ``broken`` probes."""
    for hook in request.hooks:
        if hook.probe in broken:
            yield status(hook, None, Reason("does not compile", broken[hook.probe]))


def _uncompiled_own(request: LoadRequest, reason: str) -> Iterator[dict[str, Any]]:
    """The status of the reader's own hooks where they do not compile for ``reason``."""
    for hook in request.own_hooks if reason else ():
        yield status(hook, None, Reason("does not compile", reason))


def _tracefs(privileges: refusals.ProcessPrivileges) -> Tracefs:
    found = find_tracefs()
    if found is None:
        try:
            mount_tracefs()
        except OSError as error:
            if is_mounted():
                raise LoadRefused(refusals.unreadable_tracefs(os.geteuid(), os.getegid())) from error
            raise LoadRefused(refusals.no_tracefs(error.errno or 0, privileges)) from error
        found = find_tracefs()
    if found is None:
        raise LoadRefused(refusals.unreadable_tracefs(os.geteuid(), os.getegid(), by_us=True))
    return found


def _compiled(request: LoadRequest, plan: Plan, kernel: RunningKernel) -> _Object:
    """The cached result of compiling the same, or else the compiler's."""
    try:
        text = assemble(map(Path, request.files), Path(request.headers))
        # BCC's own headers cause warnings that we cannot fix
        flags = [f"-D{name}={value}" for name, value in plan.macros.items()] + ["-Wno-everything"]
        parts = [text, *flags, *_surroundings(request, kernel.tracefs)]
    except (OSError, ValueError) as error:
        raise LoadRefused(refusals.compile_error(f"error: {error}")) from error
    cache, key = _cache(request), key_of(parts)
    kept = cache.find(key) if cache else None
    bytecode = kept or _compile(text, flags, request.headers, kernel.privileges)
    if cache and not kept:
        cache.keep(key, bytecode)
    return _Object(plan, bytecode, kept is not None)


def _cache(request: LoadRequest) -> ProgramCache | None:
    folder = default_folder(os.environ) if request.program_cache is None else request.program_cache
    return ProgramCache(Path(folder)) if Path(folder).is_absolute() else None


def _surroundings(request: LoadRequest, tracefs: Tracefs) -> Iterator[str]:
    """Everything besides text and flags that affects the compiler's output."""
    system = os.uname()
    yield from (
        system.sysname,
        system.release,
        system.version,
        system.machine,
    )  # without the node name, which is new for each pod
    yield bcc_version()
    yield os.environ.get("ARCH", "")
    yield from (file.read_text(encoding="utf-8") for file in sorted(Path(request.headers, "include").rglob("*.h")))
    ways = (
        point
        for hook in (*request.hooks, *request.own_hooks)
        for point in hook.alternatives
        if point.attach == "tracepoint"
    )
    yield from (tracefs.format(point.event) for point in ways)


def _compile(text: str, flags: Sequence[str], headers: str, privileges: refusals.ProcessPrivileges) -> Bytecode:
    started = len(_log())
    try:
        return compile_with_bcc(text, flags, headers)
    except (ImportError, OSError) as error:
        folder = system_folder()
        raise LoadRefused(refusals.no_bcc(str(error), folder, how_to_make_visible(folder))) from error
    except Exception as error:
        log = _log()[started:]
        raise LoadRefused(refusals.from_log(log, privileges) or refusals.compile_error(log or str(error))) from error


def _refuse_if_nothing_works(hooks: Sequence[dict[str, Any]], loader: ProgramLoader, request: LoadRequest) -> None:
    reasons = [f"{hook['probe']}::{hook['hook']}: {hook['reason']}" for hook in hooks if not hook["program"]]
    if reasons and request.strict:
        raise LoadRefused(refusals.strict_refusal(reasons))
    if reasons and not loader.programs:
        raise LoadRefused(refusals.LoadProblem(loader.failure, reasons[0]))


def _description(layout: MapLayout) -> dict[str, Any]:
    return {"name": layout.name, "key": layout.key, "value": layout.value}


def _log() -> str:
    """What BCC and clang wrote to stderr, which the parent opened as a file."""
    try:
        return os.pread(2, os.fstat(2).st_size, 0).decode(errors="replace")
    except OSError:
        return ""


def _peak_rss() -> int:
    # not ru_maxrss: that starts with the parent's value
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(match[1]) * 1024 if match else 0


if __name__ == "__main__":
    main()
    # without BCC's exit handler: it would disable perf events that now belong to the parent
    os._exit(0)
