/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include <asm/ptrace.h>
#include "histogram.h"
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

/* All zero: a new row is copied from here, so that it need not be made on the stack. */
BPF_ARRAY(blank_reclaim, struct reclaim_value, 1);

struct memory_key {
    struct owner owner;
};

struct memory_value {
    u64 oom_kills;
    u64 compaction_stalls;
};
BPF_F_TABLE("hash", struct memory_key, struct memory_value, memory_stats, MEMORY_STATS_ENTRIES, MAP_FLAGS);

/* One entry per process that had to reclaim. LRU: processes that ended need no place. */
struct stalled_key {
    struct owner owner;
    u64 process;
};

struct stalled_value {
    u64 seen; /* at the begin and at the end of a stall, so that one that spans two readings counts in both */
};
BPF_TABLE("lru_hash", struct stalled_key, struct stalled_value, stalled_processes, STALLED_PROCESSES_ENTRIES);

/* A thread that is reclaiming now. Nothing ends a thread meanwhile. */
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
    struct stall stall = {.began = bpf_ktime_get_ns(), .reclaimer = reclaimer};
    struct owner owner = {};

    owner_of_current(&owner);
    process_seen(&owner);
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

/* The event does not tell who reclaims: a thread that stalls, kswapd, or (zone reclaim on machines with several memory
 * nodes) a thread that allocates, which the kernel's own counters call direct, too. */
static __always_inline u64 reclaimer_of_current(struct owner *owner)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct stall *stall = stalls.lookup(&tid);
    u64 name = *(u64 *)owner->comm & 0xffffffffffffULL;

    if (stall)
        return stall->reclaimer;
    return name == 0x64706177736bULL /* "kswapd" */ ? RECLAIMER_KSWAPD : RECLAIMER_DIRECT;
}

#ifdef HAVE_INACTIVE_PAGES_SHRINK
int inactive_pages_shrink(struct tracepoint__vmscan__mm_vmscan_lru_shrink_inactive *args)
{
    struct reclaim_key key = {};
    struct reclaim_value *row;

    owner_of_current(&key.owner);
    key.reclaimer = reclaimer_of_current(&key.owner);
    row = reclaim_row(&key);
    if (!row)
        return 0;
    __sync_fetch_and_add(&row->scanned, args->nr_scanned);
    __sync_fetch_and_add(&row->reclaimed, args->nr_reclaimed);
    return 0;
}
#endif

/* ---- rare events ---- */

static __always_inline struct memory_value *memory_row(struct memory_key *key)
{
    struct memory_value zero = {}, *row;

    if (is_left_out(&key->owner))
        return NULL;
    key->owner.generation = current_generation();
    row = memory_stats.lookup_or_try_init(key, &zero);
    if (!row)
        count_drop(DROPPED_MEMORY_STATS);
    return row;
}

#ifdef HAVE_COMPACTION_STALLS
int compaction_stalls(struct tracepoint__compaction__mm_compaction_try_to_compact_pages *args)
{
    struct memory_key key = {};
    struct memory_value *row;

    owner_of_current(&key.owner);
    row = memory_row(&key);
    if (row)
        __sync_fetch_and_add(&row->compaction_stalls, 1);
    return 0;
}
#endif

#if defined(HAVE_VICTIM_RAW) || defined(HAVE_VICTIM_FUNCTION)
/* The kill belongs to who is killed, not to who asked for the memory. */
static __always_inline void victim_marked(u64 task)
{
    struct memory_key key = {};
    struct memory_value *row;

    key.owner.cgroup = cgroup_of_task(task);
#ifdef KEY_BY_PROCESS
    key.owner.tgid = read_u32(task + OFFSET_TASK_STRUCT_TGID);
#endif
    name_of_task(task, key.owner.comm);
    leave_out_unless_target(task, &key.owner);
    row = memory_row(&key);
    if (row)
        __sync_fetch_and_add(&row->oom_kills, 1);
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
