/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include <asm/ptrace.h>
#include "page_cache_adds.h"
#include "page_cache_results.h"

/* ---- pages added ---- */

#ifdef HAVE_ADD_RAW
#ifdef OFFSET_FOLIO_INDEX
#define MAPPING_OF(folio) read_pointer((folio) + OFFSET_FOLIO_MAPPING)
#define INDEX_OF(folio) read_pointer((folio) + OFFSET_FOLIO_INDEX)
#else
#define MAPPING_OF(folio) read_pointer((folio) + OFFSET_PAGE_MAPPING)
#define INDEX_OF(folio) read_pointer((folio) + OFFSET_PAGE_INDEX)
#endif

int add_raw(struct bpf_raw_tracepoint_args *ctx)
{
    u64 folio = ctx->args[0];

    pages_added(MAPPING_OF(folio), INDEX_OF(folio), pages_of_folio(folio));
    return 0;
}
#endif

#ifdef HAVE_ADD_TRACEPOINT
int add_tracepoint(struct tracepoint__filemap__mm_filemap_add_to_page_cache *args)
{
#ifdef FIELD_MM_FILEMAP_ADD_TO_PAGE_CACHE_ORDER
    u64 pages = 1ULL << (args->order & 63);
#else
    u64 pages = 1; /* before 5.17 (large folios) each event is one page and the field does not exist */
#endif

    pages_added(file_of_numbers(args->i_ino, args->s_dev), args->index, pages);
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

/* ---- pages that became dirty, and whose writeback started ---- */

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

#ifdef HAVE_LOOKUP_RAW
int lookup_raw(struct bpf_raw_tracepoint_args *ctx)
{
    u64 mapping = ctx->args[0], index = ctx->args[1], last = ctx->args[2];

    bool rounded = 0;

    if (last > index) {
        rounded = smallest_order(mapping);
        last = last_page_in_file(mapping, index, last);
    }
    pages_looked_up(mapping, index, last, rounded);
    return 0;
}
#endif

#ifdef HAVE_LOOKUP_FUNCTION
/* (struct kiocb *, struct iov_iter *, ssize_t already) */
int lookup_function(struct pt_regs *ctx)
{
    u64 request = FIRST_PASSED(ctx), target = SECOND_PASSED(ctx);

    range_looked_up(request, read_pointer(request + OFFSET_KIOCB_KI_FILP), read_pointer(request + OFFSET_KIOCB_KI_POS),
                    read_pointer(target + OFFSET_IOV_ITER_COUNT));
    return 0;
}
#endif

#ifdef HAVE_SPLICE_FUNCTION
/* (struct file *, loff_t *position, struct pipe_inode_info *, size_t bytes, unsigned flags) */
int splice_function(struct pt_regs *ctx)
{
    range_looked_up(0, FIRST_PASSED(ctx), read_pointer(SECOND_PASSED(ctx)), FOURTH_PASSED(ctx));
    return 0;
}
#endif

/* ---- the shared call programs hand over here (call.c) ---- */

static __always_inline void page_cache_call_begins(struct thread *thread)
{
    thread->mapping = 0;
}

static __always_inline void hand_over_changes(struct thread *thread, struct cache_value *row)
{
    u64 filled = thread->adds[PLACE_WRITE] ? pages_filled(thread) : 0;
    u32 i;

    thread->adds[PLACE_WRITE] -= filled;
    if (filled)
        __sync_fetch_and_add(&row->adds[PLACE_FILL], filled);
    if (thread->removes)
        __sync_fetch_and_add(&row->removes, thread->removes);
    if (thread->dirtied)
        __sync_fetch_and_add(&row->dirtied, thread->dirtied);
#pragma unroll
    for (i = 0; i < 4; i++)
        if (thread->adds[i])
            __sync_fetch_and_add(&row->adds[i], thread->adds[i]);
}

static __always_inline void forget_changes(struct thread *thread)
{
    thread->misses = 0;
    thread->removes = 0;
    thread->dirtied = 0;
    thread->fetched = 0;
    __builtin_memset(thread->adds, 0, sizeof(thread->adds));
}

/* One update of the shared map per call, however many pages it moved. The thread's owner must have its generation set.
 */
static __always_inline void page_cache_hand_over(struct thread *thread, s64 result)
{
    struct cache_value *row;
    bool only_lookups;
    u64 misses = 0;

    if (!thread->counted)
        return;
    only_lookups = thread->counted == thread->lookups; /* of all pages: by far the most frequent call */
    if (thread->lookups) {
        settle_lookups(thread, result);
        misses = misses_of_call(thread);
    }
    row = cache_row((struct cache_key *)&thread->owner);
    if (row && thread->lookups)
        __sync_fetch_and_add(&row->lookups, thread->lookups);
    if (!only_lookups) {
        misses += thread->misses;
        if (misses > thread->lookups)
            misses = thread->lookups;
        if (row)
            hand_over_changes(thread, row);
        forget_changes(thread);
    }
    if (row && misses)
        __sync_fetch_and_add(&row->misses, misses);
    thread->counted = 0;
    thread->lookups = 0;
}
