/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_LOOKUPS_H
#define EBPF_SIDECAR_PAGE_CACHE_LOOKUPS_H

/* Which pages are looked up: each once for each call, however often the kernel tells of it. */
#include "lru.h"
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

static __always_inline bool is_inside_one_call(struct thread *thread)
{
    return thread && thread->inside && thread->call.cause && thread->call.cause != CAUSE_RING;
}

static __always_inline void count_lookups_outside(u64 pages)
{
    struct cache_value *row = cache_row_of_current();

    if (row)
        __sync_fetch_and_add(&row->lookups, pages);
}

/* How far what is outside followed calls (exec reading a file, io_uring) has come with a range. Several may be in work
 * at once, so the range is part of the key. Nobody tells when one ends: LRU, and what is a second old is over. */
struct range {
    u64 mapping;
    u64 last;
    u64 who; /* the thread; the request, where that can be seen */
};
struct progress {
    u64 index; /* of the thread; of a request 1: it waits to be told that a page is there */
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
    if (!goes_on)
        count_lookups_outside(last + 1 - index);
}

static __always_inline void pages_looked_up(u64 mapping, u64 index, u64 last)
{
    struct thread *thread = current_thread();

    if (thread_is_left_out(thread))
        return;
    if (is_inside_one_call(thread))
        pages_looked_up_inside(thread, mapping, index, last);
    else
        pages_looked_up_outside(mapping, index, last);
}

#ifdef HAVE_LOOKUP_FUNCTION
#define IOCB_NOWAIT (1 << 3)
#define IOCB_WAITQ (1 << 19)

/* io_uring asks without waiting; then to be told when a page is there; when it is told, without waiting again. Where
 * that does not help a worker asks, and waits. All that is one request, with what is left of its range. */
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
    if (is_inside_one_call(thread))
        pages_looked_up_inside(thread, mapping, index, last);
    else if (!was_looked_up(request, mapping, last))
        count_lookups_outside(last + 1 - index);
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
 * return is not waited for: a probe at the return loses events when many threads wait for the disk at once.
 * ``request``: 0 where it cannot be seen. */
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
    pages_looked_up(mapping, index, (position + bytes - 1) / PAGE_BYTES);
}
#endif

/* ---- what only the result of a call tells ---- */

#define EAGAIN 11

/* A read looks up less than it was asked for where it may not wait (RWF_NOWAIT), or where the file is cut off then. */
static __always_inline void drop_pages_not_there(struct thread *thread, s64 result)
{
    u64 most = result > 0 ? (result + PAGE_BYTES - 2) / PAGE_BYTES + 1 : 0;

    if ((result > 0 || result == -EAGAIN) && thread->lookups > most) {
        thread->counted -= thread->lookups - most;
        thread->lookups = most;
    }
}

#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
#define O_DIRECT 0x10000
#else
#define O_DIRECT 0x4000
#endif

static __always_inline bool is_direct(u32 descriptor)
{
#if defined(OFFSET_TASK_STRUCT_FILES) && defined(OFFSET_FILES_STRUCT_FDT) && defined(OFFSET_FDTABLE_FD) && \
    defined(OFFSET_FDTABLE_MAX_FDS) && defined(OFFSET_FILE_F_FLAGS)
    u64 file = file_of_descriptor(descriptor);

    return file && read_u32(file + OFFSET_FILE_F_FLAGS) & O_DIRECT;
#else
    return 0;
#endif
}

/* Where a read waits for the end of a read-ahead, the kernel (6.12 and newer) gives out the pages before it without
 * telling; where functions are probed, a file may have grown since. What the call returned says how many pages it was
 * at least, unless part of it came past the cache: some file systems (btrfs) read only the compressed rest of a direct
 * read through it. */
static __always_inline void count_untold_lookups(struct thread *thread, s64 result)
{
    u64 least = ((u64)result + PAGE_BYTES - 1) / PAGE_BYTES, registers;

    if (result <= 0 || !thread->lookups || thread->lookups >= least)
        return;
    registers = registers_of_current();
    if (!is_direct(FIRST_ARGUMENT(registers)) && !is_direct(SECOND_ARGUMENT(registers))) /* sendfile's is the second */
        thread->lookups = least;
}

#endif
