/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include <asm/ptrace.h>
#include "file_type.h"
#include "histogram.h"
#include "near.h"
#include "thread.h"

struct call_key {
    struct owner owner;
    u32 syscall;
    u16 direction; /* follows from the syscall, so it adds no rows */
    u16 file_type; /* a row for each type that the call operates on */
};

struct call_value {
    u64 duration[SYSCALL_SLOTS];
    u64 duration_sum;
    u64 bytes;
    u64 refused; /* calls that seccomp answered before they started, so they have no duration */
};
BPF_F_TABLE("hash", struct call_key, struct call_value, syscall_stats, SYSCALL_STATS_ENTRIES, MAP_FLAGS);

struct error_key {
    struct owner owner;
    u32 syscall;
    u16 error;
    u16 file_type;
};

struct error_value {
    u64 errors;
};
BPF_F_TABLE("hash", struct error_key, struct error_value, syscall_errors, SYSCALL_ERRORS_ENTRIES, MAP_FLAGS);

struct advice_key {
    struct owner owner;
    u64 advice;
};

struct advice_value {
    u64 calls;
    u64 success;
};
BPF_F_TABLE("hash", struct advice_key, struct advice_value, fadvise_stats, FADVISE_STATS_ENTRIES, MAP_FLAGS);

/* What a system call returns inside the kernel when a signal interrupts it (include/linux/errno.h); user space never
 * sees it. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516
#define EINTR 4
#define SA_RESTART 0x10000000

/* All zero: new rows are copied from here, so that calls whose row exists do not pay for clearing one. */
BPF_ARRAY(blank_call, struct call_value, 1);

static __always_inline struct call_value *new_call_row(struct call_key *key)
{
    u32 first = 0;
    struct call_value *blank = blank_call.lookup(&first), *row;

    if (!blank)
        return NULL;
    row = syscall_stats.lookup_or_try_init(key, blank);
    if (!row)
        count_drop(DROPPED_SYSCALL_STATS);
    return row;
}

struct near_call {
    u64 key[5];
    u64 claims;
    struct call_value value;
} OWN_CACHE_LINES;
BPF_F_TABLE("array", u32, struct near_call, near_syscall_stats, NEAR_SYSCALL_STATS_ENTRIES, NEAR_FLAGS);

static __always_inline struct call_value *far_call_row(struct call_key *key)
{
    struct call_value *row = syscall_stats.lookup(key);

    return row ? row : new_call_row(key);
}

static __always_inline struct call_value *call_row(struct call_key *key)
{
    u32 place = place_of_row((u64 *)key, 5, NEAR_SYSCALL_STATS_ENTRIES);
    struct near_call *near = near_syscall_stats.lookup(&place);

    if (near && (is_place_of(near->key, (u64 *)key, 5) || take_place(near->key, &near->claims, (u64 *)key, 5)))
        return &near->value;
    return far_call_row(key);
}

static __always_inline void count_duration(struct thread *thread, u64 nanoseconds, s64 result)
{
    struct call_value *row = call_row((struct call_key *)&thread->owner);

    if (!row)
        return;
    __sync_fetch_and_add(&row->duration[histogram_slot(nanoseconds, SYSCALL_LOWEST, SYSCALL_SLOTS)], 1);
    __sync_fetch_and_add(&row->duration_sum, nanoseconds);
    if (thread->direction && result > 0)
        __sync_fetch_and_add(&row->bytes, result);
}

static __always_inline void count_error(struct thread *thread, u32 error)
{
    struct error_key key = {
        .owner = thread->owner, .syscall = thread->number, .error = error, .file_type = thread->file_type};
    struct error_value zero = {}, *row;

    row = syscall_errors.lookup_or_try_init(&key, &zero);
    if (row)
        __sync_fetch_and_add(&row->errors, 1);
    else
        count_drop(DROPPED_SYSCALL_ERRORS);
}

static __always_inline void count_advice(struct thread *thread, s64 result)
{
    struct advice_key key = {.owner = thread->owner, .advice = thread->advice};
    struct advice_value zero = {}, *row;

    row = fadvise_stats.lookup_or_try_init(&key, &zero);
    if (!row) {
        count_drop(DROPPED_FADVISE_STATS);
        return;
    }
    __sync_fetch_and_add(&row->calls, 1);
    if (result == 0)
        __sync_fetch_and_add(&row->success, 1);
}

static __always_inline bool is_error(s64 result)
{
    return result < 0 && result >= -4095;
}

/* The thread's owner must have its generation set, and the file's type must be known. */
static __always_inline void count_call(struct thread *thread, u64 nanoseconds, s64 result)
{
    count_duration(thread, nanoseconds, result);
    if (is_error(result))
        count_error(thread, -result);
    if (thread->call.advice)
        count_advice(thread, result);
}

/* ---- interrupted calls: one call, however often the kernel restarts it ---- */

static __always_inline void restore_paused_call(struct thread *thread)
{
    struct call *call;

    thread->number = thread->paused_number;
    call = calls.lookup(&thread->number);
    if (call) {
        thread->call = *call;
        thread->direction = call->direction;
    }
}

/* The restarted call has the same stack pointer: calls made by a signal handler meanwhile have a lower or another one.
 * A handler that never returned (siglongjmp) abandoned the call: this is another one, however similar. */
static __always_inline void resume_if_restarted(struct thread *thread, u64 stack)
{
    if (thread->paused_stack != stack)
        return;
    if (!thread->paused_by_handler) {
        if (thread->call.restarts)
            restore_paused_call(thread);
        if (thread->number == thread->paused_number)
            thread->started = thread->paused_since;
    }
    thread->paused_since = 0;
}

/* The target of rt_sigreturn shows whether the returning handler interrupted the call, or another handler within it. */
static __always_inline void handler_returns(struct thread *thread)
{
    if (thread->paused_since && USER_STACK(registers_of_current()) == thread->paused_stack)
        thread->paused_by_handler = 0;
}

static __always_inline bool is_interrupted(s64 result)
{
    return result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND ||
           result == -ERESTART_RESTARTBLOCK;
}

static __always_inline void pause_call(struct thread *thread, s64 result)
{
    thread->paused_since = thread->started;
    thread->paused_until = bpf_ktime_get_ns();
    thread->paused_stack = USER_STACK(registers_of_current());
    thread->paused_number = thread->number;
    thread->paused_result = -result;
    thread->paused_type = type_of_call(thread);
    thread->paused_by_handler = 0;
}

static __always_inline bool handler_ends_call(u16 result, u64 flags)
{
    if (result == ERESTARTSYS)
        return !(flags & SA_RESTART);
    return result == ERESTARTNOHAND || result == ERESTART_RESTARTBLOCK;
}

#ifdef HAVE_SIGNAL_TRACEPOINT
/* With a handler (neither SIG_DFL nor SIG_IGN) the interrupted call ends here with EINTR, unless it restarts. Signals
 * that arrive while the handler runs do not change that. */
int signal_tracepoint(struct tracepoint__signal__signal_deliver *args)
{
    struct thread *thread = current_thread();

    if (!thread || !thread->paused_since || thread->paused_by_handler || args->sa_handler < 2)
        return 0;
    if (!handler_ends_call(thread->paused_result, args->sa_flags)) {
        thread->paused_by_handler = 1;
        return 0;
    }
    restore_paused_call(thread);
    thread->file_type = thread->paused_type;
    thread->owner.generation = current_generation();
    count_call(thread, thread->paused_until - thread->paused_since, -EINTR);
    thread->paused_since = 0;
    return 0;
}
#endif

/* ---- the shared call programs hand over here (call.c) ---- */

static __always_inline void syscalls_call_begins(struct thread *thread)
{
    thread->started = bpf_ktime_get_ns();
    if (thread->call.advice)
        thread->advice = FOURTH_ARGUMENT(registers_of_current());
    if (thread->paused_since)
        resume_if_restarted(thread, USER_STACK(registers_of_current()));
}

static __always_inline void syscalls_call_returns(struct thread *thread, s64 result)
{
    u64 nanoseconds;

    if (thread->call.resumes)
        handler_returns(thread);
    if (!thread->call.timed)
        return;
    if (is_interrupted(result)) {
        pause_call(thread, result);
        return;
    }
    nanoseconds = bpf_ktime_get_ns() - thread->started; /* first: finding the type takes time */
    thread->file_type = type_of_call(thread);
    count_call(thread, nanoseconds, result);
}

static __always_inline void syscalls_call_refused(struct thread *thread, s64 result)
{
    struct call_value *row;

    thread->file_type = type_of_call(thread);
    row = call_row((struct call_key *)&thread->owner);
    if (row)
        __sync_fetch_and_add(&row->refused, 1);
    count_error(thread, -result);
    if (!thread->call.advice)
        return;
    thread->advice = FOURTH_ARGUMENT(registers_of_current());
    count_advice(thread, result);
}
