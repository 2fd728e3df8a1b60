/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_NEAR_H
#define EBPF_SIDECAR_NEAR_H

/* Beside a hash map an array that holds the entries that came first, near at hand: a key has one place in it, which the
 * processor finds in about 5 ns; a lookup in the hash map takes 13 to 26. An entry whose place is another's lives in
 * the hash map. The same key may be in both, because two that want a place at once perhaps both go without: who reads
 * adds up. The reader (receivers/ebpf/near.py) knows the layout: key, claims, value.
 *
 * Whose place it is says the key that stands in it, so nobody has to be told when an entry goes. Each of its words is
 * changed by NO_WORD: then a word that is zero, as before anything was written, belongs to no key, and half of a key is
 * never taken for another. */
#define NO_WORD 0xffffffffffffff00ULL /* no cgroup, no thread, no text, no number and no two of them */
#define NEAR_FLAGS 1024 /* BPF_F_MMAPABLE: the reader empties a place in an order that update would not keep */

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

/* Where among `places` (a power of two) a key's is that begins with an owner. */
static __always_inline u32 place_of_row(u64 *key, u32 words, u32 places)
{
    u64 mixed = key[0] * 0x9e3779b97f4a7c15ULL;

    mixed ^= key[1] * 0xc2b2ae3d27d4eb4fULL;
    mixed ^= key[2] * 0x165667b19e3779f9ULL;
    mixed ^= key[3] * 0x27d4eb2f165667c5ULL;
    if (words > 4)
        mixed ^= key[4] * 0x9e3779b185ebca87ULL;
    return (mixed >> 32) & (places - 1);
}

#endif
