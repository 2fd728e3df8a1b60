/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Faults on mapped files. After call.c, because a thread that never made a followed call needs a state here, too. */
#include <asm/ptrace.h>
#include "page_cache_faults.h"
#include "page_cache_files.h"

#define PF_EXITING 0x4

/* None is created for a thread that is exiting: it would never be removed. */
static __always_inline struct thread *thread_in_fault(void)
{
    struct thread *thread = current_thread();

    if (thread || task_flags() & PF_EXITING)
        return thread;
    return new_thread();
}

/* As at a call: the thread may have been moved, and some threads make no calls. On v1 it would cost too much. */
static __always_inline bool is_counted_here(struct thread *thread)
{
#ifdef TARGETS
    return thread_is_target(thread);
#else
#ifndef CGROUP_SUBSYSTEM
    thread->owner.cgroup = bpf_get_current_cgroup_id();
#endif
    return 1;
#endif
}

/* One fault may take several lookups: the kernel maps the pages around the wanted one, finds it missing, reads it in
 * and starts again. Only the first one counts. */
static __always_inline struct thread *thread_in_new_fault(void)
{
    struct thread *thread = thread_in_fault();
    u64 fault = current_fault();

    if (!thread || (thread->fault & ~1ULL) == fault || !is_counted_here(thread))
        return NULL;
    thread->fault = fault;
    return thread;
}

static __always_inline void count_mapped_fault(void)
{
    struct thread *thread = thread_in_new_fault();
    struct cache_value *row;

    if (!thread)
        return;
    follow_name(thread);
    row = cache_row_of_thread(thread);
    if (row)
        __sync_fetch_and_add(&row->mapped_faults, 1);
}

/* ---- the wanted page is looked up in the cache ---- */

#ifdef HAVE_FAULT_RAW
int fault_raw(struct bpf_raw_tracepoint_args *ctx)
{
    count_mapped_fault();
    return 0;
}
#endif

#ifdef HAVE_FAULT_TRACEPOINT
int fault_tracepoint(struct tracepoint__filemap__mm_filemap_fault *args)
{
    count_mapped_fault();
    return 0;
}
#endif

#ifdef HAVE_FAULT_FUNCTION
int fault_function(struct pt_regs *ctx)
{
    count_mapped_fault();
    return 0;
}
#endif

/* ---- or it is mapped along with cached pages around it; so are pages of files in memory ---- */

#ifdef HAVE_FAULT_AROUND_RAW
int fault_around_raw(struct bpf_raw_tracepoint_args *ctx)
{
    if (!is_in_memory(read_pointer(ctx->args[0] + OFFSET_ADDRESS_SPACE_HOST)))
        count_mapped_fault();
    return 0;
}
#endif

#ifdef HAVE_FAULT_AROUND_FUNCTION
/* (struct vm_fault *, pgoff_t first, pgoff_t last) */
int fault_around_function(struct pt_regs *ctx)
{
    u64 area = read_pointer(FIRST_PASSED(ctx) + OFFSET_VM_FAULT_VMA);
    u64 file = read_pointer(area + OFFSET_VM_AREA_STRUCT_VM_FILE);

    if (!is_in_memory(read_pointer(file + OFFSET_FILE_F_INODE)))
        count_mapped_fault();
    return 0;
}
#endif
