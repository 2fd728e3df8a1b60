/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include <asm/ptrace.h>
#include "near.h"
#include "thread.h"

struct cache_key {
    struct owner owner;
};

struct cache_value {
    u64 lookups;
    u64 adds[4]; /* by cause: read, write, mmap, other */
    u64 removes;
    u64 dirtied;
    u64 written_back;
};
BPF_F_TABLE("hash", struct cache_key, struct cache_value, cache_stats, CACHE_STATS_ENTRIES, MAP_FLAGS);

/* Out of the common path, so that this does not pay for clearing a value that exists already. */
static __always_inline struct cache_value *new_cache_row(struct cache_key *key)
{
    struct cache_value zero = {}, *row;

    row = cache_stats.lookup_or_try_init(key, &zero);
    if (!row)
        count_drop(DROPPED_CACHE_STATS);
    return row;
}

struct near_cache {
    u64 key[4];
    u64 claims;
    struct cache_value value;
};
BPF_F_TABLE("array", u32, struct near_cache, near_cache_stats, NEAR_CACHE_STATS_ENTRIES, NEAR_FLAGS);

static __always_inline struct cache_value *far_cache_row(struct cache_key *key)
{
    struct cache_value *row = cache_stats.lookup(key);

    return row ? row : new_cache_row(key);
}

static __always_inline struct cache_value *cache_row(struct cache_key *key)
{
    u32 place = place_of_row((u64 *)key, 4, NEAR_CACHE_STATS_ENTRIES);
    struct near_cache *near = near_cache_stats.lookup(&place);

    if (near && (is_place_of(near->key, (u64 *)key, 4) || take_place(near->key, &near->claims, (u64 *)key, 4)))
        return &near->value;
    return far_cache_row(key);
}

static __always_inline struct cache_value *cache_row_of_current(void)
{
    struct cache_key key = {};

    find_owner(&key.owner);
    if (is_left_out(&key.owner))
        return NULL;
    key.owner.generation = current_generation();
    return cache_row(&key);
}

/* ---- pages added ---- */

#define PF_IO_WORKER 0x10 /* since 5.12; before, io_uring's workers are kernel threads like others */
/* Set while the kernel reads ahead: page_cache_ra_unbounded() since 5.8, page_cache_ra_order() since 6.9. */
#define PF_MEMALLOC_NOFS 0x00040000

static __always_inline u32 task_flags(void)
{
    return read_u32(bpf_get_current_task() + OFFSET_TASK_STRUCT_FLAGS);
}

/* Cause for a thread that is in no followed call. The registers saved on entry tell: an exception (page fault) has no
 * call number; kernel threads and io_uring's have no user instruction pointer. */
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
    call = calls.lookup(&number);
    return call && call->cause ? call->cause : CAUSE_OTHER;
}

/* Copying calls and io_uring both read and write: pages come in by reading ahead, or for new data. */
static __always_inline bool is_read_ahead(u64 pages)
{
#if RELEASE < 606
    if (pages > 1) /* new data came in single pages, and not all that read large folios ahead set the flag */
        return 1;
#endif
    return task_flags() & PF_MEMALLOC_NOFS;
}

/* Pages of hugetlbfs are memory of programs: nothing is brought in from anywhere. Before 6.9 some files of large folios
 * look alike. */
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

static __always_inline void pages_added(u64 pages)
{
    struct thread *thread = current_thread();
    bool inside = thread && thread->inside;
    struct cache_value *row;
    u32 cause;

    if (thread_is_left_out(thread))
        return;
    cause = inside ? thread->call.cause : cause_from_registers();
    if (is_huge_page(cause, pages))
        return;
    cause = place_of_add(cause, pages);
    if (inside) {
        thread->counted += pages;
        thread->adds[cause] += pages;
        return;
    }
    row = cache_row_of_current();
    if (row)
        __sync_fetch_and_add(&row->adds[cause], pages);
}

#ifdef HAVE_ADD_TRACEPOINT
int add_tracepoint(struct tracepoint__filemap__mm_filemap_add_to_page_cache *args)
{
#ifdef FIELD_MM_FILEMAP_ADD_TO_PAGE_CACHE_ORDER
    pages_added(1ULL << (args->order & 63));
#else
    /* Before 5.17 (large folios) each event is one page and the field does not exist. */
    pages_added(1);
#endif
    return 0;
}
#endif

/* ---- pages removed ---- */

static __always_inline void pages_removed(u64 pages)
{
    struct thread *thread = current_thread();
    struct cache_value *row;

    if (thread_is_left_out(thread))
        return;
    if (thread && thread->inside) {
        thread->counted += pages;
        thread->removes += pages;
        return;
    }
    row = cache_row_of_current();
    if (row)
        __sync_fetch_and_add(&row->removes, pages);
}

#ifdef HAVE_REMOVE_TRACEPOINT
int remove_tracepoint(struct tracepoint__filemap__mm_filemap_delete_from_page_cache *args)
{
#ifdef FIELD_MM_FILEMAP_DELETE_FROM_PAGE_CACHE_ORDER
    pages_removed(1ULL << (args->order & 63));
#else
    pages_removed(1);
#endif
    return 0;
}
#endif

/* ---- pages that became dirty, and whose way to disk began ---- */

static __always_inline u64 pages_of_folio(u64 folio)
{
#ifdef ENUM_PG_HEAD
    if (!(read_pointer(folio + OFFSET_FOLIO_FLAGS) >> ENUM_PG_HEAD & 1))
        return 1;
#endif
#if defined(OFFSET_FOLIO_NR_PAGES)
    return read_u32(folio + OFFSET_FOLIO_NR_PAGES);
#elif defined(OFFSET_FOLIO_FOLIO_NR_PAGES)
    return read_u32(folio + OFFSET_FOLIO_FOLIO_NR_PAGES);
#else
    return 1; /* before 5.16 what becomes dirty is a page */
#endif
}

static __always_inline void pages_dirtied(u64 pages)
{
    struct thread *thread = current_thread();
    struct cache_value *row;

    if (thread_is_left_out(thread))
        return;
    if (thread && thread->inside) {
        thread->counted += pages;
        thread->dirtied += pages;
        return;
    }
    row = cache_row_of_current();
    if (row)
        __sync_fetch_and_add(&row->dirtied, pages);
}

#ifdef HAVE_DIRTY_RAW
int dirty_raw(struct bpf_raw_tracepoint_args *ctx)
{
    pages_dirtied(pages_of_folio(ctx->args[0]));
    return 0;
}
#endif

#ifdef HAVE_DIRTY_FUNCTION
/* (struct folio *, struct address_space *, int warn) */
int dirty_function(struct pt_regs *ctx)
{
    pages_dirtied(pages_of_folio(FIRST_PASSED(ctx)));
    return 0;
}
#endif

static __always_inline void pages_written_back(u64 pages)
{
    struct thread *thread = current_thread();
    struct cache_value *row;

    if (thread_is_left_out(thread))
        return;
    row = cache_row_of_current();
    if (row)
        __sync_fetch_and_add(&row->written_back, pages);
}

#ifdef HAVE_WRITE_BACK_FUNCTION
/* (struct folio *, bool keep_write); before 5.16 (struct page *, bool keep_write) */
int write_back_function(struct pt_regs *ctx)
{
    pages_written_back(pages_of_folio(FIRST_PASSED(ctx)));
    return 0;
}
#endif

#ifdef HAVE_KFUNC____FOLIO_START_WRITEBACK
int kfunc____folio_start_writeback(u64 *passed)
{
    pages_written_back(pages_of_folio(passed[0]));
    return 0;
}
#endif

/* ---- pages looked up ---- */

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

int lookup_raw(struct bpf_raw_tracepoint_args *ctx)
{
    u64 mapping = ctx->args[0], index = ctx->args[1], last = ctx->args[2];

    if (last > index)
        last = last_page_in_file(mapping, index, last);
    pages_looked_up(mapping, index, last);
    return 0;
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

#ifdef HAVE_LOOKUP_FUNCTION
/* (struct kiocb *, struct iov_iter *, ssize_t already) */
int lookup_function(struct pt_regs *ctx)
{
    u64 request = FIRST_PASSED(ctx), target = SECOND_PASSED(ctx);

    range_looked_up(read_pointer(request + OFFSET_KIOCB_KI_FILP), read_pointer(request + OFFSET_KIOCB_KI_POS),
                    read_pointer(target + OFFSET_IOV_ITER_COUNT));
    return 0;
}
#endif

#ifdef HAVE_SPLICE_FUNCTION
/* (struct file *, loff_t *position, struct pipe_inode_info *, size_t bytes, unsigned flags) */
int splice_function(struct pt_regs *ctx)
{
    range_looked_up(FIRST_PASSED(ctx), read_pointer(SECOND_PASSED(ctx)), FOURTH_PASSED(ctx));
    return 0;
}
#endif

/* ---- the shared call programs hand over here (call.c) ---- */

static __always_inline void page_cache_call_begins(struct thread *thread)
{
    thread->mapping = 0;
}

/* Where a read waits for the end of a read-ahead, the kernel (6.12 and newer) gives out the pages before it without
 * telling. What the call returned says how many pages it was at least. */
static __always_inline void count_untold_lookups(struct thread *thread, s64 result)
{
    u64 least = ((u64)result + PAGE_BYTES - 1) / PAGE_BYTES;

    if (result > 0 && thread->lookups && thread->lookups < least)
        thread->lookups = least;
}

/* One visit of the shared map per call, however many pages it moved. The thread's owner must have its generation set.
 */
static __always_inline void page_cache_hand_over(struct thread *thread, s64 result)
{
    struct cache_value *row;
    bool only_lookups;
    u32 i;

    if (!thread->counted)
        return;
    only_lookups = thread->counted == thread->lookups; /* before lookups are added that counted does not hold */
    if (thread->call.cause != CAUSE_RING)
        count_untold_lookups(thread, result);
    row = cache_row((struct cache_key *)&thread->owner);
    if (only_lookups) { /* all pages were there: by far the most frequent call */
        if (row)
            __sync_fetch_and_add(&row->lookups, thread->lookups);
        thread->counted = 0;
        thread->lookups = 0;
        return;
    }
    if (row) {
        if (thread->lookups)
            __sync_fetch_and_add(&row->lookups, thread->lookups);
        if (thread->removes)
            __sync_fetch_and_add(&row->removes, thread->removes);
        if (thread->dirtied)
            __sync_fetch_and_add(&row->dirtied, thread->dirtied);
#pragma unroll
        for (i = 0; i < 4; i++)
            if (thread->adds[i])
                __sync_fetch_and_add(&row->adds[i], thread->adds[i]);
    }
    thread->counted = 0;
    thread->lookups = 0;
    thread->removes = 0;
    thread->dirtied = 0;
    __builtin_memset(thread->adds, 0, sizeof(thread->adds));
}
