/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include <asm/ptrace.h>
#include "page_cache_rows.h"
#include "page_cache_causes.h"
#include "page_cache_lookups.h"

/* ---- pages added ---- */

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

#ifdef HAVE_LOOKUP_RAW
int lookup_raw(struct bpf_raw_tracepoint_args *ctx)
{
    u64 mapping = ctx->args[0], index = ctx->args[1], last = ctx->args[2];

    if (last > index)
        last = last_page_in_file(mapping, index, last);
    pages_looked_up(mapping, index, last);
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

/* One visit of the shared map per call, however many pages it moved. The thread's owner must have its generation set.
 */
static __always_inline void page_cache_hand_over(struct thread *thread, s64 result)
{
    struct cache_value *row;
    bool only_lookups;
    u32 i;

    if (!thread->counted)
        return;
    if (thread->call.cause == CAUSE_READ)
        drop_pages_not_there(thread, result);
    only_lookups = thread->counted == thread->lookups; /* before lookups are added that counted does not hold */
    if (thread->call.cause == CAUSE_READ || thread->call.cause == CAUSE_EITHER)
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
