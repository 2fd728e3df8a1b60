/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_LOOKUPS_H
#define EBPF_SIDECAR_PAGE_CACHE_LOOKUPS_H

/* Which pages are looked up: each once for each call, however often the kernel tells of it. */
#include "page_cache_rows.h"

/* The kernel fires once per batch of folios and names the whole rest of the range each time, so only what lies beyond
 * the last count is new. */
static __always_inline void pages_looked_up_inside(struct thread *thread, u64 mapping, u64 index, u64 last)
{
    u64 first = index;

    if (thread->mapping == mapping && thread->next_page > index)
        first = thread->next_page;
    thread->mapping = mapping;
    thread->next_page = last + 1;
    if (last + 1 > first) {
        thread->counted += last + 1 - first;
        thread->lookups += last + 1 - first;
    }
}

/* How far threads outside followed calls (exec reading a file, io_uring) have come with a range. Several may be in work
 * at once, so the range is part of the key. Nobody tells when one ends: LRU, and what is a second old is over. */
struct range {
    u64 mapping;
    u64 last;
    u64 tid;
};
struct progress {
    u64 index;
    u64 time;
};
BPF_TABLE("lru_hash", struct range, struct progress, ranges, RANGES_ENTRIES);
#define RANGE_NS 1000000000

static __always_inline void pages_looked_up_outside(u64 mapping, u64 index, u64 last)
{
    struct range range = {.mapping = mapping, .last = last, .tid = (u32)bpf_get_current_pid_tgid()};
    struct progress now = {.index = index, .time = bpf_ktime_get_ns()}, *before = ranges.lookup(&range);
    bool goes_on = before && before->index < index && now.time - before->time < RANGE_NS;
    struct cache_value *row;

    ranges.update(&range, &now);
    if (goes_on)
        return;
    row = cache_row_of_current();
    if (row)
        __sync_fetch_and_add(&row->lookups, last + 1 - index);
}

static __always_inline void pages_looked_up(u64 mapping, u64 index, u64 last)
{
    struct thread *thread = current_thread();

    if (thread_is_left_out(thread))
        return;
    if (thread && thread->inside && thread->call.cause && thread->call.cause != CAUSE_RING)
        pages_looked_up_inside(thread, mapping, index, last);
    else
        pages_looked_up_outside(mapping, index, last);
}

#if defined(HAVE_LOOKUP_RAW) || defined(HAVE_LOOKUP_FUNCTION) || defined(HAVE_SPLICE_FUNCTION)
static __always_inline u64 size_of_file(u64 mapping)
{
    u64 inode = read_pointer(mapping + OFFSET_ADDRESS_SPACE_HOST);

    return read_pointer(inode + OFFSET_INODE_I_SIZE);
}
#endif

#ifdef HAVE_LOOKUP_RAW
/* A read of 1 MiB of a 4 KiB file asks for 256 pages and touches one: what lies behind the end of the file is not
 * looked up. */
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
/* Called once for each read, with what is asked for; the end of the file bounds what is looked up. What the call will
 * return is not waited for: a probe at the return loses events when many threads wait for the disk at once. */
static __always_inline void range_looked_up(u64 file, u64 position, u64 bytes)
{
    u64 mapping = read_pointer(file + OFFSET_FILE_F_MAPPING);
    u64 size = size_of_file(mapping);

    if (!bytes || position >= size)
        return;
    if (bytes > size - position)
        bytes = size - position;
    pages_looked_up(mapping, position / PAGE_BYTES, (position + bytes - 1) / PAGE_BYTES);
}
#endif

#endif
