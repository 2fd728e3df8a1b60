/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_BLOCK_IO_ROWS_H
#define EBPF_SIDECAR_BLOCK_IO_ROWS_H

#include "block_io_key.h"
#include "histogram.h"

/* The fields that each request changes are adjacent, because they are rarely in the CPU's cache; and come after the
 * histograms: rows are read from the front, so that requests that complete meanwhile still count as in flight, and that
 * number is never negative. */
struct io_value {
    u64 duration[BLOCK_SLOTS];
    u64 queue[BLOCK_SLOTS];
    u64 size[SIZE_SLOTS];
    u64 duration_sum;
    u64 queue_sum;
    u64 size_sum;
    u64 merged;
    u64 requeued;
    u64 lost;
    u64 issued; /* those that are not completed, requeued or lost are in flight */
};
BPF_F_TABLE("hash", struct io_key, struct io_value, block_stats, BLOCK_STATS_ENTRIES, MAP_FLAGS);

/* All zero: new rows are copied from here, because io_value does not fit on the stack (512 bytes). */
BPF_ARRAY(blank_io, struct io_value, 1);

/* Sets the generation in the key. */
static __always_inline struct io_value *io_row(struct io_key *key)
{
    struct io_value *row, *empty;
    u32 zero = 0;

    if (is_left_out(&key->owner))
        return NULL;
    key->owner.generation = current_generation();
    row = block_stats.lookup(key);
    if (row)
        return row;
    empty = blank_io.lookup(&zero);
    if (!empty)
        return NULL;
    row = block_stats.lookup_or_try_init(key, empty);
    if (!row)
        count_drop(DROPPED_BLOCK_STATS);
    return row;
}

#endif
