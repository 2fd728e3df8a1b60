/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_CAUSES_H
#define EBPF_SIDECAR_PAGE_CACHE_CAUSES_H

/* Why a page is added to the cache. */
#include <asm/ptrace.h>
#include "page_cache_rows.h"

#define PF_IO_WORKER 0x10 /* since 5.12; before, io_uring's workers are ordinary kernel threads */
/* Set while the kernel reads ahead: page_cache_ra_unbounded() since 5.8, page_cache_ra_order() since 6.9. */
#define PF_MEMALLOC_NOFS 0x00040000

static __always_inline u32 task_flags(void)
{
#ifdef OFFSET_TASK_STRUCT_FLAGS
    return read_u32(bpf_get_current_task() + OFFSET_TASK_STRUCT_FLAGS);
#else
    return 0; /* never used: without them, added pages cannot be hooked (page_cache.yaml) */
#endif
}

/* The cause for a thread that is in no followed call, from the registers saved on entry: an exception (page fault) has
 * no call number; kernel threads and io_uring's have no user instruction pointer. */
static __always_inline u32 cause_from_registers(void)
{
    u64 registers = registers_of_current();
    struct call *call;
    u32 number;

    if (!USER_ADDRESS(registers))
        return task_flags() & PF_IO_WORKER ? CAUSE_RING : CAUSE_OTHER;
    number = CALL_NUMBER(registers);
    if ((s32)number < 0)
        return CAUSE_MMAP;
    if (is_compat_call(IS_32_BIT(registers)))
        return CAUSE_OTHER; /* the number means another call */
    call = calls.lookup(&number);
    return call && call->cause ? cause_of_call(call) : CAUSE_OTHER;
}

/* Copying calls and io_uring both read and write: pages are added by read-ahead, or for new data. */
static __always_inline bool is_read_ahead(u64 pages)
{
#if RELEASE < 606
    if (pages > 1) /* new data came in single pages, and not all read-ahead of large folios set the flag */
        return 1;
#endif
    return task_flags() & PF_MEMALLOC_NOFS;
}

/* Pages of hugetlbfs are program memory: nothing is read in. Before 6.9 some files with large folios look the same. */
static __always_inline bool is_huge_page(u32 cause, u64 pages)
{
#if RELEASE >= 609
    return cause == CAUSE_MMAP && pages > 1 && !is_read_ahead(pages);
#else
    return 0;
#endif
}

static __always_inline u32 place_of_add(u32 cause, u64 pages)
{
    if (cause >= CAUSE_EITHER)
        cause = is_read_ahead(pages) ? CAUSE_READ : CAUSE_WRITE;
    return ((cause ? cause : CAUSE_OTHER) - 1) & 3;
}

#endif
