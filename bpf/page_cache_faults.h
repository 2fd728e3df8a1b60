/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_FAULTS_H
#define EBPF_SIDECAR_PAGE_CACHE_FAULTS_H

/* Accesses to mapped files, in faults: no hook reports the use of a mapped page that is already present. */
#include "page_cache_rows.h"

/* The number of the current thread's fault. The kernel counts a thread's faults when they end (since 5.9): while it
 * retries one, because it waited for the disk or could not get a lock, this stays the same. Even, and never 0. */
static __always_inline u64 current_fault(void)
{
#if defined(OFFSET_TASK_STRUCT_MIN_FLT) && defined(OFFSET_TASK_STRUCT_MAJ_FLT)
    return 2 * (1 + task_u64(OFFSET_TASK_STRUCT_MIN_FLT) + task_u64(OFFSET_TASK_STRUCT_MAJ_FLT));
#else
    return 2; /* never used: without them, faults cannot be hooked (page_cache.yaml) */
#endif
}

static __always_inline bool is_in_mapped_fault(struct thread *thread)
{
    return thread && thread->fault && (thread->fault & ~1ULL) == current_fault();
}

/* Whether the thread, which is in a fault on a file, has not added any pages in it. */
static __always_inline bool is_first_add_of_fault(struct thread *thread)
{
    bool first = !(thread->fault & 1);

    thread->fault |= 1;
    return first;
}

#endif
