/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_LOOKUPS_H
#define EBPF_SIDECAR_PAGE_CACHE_LOOKUPS_H

/* Which pages are looked up: each once per call, however often the kernel reports it. */
#include "lru.h"
#include "page_cache_files.h"
#include "page_cache_read_ahead.h"
#include "page_cache_rows.h"

/* The event fires once per batch of folios and gives the whole rest of the range each time, so only pages beyond the
 * last count are new. */
static __always_inline void pages_looked_up_inside(struct thread *thread, u64 mapping, u64 index, u64 last)
{
    u64 first = index;

    if (thread->mapping == mapping && thread->next_page > index)
        first = thread->next_page;
    if (thread->mapping != mapping)
        thread->first_page = index;
    thread->mapping = mapping;
    thread->next_page = last + 1;
    if (last + 1 > first) {
        thread->counted += last + 1 - first;
        thread->lookups += last + 1 - first;
    }
}

static __always_inline bool is_inside_one_call(struct thread *thread)
{
    return thread && thread->inside && thread->call.cause &&
           thread->call.cause != CAUSE_RING; /* which has no position */
}

/* Requests outside of followed calls are accounted immediately. A repeated request, with the rest of a range, is
 * charged for what was read in meanwhile, but not counted again. */
static __always_inline void count_outside(u64 mapping, u64 index, u64 last, bool is_new)
{
    u64 misses = pages_charged(file_of(mapping), index, last + 1);
    struct cache_value *row;

    if (!is_new && !misses)
        return;
    row = cache_row_of_current();
    if (!row)
        return;
    if (is_new)
        __sync_fetch_and_add(&row->lookups, last + 1 - index);
    __sync_fetch_and_add(&row->misses, misses);
}

/* The progress through a range outside of followed calls (exec reading a file, io_uring). Several may be active at
 * once, so the range is part of the key. No event marks the end: LRU, and entries older than a second are finished. */
struct range {
    u64 mapping;
    u64 last;
    u64 who; /* the thread; the request, if that can be seen */
};
struct progress {
    u64 index; /* of the thread; for a request 1: it waits for notification that a page is present */
    u64 time;
};
BPF_F_TABLE("lru_hash", struct range, struct progress, ranges, RANGES_ENTRIES, LRU_FLAGS(RANGES_ENTRIES));
#define RANGE_NS 1000000000

static __always_inline void pages_looked_up_outside(u64 mapping, u64 index, u64 last)
{
    struct range range = {.mapping = mapping, .last = last, .who = (u32)bpf_get_current_pid_tgid()};
    struct progress now = {.index = index, .time = bpf_ktime_get_ns()}, *before = ranges.lookup(&range);
    bool goes_on = before && before->index < index && now.time - before->time < RANGE_NS;

    ranges.update(&range, &now);
    count_outside(mapping, index, last, !goes_on);
}

#if defined(HAVE_LOOKUP_FUNCTION) || defined(HAVE_SPLICE_FUNCTION)
/* Functions are probed at entry: pages that they read in are added right after. So this is each thread's last request
 * outside of followed calls. It is not in the thread's state: io_uring workers and kernel threads have none. Threads
 * whose ids end in the same bits share a place, which the last one owns. */
struct expected {
    u64 tid;
    u64 mapping;
    u64 first_page;
    u64 next_page;
};
BPF_F_TABLE("array", u32, struct expected, expected_pages, EXPECTED_PAGES_ENTRIES, NEAR_FLAGS);

static __always_inline struct expected *place_of_expected(u32 tid)
{
    u32 place = tid & (EXPECTED_PAGES_ENTRIES - 1);

    return expected_pages.lookup(&place);
}

static __always_inline void expect_pages(u64 mapping, u64 index, u64 last)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct expected *expected = place_of_expected(tid);

    if (!expected)
        return;
    expected->tid = tid;
    expected->mapping = mapping;
    expected->first_page = index;
    expected->next_page = last + 1;
}

/* How many of the pages from ``*index`` up to end the current thread had requested; ``*index``: the first of them. */
static __always_inline u64 pages_expected(u64 file, u64 *index, u64 end)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct expected *expected = place_of_expected(tid);

    if (!expected || expected->tid != tid || end <= expected->first_page || *index >= expected->next_page ||
        file_of(expected->mapping) != file)
        return 0;
    if (*index < expected->first_page)
        *index = expected->first_page;
    return (end < expected->next_page ? end : expected->next_page) - *index;
}
#else
#define expect_pages(mapping, index, last)
#define pages_expected(file, index, end) 0
#endif

/* ``rounded``: the range may end after the requested pages. */
static __always_inline void pages_looked_up(u64 mapping, u64 index, u64 last, bool rounded)
{
    struct thread *thread = current_thread();

    if (thread_is_left_out(thread))
        return;
    if (is_inside_one_call(thread)) {
        pages_looked_up_inside(thread, mapping, index, last);
        if (rounded)
            thread->rounded = 1;
    } else {
        expect_pages(mapping, index, last);
        pages_looked_up_outside(mapping, index, last);
    }
}

#ifdef HAVE_LOOKUP_FUNCTION
#define IOCB_NOWAIT (1 << 3)
#define IOCB_WAITQ (1 << 19)

/* io_uring first reads without waiting; then asks for notification when a page is present; when notified, it reads
 * without waiting again. If that fails, a worker reads and waits. All of these are one request, with the rest of its
 * range. */
static __always_inline bool was_looked_up(u64 request, u64 mapping, u64 last)
{
    u32 flags = read_u32(request + OFFSET_KIOCB_KI_FLAGS);
    struct range range = {.mapping = mapping, .last = last, .who = request};
    struct progress now = {.index = !!(flags & IOCB_WAITQ), .time = bpf_ktime_get_ns()};
    struct progress *before = ranges.lookup(&range);
    bool follows = before && now.time - before->time < RANGE_NS && (before->index || !(flags & IOCB_NOWAIT));

    if (flags & (IOCB_NOWAIT | IOCB_WAITQ))
        ranges.update(&range, &now);
    else if (before)
        ranges.delete(&range);
    return follows || now.index;
}

static __always_inline void pages_looked_up_for(u64 request, u64 mapping, u64 index, u64 last)
{
    struct thread *thread = current_thread();

    if (thread_is_left_out(thread))
        return;
    if (is_inside_one_call(thread)) {
        pages_looked_up_inside(thread, mapping, index, last);
        return;
    }
    expect_pages(mapping, index, last);
    count_outside(mapping, index, last, !was_looked_up(request, mapping, last));
}
#endif

#if defined(HAVE_LOOKUP_RAW) || defined(HAVE_LOOKUP_FUNCTION) || defined(HAVE_SPLICE_FUNCTION)
static __always_inline u64 size_of_file(u64 mapping)
{
    u64 inode = read_pointer(mapping + OFFSET_ADDRESS_SPACE_HOST);

    return read_pointer(inode + OFFSET_INODE_I_SIZE);
}
#endif

#ifdef HAVE_LOOKUP_RAW
/* A read of 1 MiB from a 4 KiB file requests 256 pages and touches one: pages after the end of the file are not looked
 * up. */
static __always_inline u64 last_page_in_file(u64 mapping, u64 index, u64 last)
{
    u64 size = size_of_file(mapping);
    u64 end = size ? (size - 1) / PAGE_BYTES : 0;

    if (last <= end)
        return last;
    return end > index ? end : index;
}
#endif

#if defined(HAVE_LOOKUP_FUNCTION) || defined(HAVE_SPLICE_FUNCTION)
/* Called once per read with the requested range; the end of the file bounds what is looked up. This does not wait for
 * the call's result: a probe at the return loses events when many threads wait for the disk at once. ``request``: 0 if
 * it cannot be seen. */
static __always_inline void range_looked_up(u64 request, u64 file, u64 position, u64 bytes)
{
    u64 mapping = read_pointer(file + OFFSET_FILE_F_MAPPING);
    u64 size = size_of_file(mapping), index = position / PAGE_BYTES;

    if (!bytes || position >= size)
        return;
    if (bytes > size - position)
        bytes = size - position;
#ifdef HAVE_LOOKUP_FUNCTION
    if (request) {
        pages_looked_up_for(request, mapping, index, (position + bytes - 1) / PAGE_BYTES);
        return;
    }
#endif
    pages_looked_up(mapping, index, (position + bytes - 1) / PAGE_BYTES, 0);
}
#endif

#endif
