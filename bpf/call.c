/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* The programs of all probes that follow system calls: one for every entry, one for every exit, however many probes
 * there are. The loader puts this file after the probes' own, whose handlers it calls. */
#include <asm/ptrace.h>
#include "thread.h"
#include "call_threads.h"
#include "call_refused.h"

static __always_inline void call_begins(u32 number, struct call *call)
{
    struct thread *thread = thread_for_call();

    if (!thread)
        return;
#ifdef TARGETS
    if (!thread_is_target(thread))
        return;
#endif
    if (is_compat_call(thread->compat)) {
        count_drop(DROPPED_COMPAT_CALLS);
        return;
    }
    follow_call(thread, number, call);
    thread->inside = 1;
#ifdef PROBE_PAGE_CACHE
    page_cache_call_begins(thread);
#endif
#ifdef PROBE_SYSCALLS
    syscalls_call_begins(thread);
#endif
}

static __always_inline void call_ends(s64 result)
{
    struct thread *thread = current_thread();

    if (!thread || !thread->inside) {
#ifdef SEES_REFUSED_CALLS
        call_never_began(thread, result);
#endif
        return;
    }
    thread->inside = 0;
    thread->owner.generation = current_generation();
#ifdef PROBE_SYSCALLS
    syscalls_call_returns(thread, result);
#endif
#ifdef PROBE_PAGE_CACHE
    page_cache_hand_over(thread, result);
#endif
}

/* Raw tracepoints are cheaper, but since 7.0 (a46023d5616e) their programs can be preempted, and the kernel skips a
 * program while another thread's run of it is unfinished on the same CPU. Programs of classic tracepoints cannot be
 * preempted. */
#ifdef HAVE_CALL_ENTERS
int call_enters(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = followed_call(ctx->args[1]);

    if (!call)
        return 0;
#if !defined(HAVE_TASK_PT_REGS) && defined(OFFSET_TASK_STRUCT_STACK)
    learn_registers(ctx->args[0]);
#endif
    call_begins(ctx->args[1], call);
    return 0;
}
#endif

#ifdef HAVE_CALL_ENTERS_CLASSIC
int call_enters_classic(struct tracepoint__raw_syscalls__sys_enter *args)
{
    struct call *call = followed_call(args->id);

    if (call)
        call_begins(args->id, call);
    return 0;
}
#endif

#ifdef HAVE_CALL_RETURNS
int call_returns(struct bpf_raw_tracepoint_args *ctx)
{
    call_ends(ctx->args[1]);
    return 0;
}
#endif

#ifdef HAVE_CALL_RETURNS_CLASSIC
int call_returns_classic(struct tracepoint__raw_syscalls__sys_exit *args)
{
    call_ends(args->ret);
    return 0;
}
#endif

/* Nothing may create a thread's state after this: files are closed later, and their pages removed. Hence only system
 * calls create it: there are none after this. */
static __always_inline void thread_over(void)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct thread *thread = thread_of(tid);

    if (!thread)
        return;
#ifdef PROBE_PAGE_CACHE
    thread->owner.generation = current_generation();
    page_cache_hand_over(thread, 0);
#endif
    forget_thread(tid);
}

#ifdef HAVE_THREAD_ENDS
int thread_ends(struct bpf_raw_tracepoint_args *ctx)
{
    thread_over();
    return 0;
}
#endif

#ifdef HAVE_THREAD_ENDS_CLASSIC
int thread_ends_classic(struct tracepoint__sched__sched_process_exit *args)
{
    thread_over();
    return 0;
}
#endif

#ifdef HAVE_PROGRAM_CHANGES
/* exec: a new name, perhaps 32-bit, perhaps a cgroup joined just before. A thread that is not the leader takes over the
 * leader's id. */
int program_changes(struct tracepoint__sched__sched_process_exec *args)
{
    u32 tid = args->pid, former = args->old_pid;
    struct thread *thread = thread_of(tid);

    if (former != tid)
        forget_thread(former);
    if (thread)
        describe_thread(thread);
    return 0;
}
#endif

#ifdef HAVE_NAME_CHANGES
static __always_inline bool has_other_threads(void)
{
#if defined(OFFSET_TASK_STRUCT_SIGNAL) && defined(OFFSET_SIGNAL_STRUCT_NR_THREADS)
    u64 shared = read_pointer(bpf_get_current_task() + OFFSET_TASK_STRUCT_SIGNAL);

    return read_u32(shared + OFFSET_SIGNAL_STRUCT_NR_THREADS) > 1;
#else
    return 1;
#endif
}

/* A process has the name of its group leader. The leader's state gets the new name from the event, which fires before
 * the kernel stores it; other threads look it up at their next call. */
int name_changes(struct tracepoint__task__task_rename *args)
{
#ifdef FIELD_TASK_RENAME_PID
    u32 tid = args->pid;
#else
    u32 tid = bpf_get_current_pid_tgid(); /* Debian's 6.18 does not report which thread is renamed: nearly always the
                                             caller */
#endif
    struct thread *thread;
    char name[16] = {};
    u64 *count;

    if (tid != bpf_get_current_pid_tgid() >> 32)
        return 0;
    thread = thread_of(tid);
    if (thread) {
        bpf_probe_read_kernel_str(name, sizeof(name), args->newcomm);
        __builtin_memcpy(thread->owner.comm, name, sizeof(name));
#ifdef TARGETS
        thread->seen_state = -1; /* the new name may be a target */
#endif
    }
    if (!has_other_threads())
        return 0;
    count = renames_so_far();
    if (!count)
        return 0;
    __sync_fetch_and_add(count, 1);
    if (thread)
        thread->renames = *count;
    return 0;
}
#endif
