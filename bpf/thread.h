/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_THREAD_H
#define EBPF_SIDECAR_THREAD_H

#include "near.h"
#include "owner.h"
#include "task.h"

#define CALL_NUMBERS 512 /* the highest system call number of x86-64 and arm64 is below 480 */

/* EITHER: the call reads one file and writes another. RING: the same, for several requests that may concern the same
 * pages. */
enum cause { CAUSE_NONE, CAUSE_READ, CAUSE_WRITE, CAUSE_MMAP, CAUSE_OTHER, CAUSE_EITHER, CAUSE_RING };

/* OFFSET: the fourth argument. OWN: the file's own position. SECOND, THIRD: what the second or third argument points
 * to, or if NULL the own position of the file in the first or the second argument. */
enum position { POSITION_UNKNOWN, POSITION_OFFSET, POSITION_OWN, POSITION_SECOND, POSITION_THIRD };

/* What to do for one system call number; filled by the loader from the probes' `calls`. All zero: not followed. */
struct call {
    u8 follow; /* keep a thread's state during this call */
    u8 cause;  /* of pages added during it, enum cause; upper four bits: what gives its position, enum position */
    u8 timed;
    u8 direction;  /* of the bytes it returns: 1 read, 2 write, 3 copy */
    u8 advice;     /* its fourth argument is an advice */
    u8 restarts;   /* it is restart_syscall, which stands for another call */
    u8 resumes;    /* it is rt_sigreturn, which returns to what a signal interrupted */
    u8 descriptor; /* which argument is one; upper four bits: which one counts if that is a pipe; 0: none */
};
BPF_ARRAY(calls, struct call, CALL_NUMBERS);

static __always_inline u32 cause_of_call(struct call *call)
{
    return call->cause & 15;
}

/* What one thread is doing. Created at the first followed call, reused by all later ones, deleted when the thread ends.
 */
struct thread {
    struct owner owner; /* these three are the key of a call's row (struct call_key), used in place */
    u32 number;
    u16 direction;
    u16 file_type; /* enum file_type (file_type.h), known when the call returns */
    struct call call;
    u32 inside;  /* 1 while the thread is inside a followed call */
    u32 compat;  /* 1: a 32-bit program, where only registers tell (see is_compat_call) */
    u64 renames; /* of all processes, when the name was last looked up */
#ifdef TARGETS
    u64 seen_cgroup; /* in which the owner was checked */
    u64 seen_state;  /* of the targets and of all names at that time */
#endif
#ifdef PROBE_PAGE_CACHE
    u64 mapping;    /* file that the call looks pages up in */
    u64 first_page; /* of the requested ones */
    u64 next_page;  /* pages before it have been counted for this call */
    u32 rounded;    /* 1: to whole file system blocks, of which the call requests a part */
    u64 counted;    /* sum of lookups and of all page counts below: 0 means nothing to hand over */
    u64 lookups;
    u64 misses; /* beyond what is accounted at the end of a call */
    u32 adds[4];
    u32 removes;
    u32 dirtied;
    u64 fetched; /* 1 more than the thread had read from disks when the first page of this call was added */
    u64 fault;   /* the fault that was counted last (current_fault), and in bit 0 whether it added pages */
#endif
#ifdef PROBE_SYSCALLS
    u64 typed_mapping; /* the file to which mapping_type belongs */
    u64 mapping_type;
    u64 started;
    u64 advice;
    u64 paused_since; /* start of a call that a signal interrupted and that may be restarted; 0: none */
    u64 paused_until;
    u64 paused_stack;
    u32 paused_number;
    u16 paused_result;    /* without its sign */
    u8 paused_by_handler; /* 1: a handler was started and has not returned to the call */
    u8 paused_type;
#endif
};
BPF_F_TABLE("hash", u32, struct thread, threads, THREADS_ENTRIES, MAP_FLAGS);

/* Its near map (near.h). Only the thread itself takes and leaves its place; its `key` is the thread id. */
struct near_thread {
    u64 key;
    u64 claims;
    struct thread state;
} OWN_CACHE_LINES;
BPF_F_TABLE("array", u32, struct near_thread, near_threads, NEAR_THREADS_ENTRIES, NEAR_FLAGS);

static __always_inline struct near_thread *place_of_thread(u32 tid)
{
    u32 place = tid & (NEAR_THREADS_ENTRIES - 1);

    return near_threads.lookup(&place);
}

static __always_inline struct thread *thread_of(u32 tid)
{
    struct near_thread *near = place_of_thread(tid);

    return near && near->key == (tid ^ NO_WORD) ? &near->state : threads.lookup(&tid);
}

static __always_inline void forget_thread(u32 tid)
{
    struct near_thread *near = place_of_thread(tid);

    if (!near || near->key != (tid ^ NO_WORD)) {
        threads.delete(&tid);
        return;
    }
    near->key = 0;
    __sync_fetch_and_add(&near->claims, -1);
}

#if !defined(HAVE_TASK_PT_REGS) && defined(OFFSET_TASK_STRUCT_STACK)
/* Before 5.15 no helper returns a thread's registers at kernel entry. Their place in the stack is the same for all
 * threads, and each system call's entry shows it. */
BPF_ARRAY(registers_place, u64, 1);

static __always_inline void learn_registers(u64 registers)
{
    u32 zero = 0;
    u64 *place = registers_place.lookup(&zero);

    if (place && !*place)
        *place = registers - read_pointer(bpf_get_current_task() + OFFSET_TASK_STRUCT_STACK);
}
#endif

/* The address of the current thread's registers at kernel entry; 0 if unknown. */
static __always_inline u64 registers_of_current(void)
{
#if defined(HAVE_TASK_PT_REGS)
    return bpf_task_pt_regs(bpf_get_current_task_btf());
#elif defined(OFFSET_TASK_STRUCT_STACK)
    u64 stack = read_pointer(bpf_get_current_task() + OFFSET_TASK_STRUCT_STACK);
    u32 zero = 0;
    u64 *place = registers_place.lookup(&zero);

    return stack && place && *place ? stack + *place : 0;
#else
    return 0;
#endif
}

#define TS_COMPAT 2 /* arch/x86/include/asm/thread_info.h */

/* Whether the current call is a 32-bit call, where its number means another call. On x86 this is a property of each
 * call: 64-bit programs may also use int $0x80. Elsewhere, and if the kernel has no BTF, it depends on the program, as
 * given by ``known``. */
static __always_inline bool is_compat_call(bool known)
{
#if defined(OFFSET_TASK_STRUCT_THREAD_INFO) && defined(OFFSET_THREAD_INFO_STATUS)
    return task_u32(OFFSET_TASK_STRUCT_THREAD_INFO + OFFSET_THREAD_INFO_STATUS) & TS_COMPAT;
#else
    return known;
#endif
}

static __always_inline struct thread *current_thread(void)
{
    return thread_of(bpf_get_current_pid_tgid());
}

/* The thread if it is inside a followed call, otherwise NULL. */
static __always_inline struct thread *thread_inside_call(void)
{
    struct thread *thread = current_thread();

    return thread && thread->inside ? thread : NULL;
}

/* Whether it was checked and is not a target. Threads that never made a followed call are checked when their owner is
 * determined. */
static __always_inline bool thread_is_left_out(struct thread *thread)
{
    return thread && is_left_out(&thread->owner);
}

/* Fills a zeroed owner from the thread's cached one, or anew for threads that never made a followed call. */
static __always_inline void find_owner(struct owner *owner)
{
    struct thread *thread = current_thread();

    if (thread)
        *owner = thread->owner;
    else
        owner_of_current(owner);
}

#endif
