/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include "owner.h"

struct silent_key {
    struct owner owner;
};

struct silent_value {
    u64 calls;
    u64 kills;
};
BPF_F_TABLE("hash", struct silent_key, struct silent_value, silent_stats, SILENT_STATS_ENTRIES, MAP_FLAGS);

static __always_inline struct silent_value *silent_row(void)
{
    struct silent_value zero = {}, *row;
    struct silent_key key = {};

    owner_of_current(&key.owner);
    key.owner.generation = current_generation();
    row = silent_stats.lookup_or_try_init(&key, &zero);
    if (!row)
        count_drop(DROPPED_SILENT_STATS);
    return row;
}

#ifdef HAVE_SILENT_CALL
int silent_call(struct bpf_raw_tracepoint_args *ctx)
{
    struct silent_value *row = silent_row();

    if (row)
        __sync_fetch_and_add(&row->calls, 1);
    return 0;
}
#endif

#ifdef HAVE_SILENT_KILL
int silent_kill(struct bpf_raw_tracepoint_args *ctx)
{
    struct silent_value *row = silent_row();

    if (row)
        __sync_fetch_and_add(&row->kills, 1);
    return 0;
}
#endif
