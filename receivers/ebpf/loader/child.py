# SPDX-License-Identifier: Apache-2.0
"""The short-lived child that compiles, where nobody did before, and attaches.

Started by `loading/parent.py`, with a socket as its standard input. It hands all descriptors over and
goes; what they hold lives on.
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
from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import make_room, receive_message, send_message
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import Tracefs, find_tracefs, is_mounted, mount_tracefs
from ebpf_sidecar.receivers.ebpf.loading.plan import Plan, make_plan
from ebpf_sidecar.receivers.ebpf.loading.refusal import Refused, Why
from ebpf_sidecar.receivers.ebpf.loading.request import LoadRequest

from .bcc_compiler import compile_with_bcc
from .bcc_package import bcc_version, how_to_see, system_folder
from .bytecode import Bytecode, MapLayout
from .c_source import assemble
from .compiling import compile_what_can_be
from .filling import fill_calls, fill_sets
from .program_cache import ProgramCache, default_folder, key_of
from .program_loader import Kernel, ProgramLoader, by_name, create_maps, status
from .trial import in_child


@dataclass(frozen=True, slots=True)
class _Object:
    """What is loaded. ``kept``: an earlier start compiled it."""

    plan: Plan
    bytecode: Bytecode
    kept: bool


def main() -> None:
    """Answer the one request that comes over the socket that is our standard input."""
    make_room()  # the limit is that of who started us
    channel = socket.socket(fileno=0)
    request = LoadRequest.from_json(receive_message(channel)[0])
    try:
        answer, descriptors = _load(request)
    except Refused as refusal:
        answer, descriptors = _refusal(refusal.diagnosis), []
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        answer, descriptors = _refusal(refusals.too_few_descriptors()), []
    send_message(channel, answer, descriptors)


def _refusal(diagnosis: refusals.Diagnosis) -> dict[str, Any]:
    return {"failure": diagnosis.failure, "message": diagnosis.message}


def _load(request: LoadRequest) -> tuple[dict[str, Any], list[int]]:
    standing = refusals.own_standing()
    certain = refusals.before_loading(standing)
    if certain:
        raise Refused(certain)
    kernel = Kernel(_tracefs(standing), Btf.of_kernel(), standing)
    began = time.monotonic()

    def compiled(some: LoadRequest) -> _Object:
        return _compiled(some, make_plan(some, kernel.tracefs, kernel.types, standing.release), kernel)

    done = compile_what_can_be(request, compiled, in_child(compiled, _log) if request.careful else None)
    plan, bytecode = done.result.plan, done.result.bytecode
    seconds = time.monotonic() - began
    descriptors = create_maps(bytecode, standing)
    maps = by_name(bytecode, descriptors)
    fill_calls(maps, done.request.calls)
    fill_sets(maps, request.sets)
    own, loader = (ProgramLoader(bytecode, descriptors, kernel) for _ in range(2))
    # first: the names of all that is counted are then known
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
            yield status(hook, None, Why("does not compile", broken[hook.probe]))


def _uncompiled_own(request: LoadRequest, reason: str) -> Iterator[dict[str, Any]]:
    """The status of the reader's own hooks where they do not compile for ``reason``."""
    for hook in request.own_hooks if reason else ():
        yield status(hook, None, Why("does not compile", reason))


def _tracefs(standing: refusals.Standing) -> Tracefs:
    found = find_tracefs()
    if found is None:
        try:
            mount_tracefs()
        except OSError as error:
            if is_mounted():
                raise Refused(refusals.unreadable_tracefs(os.geteuid(), os.getegid())) from error
            raise Refused(refusals.no_tracefs(error.errno or 0, standing)) from error
        found = find_tracefs()
    if found is None:
        raise Refused(refusals.unreadable_tracefs(os.geteuid(), os.getegid(), by_us=True))
    return found


def _compiled(request: LoadRequest, plan: Plan, kernel: Kernel) -> _Object:
    """What an earlier start compiled from the same, or else what the compiler makes of it."""
    try:
        text = assemble(map(Path, request.files), Path(request.headers))
        # BCC's own headers raise warnings that are not ours to mend
        flags = [f"-D{name}={value}" for name, value in plan.macros.items()] + ["-Wno-everything"]
        parts = [text, *flags, *_surroundings(request, kernel.tracefs)]
    except (OSError, ValueError) as error:
        raise Refused(refusals.compile_error(f"error: {error}")) from error
    cache, key = _cache(request), key_of(parts)
    kept = cache.find(key) if cache else None
    bytecode = kept or _compile(text, flags, request.headers, kernel.standing)
    if cache and not kept:
        cache.keep(key, bytecode)
    return _Object(plan, bytecode, kept is not None)


def _cache(request: LoadRequest) -> ProgramCache | None:
    folder = default_folder(os.environ) if request.program_cache is None else request.program_cache
    return ProgramCache(Path(folder)) if Path(folder).is_absolute() else None


def _surroundings(request: LoadRequest, tracefs: Tracefs) -> Iterator[str]:
    """What decides, besides text and flags, what the compiler makes."""
    system = os.uname()
    yield from (system.sysname, system.release, system.version, system.machine)  # a pod has a new node name each time
    yield bcc_version()
    yield os.environ.get("ARCH", "")
    yield from (file.read_text(encoding="utf-8") for file in sorted(Path(request.headers, "include").rglob("*.h")))
    ways = (way for hook in (*request.hooks, *request.own_hooks) for way in hook.ways if way.attach == "tracepoint")
    yield from (tracefs.format(way.event) for way in ways)


def _compile(text: str, flags: Sequence[str], headers: str, standing: refusals.Standing) -> Bytecode:
    began = len(_log())
    try:
        return compile_with_bcc(text, flags, headers)
    except (ImportError, OSError) as error:
        folder = system_folder()
        raise Refused(refusals.no_bcc(str(error), folder, how_to_see(folder))) from error
    except Exception as error:
        log = _log()[began:]
        raise Refused(refusals.from_log(log, standing) or refusals.compile_error(log or str(error))) from error


def _refuse_if_nothing_works(hooks: Sequence[dict[str, Any]], loader: ProgramLoader, request: LoadRequest) -> None:
    reasons = [f"{hook['probe']}::{hook['hook']}: {hook['reason']}" for hook in hooks if not hook["program"]]
    if reasons and request.strict:
        raise Refused(refusals.strict_refusal(reasons))
    if reasons and not loader.programs:
        raise Refused(refusals.Diagnosis(loader.failure, reasons[0]))


def _description(layout: MapLayout) -> dict[str, Any]:
    return {"name": layout.name, "key": layout.key, "value": layout.value}


def _log() -> str:
    """What BCC and clang wrote to stderr, which the parent opened as a file."""
    try:
        return os.pread(2, os.fstat(2).st_size, 0).decode(errors="replace")
    except OSError:
        return ""


def _peak_rss() -> int:
    # not ru_maxrss: that begins with the parent's
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(match[1]) * 1024 if match else 0


if __name__ == "__main__":
    main()
    # without BCC's exit handler: it would disable perf events that now belong to the parent
    os._exit(0)
