/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_HISTOGRAM_H
#define EBPF_SIDECAR_HISTOGRAM_H

/* The slot of a value in a histogram whose slot i holds all values up to and including 2^(lowest + i); the last slot
 * holds the rest. Prometheus bounds are inclusive ("le"), hence the minus one: exactly 2^k belongs to the slot whose
 * upper bound is 2^k. */
static __always_inline u64 histogram_slot(u64 value, u64 lowest, u64 slots)
{
    u64 rest = value ? value - 1 : 0;
    u64 bits = 0, slot = 0;

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
    /* For verifiers up to 6.1 (seen on 5.10 and 6.1), which follow impossible paths through the branches above and then
     * reject the access: adding to a fresh register makes them forget the impossible values. The bound is compared with
     * a constant in the register that is used; the compiler would compare a copy, which teaches the verifier nothing.
     */
    asm volatile("%0 += %1" : "+r"(slot) : "r"(bits));
    asm volatile("if %0 < %1 goto +1\n%0 = %1" : "+r"(slot) : "i"(slots - 1));
    return slot;
}

#endif
