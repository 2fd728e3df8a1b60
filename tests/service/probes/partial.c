/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include "owner.h"

struct partial_key {
    struct owner owner;
};

struct partial_value {
    u64 calls;
};
BPF_F_TABLE("hash", struct partial_key, struct partial_value, partial_stats, PARTIAL_STATS_ENTRIES, MAP_FLAGS);

#if defined(HAVE_PARTIAL_CALL) || defined(HAVE_PARTIAL_IMAGINED)
static __always_inline int partial_count(void)
{
    struct partial_value zero = {}, *row;
    struct partial_key key = {};

    owner_of_current(&key.owner);
    key.owner.generation = current_generation();
    row = partial_stats.lookup_or_try_init(&key, &zero);
    if (row)
        __sync_fetch_and_add(&row->calls, 1);
    else
        count_drop(DROPPED_PARTIAL_STATS);
    return 0;
}
#endif

#ifdef HAVE_PARTIAL_CALL
int partial_call(struct bpf_raw_tracepoint_args *ctx)
{
    return partial_count();
}
#endif

#ifdef HAVE_PARTIAL_IMAGINED
int partial_imagined(struct bpf_raw_tracepoint_args *ctx)
{
    return partial_count();
}
#endif
