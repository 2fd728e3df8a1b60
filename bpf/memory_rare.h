/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_MEMORY_RARE_H
#define EBPF_SIDECAR_MEMORY_RARE_H

#include "lru.h"
#include "owner.h"

/* Rare events: compaction and OOM kills. */
struct memory_key {
    struct owner owner;
};

struct memory_value {
    u64 oom_kills;
    u64 compaction_stalls;
};
BPF_F_TABLE("hash", struct memory_key, struct memory_value, memory_stats, MEMORY_STATS_ENTRIES, MAP_FLAGS);

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

/* Threads that want a large block, until it is known whether compaction is needed. LRU: often it is not, and no event
 * reports that. */
BPF_F_TABLE("lru_hash", u32, u64, compacting, COMPACTING_ENTRIES, LRU_FLAGS(COMPACTING_ENTRIES));

#ifdef HAVE_COMPACTION_BEGINS
/* Once, however many zones are tried; not for kcompactd, for which nothing waits. */
static __always_inline void compaction_stalls(void)
{
    u32 tid = bpf_get_current_pid_tgid();
    struct memory_key key = {};
    struct memory_value *row;

    if (!compacting.lookup(&tid))
        return;
    compacting.delete(&tid);
    owner_of_current(&key.owner);
    row = memory_row(&key);
    if (row)
        __sync_fetch_and_add(&row->compaction_stalls, 1);
}
#endif

#define SIGKILL 9
#define SENT_BY_THE_KERNEL 1 /* SEND_SIG_PRIV, instead of an address */

/* Entry 0: the process to which the kernel has just sent SIGKILL on this CPU. The kernel marks victims right after
 * that, under a spin lock, but also processes that are already dying, and each thread of a victim that allocates memory
 * while dying: to these it sends no signal, and they are not counted. */
BPF_PERCPU_ARRAY(kill_sent, u64, 1);

static __always_inline void signal_sent(u32 signal, u64 information, u64 task)
{
    u32 zero = 0;
    u64 *sent;

    if (signal != SIGKILL || information != SENT_BY_THE_KERNEL)
        return;
    sent = kill_sent.lookup(&zero);
    if (sent)
        *sent = task;
}

#if defined(HAVE_VICTIM_RAW) || defined(HAVE_VICTIM_FUNCTION)
static __always_inline bool is_dying_anyway(u64 task)
{
    u32 zero = 0;
    u64 *sent = kill_sent.lookup(&zero);

    if (!sent || *sent != task)
        return 1;
    *sent = 0;
    return 0;
}

/* The kill is attributed to the victim, not to the process that allocated the memory. */
static __always_inline void victim_marked(u64 task)
{
    struct memory_key key = {};
    struct memory_value *row;

    if (is_dying_anyway(task))
        return;
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

#endif
