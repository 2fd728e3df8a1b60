/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_ROWS_H
#define EBPF_SIDECAR_PAGE_CACHE_ROWS_H

/* The rows in which pages are counted, in the near map or not. */
#include "near.h"
#include "thread.h"

struct cache_key {
    struct owner owner;
};

/* The index of each cause among a row's adds. */
enum { PLACE_READ, PLACE_WRITE, PLACE_MMAP, PLACE_OTHER, PLACE_FILL, ADD_PLACES };

struct cache_value {
    u64 lookups;
    u64 misses;           /* of them, those that were read in for this or another read and not requested before */
    u64 adds[ADD_PLACES]; /* by cause: read, write, mmap, other, fill */
    u64 removes;
    u64 dirtied;
    u64 written_back;
    u64 mapped_faults;
    u64 mapped_misses;
};
BPF_F_TABLE("hash", struct cache_key, struct cache_value, cache_stats, CACHE_STATS_ENTRIES, MAP_FLAGS);

/* Not inlined, so that the common path does not pay for clearing a value that already exists. */
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
} OWN_CACHE_LINES;
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

/* The thread's owner gets its generation here. */
static __always_inline struct cache_value *cache_row_of_thread(struct thread *thread)
{
    thread->owner.generation = current_generation();
    return cache_row((struct cache_key *)&thread->owner);
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

#endif
