/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include "owner.h"

struct refused_key {
    struct owner owner;
};

struct refused_value {
    u64 calls;
};
BPF_F_TABLE("hash", struct refused_key, struct refused_value, refused_stats, REFUSED_STATS_ENTRIES, MAP_FLAGS);

static __always_inline struct refused_value *refused_row(void)
{
    struct refused_value zero = {};
    struct refused_key key = {};

    owner_of_current(&key.owner);
    key.owner.generation = current_generation();
    return refused_stats.lookup_or_try_init(&key, &zero);
}

#ifdef HAVE_REFUSED_RETURN
int refused_return(struct bpf_raw_tracepoint_args *ctx)
{
    struct refused_value *row = refused_row();

    if (row)
        __sync_fetch_and_add(&row->calls, 1);
    return 0;
}
#endif

#ifdef HAVE_REFUSED_ENTER
/* The row may be absent, and nobody asks. */
int refused_enter(struct bpf_raw_tracepoint_args *ctx)
{
    __sync_fetch_and_add(&refused_row()->calls, 1);
    return 0;
}
#endif
