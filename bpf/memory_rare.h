/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_MEMORY_RARE_H
#define EBPF_SIDECAR_MEMORY_RARE_H

#include "owner.h"

/* What happens seldom: compaction and kills. */
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

/* Threads that want a large block, until it is known whether anything has to be done for it. LRU: often nothing has
 * to be done, and nothing tells so. */
BPF_TABLE("lru_hash", u32, u64, compacting, COMPACTING_ENTRIES);

#ifdef HAVE_COMPACTION_BEGINS
/* Once, however many zones are tried; not for kcompactd, which nobody waits for. */
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

#if defined(HAVE_VICTIM_RAW) || defined(HAVE_VICTIM_FUNCTION)
/* Processes that were killed, by id, with the time of their begin: each thread of a victim that asks for memory while
 * it dies is marked again. */
BPF_TABLE("lru_hash", u32, u64, killed, KILLED_ENTRIES);

static __always_inline bool is_marked_again(u64 task)
{
    u64 leader = read_pointer(task + OFFSET_TASK_STRUCT_GROUP_LEADER);
    u64 began = read_pointer(leader + OFFSET_TASK_STRUCT_START_TIME), *before;
    u32 process = read_u32(task + OFFSET_TASK_STRUCT_TGID);

    before = killed.lookup(&process);
    if (before && *before == began)
        return 1;
    killed.update(&process, &began);
    return 0;
}

/* The kill belongs to who is killed, not to who asked for the memory. */
static __always_inline void victim_marked(u64 task)
{
    struct memory_key key = {};
    struct memory_value *row;

    if (is_marked_again(task))
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
