/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_CALL_THREADS_H
#define EBPF_SIDECAR_CALL_THREADS_H

/* The states of threads that make system calls, for call.c. */
#include <asm/ptrace.h>
#include "thread.h"

static __always_inline void describe_thread(struct thread *thread)
{
    struct owner owner = {};

    owner_of_current(&owner);
    thread->owner = owner;
    thread->compat = IS_32_BIT(registers_of_current());
}

/* How often a multi-threaded process changed its name: each thread caches the name in its state. */
BPF_ARRAY(renames, u64, 1);

static __always_inline u64 *renames_so_far(void)
{
    u32 zero = 0;

    return renames.lookup(&zero);
}

static __always_inline void follow_name(struct thread *thread)
{
    u64 *count = renames_so_far();

    if (count && thread->renames != *count) {
        thread->renames = *count;
        name_of_current_process(&thread->owner);
    }
}

#ifdef TARGETS
/* Decided once per thread, and again when its cgroup, any name or the targets have changed since. */
static __always_inline bool thread_is_target(struct thread *thread)
{
    u64 *count = renames_so_far(), cgroup = 0, state = targets_version() + (count ? *count : 0);
    struct owner owner = {};

#ifndef CGROUP_SUBSYSTEM
    cgroup = bpf_get_current_cgroup_id();
#endif
    if (thread->seen_cgroup != cgroup || thread->seen_state != state) {
        owner_of_current(&owner);
        thread->owner = owner;
        thread->seen_cgroup = cgroup;
        thread->seen_state = state;
    }
    if (!is_left_out(&thread->owner))
        return 1;
    thread->inside = 0;
    return 0;
}
#endif

static __always_inline struct thread *new_far_thread(u32 tid)
{
    struct thread fresh = {}, *thread;

    describe_thread(&fresh);
    threads.update(&tid, &fresh);
    thread = threads.lookup(&tid);
    if (!thread)
        count_drop(DROPPED_THREADS);
    return thread;
}

#if defined(PROBE_SYSCALLS) && defined(OFFSET_TASK_STRUCT_SECCOMP) && defined(OFFSET_SECCOMP_MODE) && \
    defined(OFFSET_TASK_STRUCT_PTRACE) && defined(OFFSET_TASK_STRUCT_START_TIME)
#define SEES_REFUSED_CALLS

/* Set when the first entry of a call was seen. */
BPF_ARRAY(entries_seen, u64, 1);

static __always_inline u64 *first_entry_seen(void)
{
    u32 zero = 0;

    return entries_seen.lookup(&zero);
}
#endif

static __always_inline void note_first_entry(void)
{
#ifdef SEES_REFUSED_CALLS
    u64 *since = first_entry_seen();

    if (since && !*since)
        *since = bpf_ktime_get_ns();
#endif
}

/* A separate function, so that calls of known threads do not pay for clearing a state. */
static __always_inline struct thread *new_thread(void)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct near_thread *near = place_of_thread(tid);

    if (!near || near->key || !claim(&near->claims))
        return new_far_thread(tid);
    __builtin_memset(&near->state, 0, sizeof(near->state));
    describe_thread(&near->state);
    near->key = tid ^ NO_WORD; /* last: the thread has no state until it is complete */
    return &near->state;
}

static __always_inline struct thread *thread_for_call(void)
{
    struct thread *thread = current_thread();

    if (thread)
        return thread;
    note_first_entry();
    return new_thread();
}

/* The thread is about to count a call. */
static __always_inline void follow_call(struct thread *thread, u32 number, struct call *call)
{
#ifndef CGROUP_SUBSYSTEM
    /* Looked up for each call: container runtimes move processes, and on v2 it costs almost nothing. */
    thread->owner.cgroup = bpf_get_current_cgroup_id();
#endif
    follow_name(thread);
    thread->number = number;
    thread->direction = call->direction;
    thread->call = *call;
}

static __always_inline struct call *followed_call(u32 number)
{
    struct call *call = calls.lookup(&number);

    return call && call->follow ? call : NULL;
}

#endif
