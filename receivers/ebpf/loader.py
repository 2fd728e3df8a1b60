# SPDX-License-Identifier: Apache-2.0
"""The short-lived child that compiles and attaches: the only file that imports BCC (and LLVM with it, about 125 MB).

Started by `loading.py`, with a socket as its standard input. It hands all descriptors over and
goes; what they hold lives on.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import rights
from .attaching import BY_BPF, attach
from .bcc_package import how_to_see, system_folder
from .bpf_call import Command, element, kernel_call
from .btf import Btf
from .compiling import compile_what_can_be
from .descriptors import make_room, receive_message, send_message
from .plan import Choice, Plan, make_plan
from .probe import COMPILED_AS
from .refusal import NO_OBJECTION, Refused, Why, joined
from .request import HookRequest, LoadRequest, Way
from .source import assemble
from .tracefs import Tracefs, find_tracefs, is_mounted, mount_tracefs
from .tracing_names import compiled_name, renaming
from .trial import in_child

_PROGRAM_TYPES = {
    "tracepoint": "TRACEPOINT",
    "raw_tracepoint": "RAW_TRACEPOINT",
    "kprobe": "KPROBE",
    "kretprobe": "KPROBE",
    "fentry": "TRACING",
    "fexit": "TRACING",
    "perf_event": "PERF_EVENT",
}


@dataclass
class Loader:
    """Attaches the hooks of one compiled object one by one, so that one refusal stops no other."""

    bpf: Any
    standing: rights.Standing
    programs: dict[str, int] = field(default_factory=dict)
    attachments: dict[str, list[int]] = field(default_factory=dict)
    refusals: dict[str, Why] = field(default_factory=dict)
    failure: rights.Failure = rights.Failure.ATTACH
    """Why the first program was refused."""

    def attach(self, choice: Choice) -> dict[str, Any]:
        """The status of the hook: attached by the first way that works, or the reasons of all."""
        reasons = [Why(choice.brief, choice.reason)]
        for way in choice.ways:
            why = self._attach(way)
            if not why:
                return _status(choice.hook, way, NO_OBJECTION)
            reasons.append(why)
        return _status(choice.hook, None, joined(reasons))

    def _attach(self, way: Way) -> Why:
        """No objection when attached, else why not. A program shared by several probes is attached once."""
        if way.program in self.programs:
            return NO_OBJECTION
        if way.program not in self.refusals:
            self.refusals[way.program] = self._try(way)
        return self.refusals[way.program]

    def _try(self, way: Way) -> Why:
        began = len(_log())
        try:
            program, attachments = self._load_and_attach(way, began)
        except Refused as refusal:
            found = refusal.diagnosis
            if way.attach in COMPILED_AS and self.programs:
                found = rights.refused_way(found, way.attach)
            self.failure = self.failure if self.refusals else found.failure
            return Why(f"{way.attach} {rights.BRIEFLY[found.failure]}", f"{way.attach} {way.event}: {found.message}")
        self.programs[way.program] = program
        self.attachments[way.program] = attachments
        return NO_OBJECTION

    def _load_and_attach(self, way: Way, began: int) -> tuple[int, list[int]]:
        try:
            name = compiled_name(way.program, self._has).encode()
            program = self.bpf.load_func(name, getattr(self.bpf, _PROGRAM_TYPES[way.attach])).fd
        except Exception as error:
            number, log = ctypes.get_errno(), _log()[began:]
            raise Refused(rights.after_load(way.program, number, self.standing, log)) from error
        attachments = attach(_library(), program, way)
        if min(attachments) < 0:
            number = ctypes.get_errno()
            for each in attachments:
                _close(each)
            call = "bpf" if way.attach in BY_BPF else "perf_event_open"
            raise Refused(rights.after_refusal(call, number, self.standing, _log()[began:]))
        return program, attachments

    def _has(self, name: str) -> bool:
        return bool(_library().bpf_function_start(self.bpf.module, name.encode()))


def _library() -> Any:
    from bcc import lib  # noqa: PLC0415 # loaded only once BCC is known to be there

    return lib


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


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
        answer, descriptors = _refusal(rights.too_few_descriptors()), []
    send_message(channel, answer, descriptors)


def _refusal(diagnosis: rights.Diagnosis) -> dict[str, Any]:
    return {"failure": diagnosis.failure, "message": diagnosis.message}


def _load(request: LoadRequest) -> tuple[dict[str, Any], list[int]]:
    standing = rights.own_standing()
    certain = rights.before_loading(standing)
    if certain:
        raise Refused(certain)
    tracefs = _tracefs(standing)
    types = Btf.of_kernel()
    began = time.monotonic()

    def compiled(some: LoadRequest) -> tuple[Plan, Any]:
        return _compile(some, make_plan(some, tracefs, types, standing.release), standing)

    done = compile_what_can_be(request, compiled, in_child(compiled, _log) if request.careful else None)
    plan, bpf = done.result
    seconds = time.monotonic() - began
    _fill_calls(bpf, done.request)
    _fill_sets(bpf, request)
    loader = Loader(bpf, standing)
    hooks = [
        *_attached(loader, plan.choices),
        *(
            _status(hook, None, Why("does not compile", done.broken[hook.probe]))
            for hook in request.hooks
            if hook.probe in done.broken
        ),
    ]
    _refuse_if_nothing_works(hooks, loader, request)
    maps = [_describe(bpf, name) for name in done.request.maps]
    answer = {
        "maps": maps,
        "hooks": hooks,
        "programs": {name: len(attachments) for name, attachments in loader.attachments.items()},
        "compile_seconds": seconds,
        "peak_rss_bytes": _peak_rss(),
        "cgroup_hierarchy": plan.cgroup_hierarchy,
    }
    attachments = [descriptor for each in loader.attachments.values() for descriptor in each]
    return answer, [each["fd"] for each in maps] + [*loader.programs.values(), *attachments]


def _attached(loader: Loader, choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """The hooks' status in the order of ``choices``; those at functions are tried last, when it is known what works."""
    order = sorted(range(len(choices)), key=lambda at: any(way.attach in COMPILED_AS for way in choices[at].ways))
    found = {at: loader.attach(choices[at]) for at in order}
    return [found[at] for at in range(len(choices))]


def _tracefs(standing: rights.Standing) -> Tracefs:
    found = find_tracefs()
    if found is None:
        try:
            mount_tracefs()
        except OSError as error:
            if is_mounted():
                raise Refused(rights.unreadable_tracefs(os.geteuid(), os.getegid())) from error
            raise Refused(rights.no_tracefs(error.errno or 0, standing)) from error
        found = find_tracefs()
    if found is None:
        raise Refused(rights.unreadable_tracefs(os.geteuid(), os.getegid(), by_us=True))
    return found


def _compile(request: LoadRequest, plan: Plan, standing: rights.Standing) -> tuple[Plan, Any]:
    # BCC then takes our stand-ins for the kernel's headers, which need not be installed
    os.environ["BCC_KERNEL_SOURCE"] = request.headers
    try:
        from bcc import BPF  # noqa: PLC0415 # takes long, and may be missing
    except (ImportError, OSError) as error:
        folder = system_folder()
        raise Refused(rights.no_bcc(str(error), folder, how_to_see(folder))) from error
    try:
        text = assemble(map(Path, request.files), Path(request.headers), renaming(_programs(request)))
    except (OSError, ValueError) as error:
        raise Refused(rights.compile_error(f"error: {error}")) from error
    # BCC's own headers raise warnings that are not ours to mend
    flags = [f"-D{name}={value}" for name, value in plan.macros.items()] + ["-Wno-everything"]
    # BCC attaches programs with certain names by itself, and one that it cannot attach would be the end of all
    BPF._trace_autoload = lambda _: None  # there is no switch for it
    began = len(_log())
    try:
        return plan, BPF(text=text, cflags=flags)
    except Exception as error:
        log = _log()[began:]
        raise Refused(rights.from_log(log, standing) or rights.compile_error(log or str(error))) from error


def _programs(request: LoadRequest) -> list[str]:
    return [way.program for hook in request.hooks for way in hook.ways]


def _fill_calls(bpf: Any, request: LoadRequest) -> None:
    if not request.calls:
        return
    calls = bpf["calls"]
    for number, fields in request.calls.items():
        calls[ctypes.c_int(number)] = calls.Leaf(**fields)


def _fill_sets(bpf: Any, request: LoadRequest) -> None:
    """Before anything is attached, so that no program decides by half a set."""
    for name, keys in request.sets.items():
        value = ctypes.create_string_buffer(8)
        for key in keys:
            raw = ctypes.create_string_buffer(bytes.fromhex(key))
            addresses = ctypes.addressof(raw), ctypes.addressof(value)
            number = element(kernel_call, Command.UPDATE, bpf[name].map_fd, *addresses)
            if number:
                raise Refused(rights.Diagnosis(rights.Failure.ATTACH, f'map "{name}": {os.strerror(number)}'))


def _refuse_if_nothing_works(hooks: Sequence[dict[str, Any]], loader: Loader, request: LoadRequest) -> None:
    reasons = [f"{hook['probe']}::{hook['hook']}: {hook['reason']}" for hook in hooks if not hook["program"]]
    if reasons and request.strict:
        raise Refused(rights.strict_refusal(reasons))
    if reasons and not loader.programs:
        raise Refused(rights.Diagnosis(loader.failure, reasons[0]))


def _describe(bpf: Any, name: str) -> dict[str, Any]:
    lib = _library()
    table, encoded = bpf[name], name.encode()
    return {
        "name": name,
        "fd": table.map_fd,
        "key": json.loads(lib.bpf_table_key_desc(bpf.module, encoded)),
        "value": json.loads(lib.bpf_table_leaf_desc(bpf.module, encoded)),
        "max_entries": table.max_entries,
    }


def _status(hook: HookRequest, way: Way | None, why: Why) -> dict[str, Any]:
    taken = {"program": way.program, "way": f"{way.attach} {way.event}"} if way else {"program": "", "way": ""}
    return {"probe": hook.probe, "hook": hook.name, **taken, "reason": why.full, "brief": why.brief}


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
