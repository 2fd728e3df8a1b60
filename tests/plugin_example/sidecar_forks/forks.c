#include "owner.h" /* whose event it is; comes with ebpf-sidecar */

struct fork_key {
    struct owner owner;
};

struct fork_value {
    u64 children;
};
BPF_F_TABLE("hash", struct fork_key, struct fork_value, fork_stats, FORK_STATS_ENTRIES, MAP_FLAGS);

#ifdef HAVE_FORK_STARTS
int fork_starts(struct bpf_raw_tracepoint_args *ctx)
{
    struct fork_value zero = {}, *row;
    struct fork_key key = {};

    owner_of_current(&key.owner);
    key.owner.generation = current_generation();
    row = fork_stats.lookup_or_try_init(&key, &zero);
    if (row)
        __sync_fetch_and_add(&row->children, 1);
    else
        count_drop(DROPPED_FORK_STATS);
    return 0;
}
#endif
