/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include "owner.h"

enum fault_type { FAULT_MINOR, FAULT_MAJOR };

struct fault_key {
    struct owner owner;
    u64 type;
};

struct fault_value {
    u64 faults;
};
BPF_F_TABLE("hash", struct fault_key, struct fault_value, fault_stats, FAULT_STATS_ENTRIES, MAP_FLAGS);

/* Not inlined, so that the common path does not pay for clearing a value that already exists. */
static __always_inline struct fault_value *new_fault_row(struct fault_key *key)
{
    struct fault_value zero = {}, *row;

    row = fault_stats.lookup_or_try_init(key, &zero);
    if (!row)
        count_drop(DROPPED_FAULT_STATS);
    return row;
}

static __always_inline void page_fault(u64 type)
{
    struct fault_key key = {.type = type};
    struct fault_value *row;

    owner_of_current(&key.owner);
    if (is_left_out(&key.owner))
        return;
    key.owner.generation = current_generation();
    row = fault_stats.lookup(&key);
    if (!row)
        row = new_fault_row(&key);
    if (row)
        __sync_fetch_and_add(&row->faults, 1);
}

#ifdef HAVE_MINOR_FAULT
int minor_fault(struct bpf_perf_event_data *ctx)
{
    page_fault(FAULT_MINOR);
    return 0;
}
#endif

#ifdef HAVE_MAJOR_FAULT
int major_fault(struct bpf_perf_event_data *ctx)
{
    page_fault(FAULT_MAJOR);
    return 0;
}
#endif
