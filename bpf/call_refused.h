/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_CALL_REFUSED_H
#define EBPF_SIDECAR_CALL_REFUSED_H

/* System calls of which only the exit is seen, for call.c. */
#include "call_threads.h"

#ifdef SEES_REFUSED_CALLS
#define SECCOMP_MODE_FILTER 2
#define SETTLED_NS 100000000 /* once the first entry was seen, no CPU misses one */

/* A seccomp filter may answer a call, of which only the exit is then seen. Other exits without an entry must not be
 * mistaken for that: of calls that started before this was attached, and of calls skipped by a tracer (PTRACE_SYSEMU).
 */
static __always_inline bool is_filtered(void)
{
    return task_u32(OFFSET_TASK_STRUCT_SECCOMP + OFFSET_SECCOMP_MODE) == SECCOMP_MODE_FILTER &&
           !task_u32(OFFSET_TASK_STRUCT_PTRACE);
}

/* The state of the current thread if its call started after entries were first seen: it has completed a call since, or
 * is younger. Otherwise it gets a state now, because its next call starts later. */
static __always_inline struct thread *thread_seen_whole(struct thread *thread)
{
    u64 *first = first_entry_seen(), settled = first && *first ? *first + SETTLED_NS : -1;

    if (thread)
        return thread;
    if (bpf_ktime_get_ns() < settled)
        return NULL;
    thread = new_thread();
    return LOAD(64, CURRENT_TASK(), OFFSET_TASK_STRUCT_START_TIME) > settled ? thread : NULL;
}

static __always_inline void call_never_began(struct thread *thread, s64 result)
{
    struct call *call;
    u32 number;

    if (!is_error(result) || is_interrupted(result) || !is_filtered())
        return;
    number = CALL_NUMBER(registers_of_current());
    call = followed_call(number);
    if (!call || !call->timed)
        return;
    thread = thread_seen_whole(thread);
    if (!thread || is_compat_call(thread->compat))
        return;
#ifdef TARGETS
    if (!thread_is_target(thread))
        return;
#endif
    follow_call(thread, number, call);
    thread->owner.generation = current_generation();
#ifdef PROBE_PAGE_CACHE
    page_cache_call_begins(thread);
#endif
    syscalls_call_refused(thread, result);
}
#endif

#endif
