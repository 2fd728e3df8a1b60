/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include <asm/ptrace.h>
#include "histogram.h"
#include "lru.h"
#include "memory_rare.h"
#include "owner.h"

enum reclaimer { RECLAIMER_KSWAPD, RECLAIMER_DIRECT, RECLAIMER_MEMCG };

struct reclaim_key {
    struct owner owner;
    u64 reclaimer;
};

struct reclaim_value {
    u64 scanned;
    u64 reclaimed;
    u64 duration[RECLAIM_SLOTS];
    u64 duration_sum;
};
BPF_F_TABLE("hash", struct reclaim_key, struct reclaim_value, reclaim_stats, RECLAIM_STATS_ENTRIES, MAP_FLAGS);

/* All zero: new rows are copied from here, so that they need not be built on the stack. */
BPF_ARRAY(blank_reclaim, struct reclaim_value, 1);

/* One entry per process that had to reclaim. LRU: processes that have ended need no entry. */
struct stalled_key {
    struct owner owner;
    u64 process;
};

struct stalled_value {
    u64 seen; /* at the start and at the end of a stall, so that one that spans two readings counts in both */
};
BPF_F_TABLE("lru_hash", struct stalled_key, struct stalled_value, stalled_processes, STALLED_PROCESSES_ENTRIES,
            LRU_FLAGS(STALLED_PROCESSES_ENTRIES));

/* A thread that is reclaiming now. It cannot end meanwhile. */
struct stall {
    u64 began;
    u64 reclaimer;
};
BPF_F_TABLE("hash", u32, struct stall, stalls, STALLS_ENTRIES, MAP_FLAGS);

static __always_inline struct reclaim_value *reclaim_row(struct reclaim_key *key)
{
    struct reclaim_value *blank, *row;
    u32 zero = 0;

    if (is_left_out(&key->owner))
        return NULL;
    key->owner.generation = current_generation();
    blank = blank_reclaim.lookup(&zero);
    if (!blank)
        return NULL;
    row = reclaim_stats.lookup_or_try_init(key, blank);
    if (!row)
        count_drop(DROPPED_RECLAIM_STATS);
    return row;
}

/* ---- stalls ---- */

static __always_inline void process_seen(struct owner *owner)
{
    struct stalled_key key = {.owner = *owner, .process = bpf_get_current_pid_tgid() >> 32};
    struct stalled_value zero = {}, *row;

    if (is_left_out(owner))
        return;
    key.owner.generation = current_generation();
    row = stalled_processes.lookup_or_try_init(&key, &zero);
    if (row)
        __sync_fetch_and_add(&row->seen, 1);
    else
        count_drop(DROPPED_STALLED_PROCESSES);
}

static __always_inline void reclaim_begins(u64 reclaimer)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct stall stall = {.reclaimer = reclaimer};
    struct owner owner = {};

    owner_of_current(&owner);
    process_seen(&owner);
    stall.began = bpf_ktime_get_ns(); /* last: our own work is not part of the process's stall */
    if (stalls.update(&tid, &stall))
        count_drop(DROPPED_STALLS);
}

static __always_inline void reclaim_ends(void)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct stall *stall = stalls.lookup(&tid);
    struct reclaim_key key = {};
    struct reclaim_value *row;
    u64 duration;

    if (!stall)
        return;
    duration = bpf_ktime_get_ns() - stall->began;
    key.reclaimer = stall->reclaimer;
    stalls.delete(&tid);
    owner_of_current(&key.owner);
    process_seen(&key.owner);
    row = reclaim_row(&key);
    if (!row)
        return;
    __sync_fetch_and_add(&row->duration[histogram_slot(duration, RECLAIM_LOWEST, RECLAIM_SLOTS)], 1);
    __sync_fetch_and_add(&row->duration_sum, duration);
}

#ifdef HAVE_DIRECT_RECLAIM_BEGINS
int direct_reclaim_begins(struct tracepoint__vmscan__mm_vmscan_direct_reclaim_begin *args)
{
    reclaim_begins(RECLAIMER_DIRECT);
    return 0;
}
#endif

#ifdef HAVE_DIRECT_RECLAIM_ENDS
int direct_reclaim_ends(struct tracepoint__vmscan__mm_vmscan_direct_reclaim_end *args)
{
    reclaim_ends();
    return 0;
}
#endif

#ifdef HAVE_MEMCG_RECLAIM_BEGINS
int memcg_reclaim_begins(struct tracepoint__vmscan__mm_vmscan_memcg_reclaim_begin *args)
{
    reclaim_begins(RECLAIMER_MEMCG);
    return 0;
}
#endif

#ifdef HAVE_MEMCG_RECLAIM_ENDS
int memcg_reclaim_ends(struct tracepoint__vmscan__mm_vmscan_memcg_reclaim_end *args)
{
    reclaim_ends();
    return 0;
}
#endif

/* ---- pages ---- */

/* The event does not say who reclaims: a thread that stalls, kswapd, or (zone reclaim on NUMA machines) a thread that
 * allocates, which the kernel's own counters also call direct. */
static __always_inline u64 reclaimer_of_current(struct owner *owner)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct stall *stall = stalls.lookup(&tid);
    u64 name = *(u64 *)owner->comm & 0xffffffffffffULL;

    if (stall)
        return stall->reclaimer;
    return name == 0x64706177736bULL /* "kswapd" */ ? RECLAIMER_KSWAPD : RECLAIMER_DIRECT;
}

/* Entry 0: whether pages are counted as scanned when they are isolated from their list, not when they are reclaimed. */
BPF_ARRAY(counted_when_taken, u64, 1);

static __always_inline u64 *counting_when_taken(void)
{
    u32 zero = 0;

    return counted_when_taken.lookup(&zero);
}

static __always_inline struct reclaim_value *row_of_reclaimer(void)
{
    struct reclaim_key key = {};

    owner_of_current(&key.owner);
    key.reclaimer = reclaimer_of_current(&key.owner);
    return reclaim_row(&key);
}

#ifdef HAVE_INACTIVE_PAGES_SHRINK
int inactive_pages_shrink(struct tracepoint__vmscan__mm_vmscan_lru_shrink_inactive *args)
{
    struct reclaim_value *row = row_of_reclaimer();
    u64 *elsewhere = counting_when_taken();

    if (!row)
        return 0;
    if (elsewhere && !*elsewhere)
        __sync_fetch_and_add(&row->scanned, args->nr_scanned);
    __sync_fetch_and_add(&row->reclaimed, args->nr_reclaimed);
    return 0;
}
#endif

#ifdef HAVE_PAGES_TAKEN
#define LRU_ACTIVE 1 /* in the numbers of the active lists */

#ifdef OFFSET_LRU_GEN_FOLIO_ENABLED
/* The multi-generational LRU can be turned on and off at any time. Each list stores it; this is the first one of the
 * thread's memory cgroup. */
static __always_inline bool has_generations(void)
{
    u64 set = read_pointer(bpf_get_current_task() + OFFSET_TASK_STRUCT_CGROUPS);
    u64 memcg = read_pointer(set + OFFSET_CSS_SET_SUBSYS + 8 * ENUM_MEMORY_CGRP_ID);
    u64 node = read_pointer(memcg + OFFSET_MEM_CGROUP_NODEINFO);
    u64 list = node + OFFSET_MEM_CGROUP_PER_NODE_LRUVEC + OFFSET_LRUVEC_LRUGEN;
    u8 enabled = 0;

    bpf_probe_read_kernel(&enabled, sizeof(enabled), (void *)(list + OFFSET_LRU_GEN_FOLIO_ENABLED));
    return memcg && node && enabled;
}
#else
static __always_inline bool has_generations(void)
{
    return 0; /* or they are not isolated where this program sees it: before 6.9 */
}
#endif

/* The multi-generational LRU reclaims isolated pages in several rounds, and reports the scanned pages each time. The
 * kernel's own counters count isolated pages. Without generations they count the inactive pages scanned, which are
 * reported at reclaim, unless none of them could be isolated. */
int pages_taken(struct tracepoint__vmscan__mm_vmscan_lru_isolate *args)
{
    u64 *here = counting_when_taken(), generations = has_generations();
    u64 taken = args->nr_taken, scanned = args->nr_scanned, pages;
    bool active = args->lru & LRU_ACTIVE;
    struct reclaim_value *row;

    /* Both are read here: the verifier does not allow a variable offset into the event. */
    asm volatile("" : "+r"(taken), "+r"(scanned));
    if (!here)
        return 0;
    if (*here != generations)
        *here = generations;
    if (generations)
        pages = taken;
    else
        pages = taken || active ? 0 : scanned;
    row = pages ? row_of_reclaimer() : NULL;
    if (row)
        __sync_fetch_and_add(&row->scanned, pages);
    return 0;
}
#endif

/* ---- rare events ---- */

#ifdef HAVE_COMPACTION_WANTED
int compaction_wanted(struct tracepoint__compaction__mm_compaction_try_to_compact_pages *args)
{
    u32 tid = bpf_get_current_pid_tgid();
    u64 one = 1;

    compacting.update(&tid, &one);
    return 0;
}
#endif

#ifdef HAVE_COMPACTION_BEGINS
int compaction_begins(struct tracepoint__compaction__mm_compaction_begin *args)
{
    compaction_stalls();
    return 0;
}
#endif

#ifdef HAVE_SIGNAL_RAW
int signal_raw(struct bpf_raw_tracepoint_args *ctx)
{
    signal_sent(ctx->args[0], ctx->args[1], ctx->args[ARG_SIGNAL_GENERATE_TASK_STRUCT]);
    return 0;
}
#endif

#ifdef HAVE_VICTIM_RAW
int victim_raw(struct bpf_raw_tracepoint_args *ctx)
{
    victim_marked(ctx->args[ARG_MARK_VICTIM_TASK_STRUCT]);
    return 0;
}
#endif

#ifdef HAVE_VICTIM_FUNCTION
int victim_function(struct pt_regs *ctx)
{
    victim_marked(FIRST_PASSED(ctx));
    return 0;
}
#endif
