/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_NEAR_H
#define EBPF_SIDECAR_NEAR_H

/* A near map: an array next to a hash map that holds the entries that came first. A key has one place in it per CPU,
 * which is found in about 5 ns; a lookup in the hash map takes 13 to 26. If the place is taken, the key is counted in
 * the hash map. So a key may be in several places and also in the hash map: the reader adds them up. The reader
 * (receivers/ebpf/maps/near.py) knows the layout: key, claims, value.
 *
 * The key stored in a place says whose it is, so no notification is needed when an entry is removed. Each of its words
 * is XORed with NO_WORD: a word that is zero, as before the first write, then belongs to no key, and half a key is
 * never mistaken for another. */
#define NO_WORD 0xffffffffffffff00ULL /* not a cgroup, thread, text or number, nor two of them */
#define NEAR_FLAGS 1024 /* BPF_F_MMAPABLE: the reader frees a place in an order that an update would not keep */
#define OWN_CACHE_LINES __attribute__((aligned(64))) /* avoids false sharing with its neighbour */

static __always_inline bool is_place_of(u64 *place, u64 *key, u32 words)
{
    u32 i;

#pragma unroll
    for (i = 0; i < words; i++)
        if ((place[i] ^ key[i]) != NO_WORD)
            return 0;
    return 1;
}

/* Whether only the caller wanted it. Adding and then checking needs no instruction newer than 5.10. */
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

/* The index among `places` (a power of two) of a row's key, which starts with an owner. Each CPU has its own place for
 * it: if many count in one row, moving its cache line between them costs more than everything else (two CPUs on one
 * row: 60 ns for a cached read). Hashed, so that neighbours in the array are unrelated. */
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
