/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_NEAR_H
#define EBPF_SIDECAR_NEAR_H

/* Beside a hash map an array that holds the entries that came first, near at hand: a key has one place in it for each
 * processor, which finds it in about 5 ns; a lookup in the hash map takes 13 to 26. What comes to a place that is taken
 * is counted in the hash map. So a key may be in several places and in the hash map, too: who reads adds up. The reader
 * (receivers/ebpf/maps/near.py) knows the layout: key, claims, value.
 *
 * Whose place it is says the key that stands in it, so nobody has to be told when an entry goes. Each of its words is
 * changed by NO_WORD: then a word that is zero, as before anything was written, belongs to no key, and half of a key is
 * never taken for another. */
#define NO_WORD 0xffffffffffffff00ULL /* no cgroup, no thread, no text, no number and no two of them */
#define NEAR_FLAGS 1024 /* BPF_F_MMAPABLE: the reader empties a place in an order that update would not keep */
#define OWN_CACHE_LINES __attribute__((aligned(64))) /* writes to its neighbour do not slow it down */

static __always_inline bool is_place_of(u64 *place, u64 *key, u32 words)
{
    u32 i;

#pragma unroll
    for (i = 0; i < words; i++)
        if ((place[i] ^ key[i]) != NO_WORD)
            return 0;
    return 1;
}

/* Whether the caller alone wanted it. Adding and looking afterwards needs no instruction that came after 5.10. */
static __always_inline bool claim(u64 *claims)
{
    __sync_fetch_and_add(claims, 1);
    if (*(volatile u64 *)claims == 1)
        return 1;
    __sync_fetch_and_add(claims, -1);
    return 0;
}

static __always_inline bool take_place(u64 *place, u64 *claims, u64 *key, u32 words)
{
    u32 i;

    if (place[0] || !claim(claims))
        return 0;
#pragma unroll
    for (i = 0; i < words; i++)
        place[i] = key[i] ^ NO_WORD;
    return 1;
}

/* Where among `places` (a power of two) a row's key is, which begins with an owner. Each processor has a place of its
 * own for it: where many count in one row, handing its memory to and fro costs more than all else (two on one row: 60
 * ns for a cached read). Scattered, so that neighbours in the array are strangers. */
static __always_inline u32 place_of_row(u64 *key, u32 words, u32 places)
{
    u64 mixed = key[0] * 0x9e3779b97f4a7c15ULL;

    mixed ^= bpf_get_smp_processor_id() * 0xd6e8feb86659fd93ULL;
    mixed ^= key[1] * 0xc2b2ae3d27d4eb4fULL;
    mixed ^= key[2] * 0x165667b19e3779f9ULL;
    mixed ^= key[3] * 0x27d4eb2f165667c5ULL;
    if (words > 4)
        mixed ^= key[4] * 0x9e3779b185ebca87ULL;
    return (mixed >> 32) & (places - 1);
}

#endif
