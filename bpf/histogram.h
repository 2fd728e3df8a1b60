/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_HISTOGRAM_H
#define EBPF_SIDECAR_HISTOGRAM_H

/* Slot of a value in a histogram whose slot i holds all values up to and including 2^(lowest + i); the last slot holds
 * the rest. Prometheus says "less or equal", hence the minus one: exactly 2^k belongs to the slot whose upper bound is
 * 2^k. */
static __always_inline u32 histogram_slot(u64 value, u32 lowest, u32 slots)
{
    u64 rest = value ? value - 1 : 0;
    u32 bits = 0;

    if (rest >> 32) {
        bits += 32;
        rest >>= 32;
    }
    if (rest >> 16) {
        bits += 16;
        rest >>= 16;
    }
    if (rest >> 8) {
        bits += 8;
        rest >>= 8;
    }
    if (rest >> 4) {
        bits += 4;
        rest >>= 4;
    }
    if (rest >> 2) {
        bits += 2;
        rest >>= 2;
    }
    bits += rest > 1 ? 2 : rest;
    if (bits <= lowest)
        return 0;
    bits -= lowest;
    return bits < slots ? bits : slots - 1;
}

#endif
