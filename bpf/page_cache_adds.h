/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_ADDS_H
#define EBPF_SIDECAR_PAGE_CACHE_ADDS_H

/* Pages that are added: their owner, the cause, and whether a read may be charged for them. */
#include "page_cache_causes.h"
#include "page_cache_faults.h"
#include "page_cache_lookups.h"

/* Bytes that the current thread has read from disks so far. */
static __always_inline u64 fetched_so_far(void)
{
#if defined(OFFSET_TASK_STRUCT_IOAC) && defined(OFFSET_TASK_IO_ACCOUNTING_READ_BYTES)
    return task_u64(OFFSET_TASK_STRUCT_IOAC + OFFSET_TASK_IO_ACCOUNTING_READ_BYTES);
#else
    return 0; /* then pages read for a write cannot be distinguished from new data */
#endif
}

static __always_inline void count_add_inside(struct thread *thread, u32 place, u64 pages)
{
    if (!thread->fetched)
        thread->fetched = 1 + fetched_so_far();
    thread->counted += pages;
    thread->adds[place & 3] += pages;
}

static __always_inline u32 cause_of_add(struct thread *thread)
{
    if (is_in_mapped_fault(thread))
        return CAUSE_MMAP;
    return thread && thread->inside ? cause_of_call(&thread->call) : cause_from_registers();
}

/* Only pages read from disks may be charged. Pages that a fault or a write reads in are theirs; the next read hits
 * them. */
static __always_inline bool is_for_reads(u32 place, u64 pages)
{
    return place == PLACE_READ || (place == PLACE_OTHER && is_read_ahead(pages));
}

/* Whether a call requests so much that its end does not consider these pages: they are misses immediately. */
static __always_inline bool is_beyond(struct thread *thread, u64 file, u64 index)
{
    return thread->next_page > thread->first_page + MOST_PAGES_ASKED &&
           index >= thread->first_page + MOST_PAGES_ASKED && index < thread->next_page &&
           file_of(thread->mapping) == file;
}

/* How many of the pages are misses immediately, because the thread had requested them before; ``*index``: the first. */
static __always_inline u64 asked_for_before(struct thread *thread, u64 file, u64 *index, u64 end)
{
    if (!thread || !thread->inside)
        return pages_expected(file, index, end);
    return thread->mapping && is_beyond(thread, file, *index) ? end - *index : 0;
}

static __always_inline void count_add_at_once(u32 place, u64 pages, u64 misses, bool first_of_fault)
{
    struct cache_value *row = cache_row_of_current();

    if (!row)
        return;
    if (pages)
        __sync_fetch_and_add(&row->adds[place & 3], pages);
    if (misses)
        __sync_fetch_and_add(&row->misses, misses);
    if (first_of_fault)
        __sync_fetch_and_add(&row->mapped_misses, 1);
}

static __always_inline void count_add(struct thread *thread, u32 place, u64 pages, u64 misses)
{
    bool first_of_fault = is_in_mapped_fault(thread) && is_first_add_of_fault(thread);

    if (thread && thread->inside) {
        count_add_inside(thread, place, pages);
        thread->misses += misses;
        if (!first_of_fault)
            return;
        pages = misses = 0;
    }
    count_add_at_once(place, pages, misses, first_of_fault);
}

/* The pages are marked at the very end: the verifier follows the loops again for every state needed after them. Only a
 * part of a large folio may have been requested. */
static __always_inline void pages_added(u64 file, u64 index, u64 pages)
{
    struct thread *thread = current_thread();
    bool left_out = thread_is_left_out(thread), for_reads;
    u32 cause = cause_of_add(thread), place;
    u64 asked = index, misses;

    if (is_huge_page(cause, pages))
        return;
    place = place_of_add(cause, pages);
    for_reads = !left_out && is_for_reads(place, pages);
    misses = for_reads ? asked_for_before(thread, file, &asked, index + pages) : 0;
    if (!left_out)
        count_add(thread, place, pages, misses);
    pages_came(file, index, pages, for_reads && misses < pages);
    if (misses && misses < pages)
        pages_came(file, asked, misses, 0);
}

/* How many of the pages that a call added for a write were read from disks: what the thread has read since the first
 * page was added, except for pages with other causes. */
static __always_inline u64 pages_filled(struct thread *thread)
{
    u64 written = thread->adds[PLACE_WRITE], others;
    u64 fetched = (1 + fetched_so_far() - thread->fetched + PAGE_BYTES - 1) / PAGE_BYTES;

    others = thread->adds[PLACE_READ] + thread->adds[PLACE_MMAP] + thread->adds[PLACE_OTHER];
    if (fetched <= others)
        return 0;
    return fetched - others < written ? fetched - others : written;
}

#endif
