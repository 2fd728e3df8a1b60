/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_HISTOGRAM_H
#define EBPF_SIDECAR_HISTOGRAM_H

/* Slot of a value in a histogram whose slot i holds all values up to and including 2^(lowest + i); the last slot holds
 * the rest. Prometheus says "less or equal", hence the minus one: exactly 2^k belongs to the slot whose upper bound is
 * 2^k. */
static __always_inline u64 histogram_slot(u64 value, u64 lowest, u64 slots)
{
    u64 rest = value ? value - 1 : 0;
    u64 bits = 0;

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
    bits = bits > lowest ? bits - lowest : 0;
    /* One 64-bit register is compared and then used: up to 6.1 (5.10, 6.1 seen) the verifier forgets the bound when the
     * compiler compares a copy or widens the register afterwards ("unbounded memory access"). */
    asm volatile("" : "+r"(bits));
    if (bits > slots - 1)
        bits = slots - 1;
    asm volatile("" : "+r"(bits));
    return bits;
}

#endif
