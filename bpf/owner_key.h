/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_OWNER_KEY_H
#define EBPF_SIDECAR_OWNER_KEY_H

/* The start of every key: the owner of an event. Without padding, and zeroed before it is filled, because every byte is
 * part of the key. */
struct owner {
    u64 cgroup;
    u32 tgid; /* 0 unless KEY_BY_PROCESS: otherwise short-lived processes would fill the maps */
    u32 generation;
    char comm[16];
};

/* Written by the reader: entry 0 is the generation that goes into keys. Flipping it freezes all older entries. Entry 1:
 * see targets.h. */
BPF_ARRAY(control, u64, 2);

/* Events that could not be counted, one entry per reason (DROPPED_..., numbered by the loader). */
BPF_ARRAY(drops, u64, DROP_REASONS);

static __always_inline void count_drop(u32 reason)
{
    u64 *count = drops.lookup(&reason);

    if (count)
        __sync_fetch_and_add(count, 1);
}

static __always_inline u32 current_generation(void)
{
    u32 zero = 0;
    u64 *generation = control.lookup(&zero);

    return generation ? *generation : 0;
}

#endif
