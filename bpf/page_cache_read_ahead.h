/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_READ_AHEAD_H
#define EBPF_SIDECAR_PAGE_CACHE_READ_AHEAD_H

/* Pages of files that were read in and not requested by a read yet: one bit per page, in windows of 64 pages. The first
 * read that requests a page takes its bit, and that is a miss. So a page is at most one miss, whenever and for whatever
 * process it was read in, and misses never exceed the pages that reads request.
 *
 * Removed pages keep their bits: a page is not requested again before it is added again, which sets the bit again, or
 * takes it if the page was added for another cause. Bits are changed without a lock, by atomic operations if the kernel
 * has them: on older kernels, CPUs that change the same window at the same time may lose a change, or both be charged
 * for the same pages. On all kernels, two that start the same window may. */
#include "near.h"
#include "owner.h"

#define WINDOW_BITS 6
#define WINDOW_PAGES (1 << WINDOW_BITS)
#define WAYS 2
#if PAGE_BYTES > 4096
#define MOST_WINDOWS_ADDED 32 /* of the largest folio: 2048 pages */
#else
#define MOST_WINDOWS_ADDED 8 /* 512 pages */
#endif
#define MOST_WINDOWS_ASKED 64 /* of one call; for more see is_beyond. Each costs verification time. */
#define MOST_PAGES_ASKED (MOST_WINDOWS_ASKED * WINDOW_PAGES)

/* Half a cache line. A window is in one of the two places of its set, by a 64-bit tag; a third one replaces another. */
struct windows {
    u64 name[WAYS];
    u64 pages[WAYS];
};

BPF_F_TABLE("array", u32, struct windows, read_ahead, READ_AHEAD_ENTRIES, NEAR_FLAGS);

static __always_inline u64 name_of_window(u64 file, u64 index)
{
    return (file + (index >> WINDOW_BITS) * 0xd6e8feb86659fd93ULL) * 0x9e3779b97f4a7c15ULL;
}

static __always_inline struct windows *set_of(u64 name)
{
    u32 place = (name >> 32) & (READ_AHEAD_ENTRIES - 1);

    return read_ahead.lookup(&place);
}

/* All bits if the two are equal, otherwise none. Branch-free, because the verifier follows all paths through a loop.
 * The compiler would add a branch if it understood the purpose. */
static __always_inline u64 if_equal(u64 one, u64 other)
{
    u64 difference = one ^ other, negative = -difference;

    asm volatile("" : "+r"(negative));
    return ((difference | negative) >> 63) - 1;
}

/* The bits of the pages from index on that are in its window and before end. */
static __always_inline u64 bits_of(u64 index, u64 end)
{
    u64 low = index & (WINDOW_PAGES - 1), beyond = end - index + low - WINDOW_PAGES; /* negative: ends in it */

    asm volatile("" : "+r"(beyond));
    return (((1ULL << (end & (WINDOW_PAGES - 1))) - 1) | ((beyond >> 63) - 1)) & (~0ULL << low);
}

static __always_inline u64 next_window(u64 index)
{
    return (index | (WINDOW_PAGES - 1)) + 1;
}

/* Kernels have these operations since 5.12, and for arm64 since 5.18. */
#if __clang_major__ >= 12 && (RELEASE >= 518 || (RELEASE >= 512 && defined(__x86_64__)))
/* Takes the bits, and returns those that no other CPU has taken. */
static __always_inline u64 take_bits(u64 *pages, u64 bits)
{
    return __sync_fetch_and_and(pages, ~bits) & bits;
}

static __always_inline void set_bits(u64 *pages, u64 bits)
{
    __sync_fetch_and_or(pages, bits);
}
#else
static __always_inline u64 take_bits(u64 *pages, u64 bits)
{
    u64 found = *pages & bits;

    *pages &= ~bits;
    return found;
}

static __always_inline void set_bits(u64 *pages, u64 bits)
{
    *pages |= bits;
}
#endif

static __always_inline void change_bits(u64 *pages, u64 bits, bool kept)
{
    if (kept)
        set_bits(pages, bits);
    else
        take_bits(pages, bits);
}

static __always_inline void new_window(struct windows *set, u32 place, u64 name, u64 bits)
{
    set->pages[place] = bits;
    set->name[place] = name;
}

/* ``kept``: the bits are set; otherwise they are taken. A window that is in neither place gets an empty one, or else
 * either of the two, whatever it holds. Each place is written out: for a computed one, the verifier would follow the
 * loops again for each path that leads to them. */
static __always_inline void change_window(struct windows *set, u64 name, u64 bits, bool kept)
{
    if (set->name[0] == name)
        change_bits(&set->pages[0], bits, kept);
    else if (set->name[1] == name)
        change_bits(&set->pages[1], bits, kept);
    else if (kept && set->pages[0] && (!set->pages[1] || name >> 8 & 1))
        new_window(set, 1, name, bits);
    else if (kept)
        new_window(set, 0, name, bits);
}

static __always_inline u64 bits_set(u64 bits)
{
    bits -= (bits >> 1) & 0x5555555555555555ULL;
    bits = (bits & 0x3333333333333333ULL) + ((bits >> 2) & 0x3333333333333333ULL);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
    return (bits * 0x0101010101010101ULL) >> 56;
}

/* Which of the bits are set. */
static __always_inline u64 found_in_window(struct windows *set, u64 name, u64 bits)
{
    return ((set->pages[0] & if_equal(set->name[0], name)) | (set->pages[1] & if_equal(set->name[1], name))) & bits;
}

/* How many of the bits were set and are now taken. */
static __always_inline u64 taken_from_window(struct windows *set, u64 name, u64 bits)
{
    return bits_set(take_bits(&set->pages[0], bits & if_equal(set->name[0], name)) |
                    take_bits(&set->pages[1], bits & if_equal(set->name[1], name)));
}

/* Pages of one folio were added. ``for_reads``: a read may be charged for them. Otherwise an earlier page there, not
 * requested yet, was a different one. Only the largest folios span more than one window. */
static __always_inline void pages_came(u64 file, u64 index, u64 pages, bool for_reads)
{
    u64 end = index + pages, name;
    struct windows *set;
    u32 i;

#pragma nounroll
    for (i = 0; i < MOST_WINDOWS_ADDED && index < end; i++) {
        name = name_of_window(file, index);
        set = set_of(name);
        if (!set)
            return;
        change_window(set, name, bits_of(index, end), for_reads);
        index = next_window(index);
    }
}

static __always_inline u64 charged_in_more_windows(u64 file, u64 index, u64 end)
{
    u64 charged = 0, name;
    struct windows *set;
    u32 i;

#pragma nounroll
    for (i = 1; i < MOST_WINDOWS_ASKED && index < end; i++) {
        name = name_of_window(file, index);
        set = set_of(name);
        if (!set)
            break;
        /* Also if there is nothing to take: otherwise the verifier would follow twice as many paths through all
         * windows. */
        charged += taken_from_window(set, name, bits_of(index, end));
        index = next_window(index);
    }
    return charged;
}

/* How many of the pages from index up to end a read is charged for: those not requested before. Nearly always they are
 * in one window and have been requested: then nothing is written. */
static __always_inline u64 pages_charged(u64 file, u64 index, u64 end)
{
    u64 name = name_of_window(file, index), bits = bits_of(index, end), charged = 0;
    struct windows *set = set_of(name);

    if (!set)
        return 0;
    if ((set->name[0] == name || set->name[1] == name) && found_in_window(set, name, bits))
        charged = taken_from_window(set, name, bits);
    index = next_window(index);
    return index < end ? charged + charged_in_more_windows(file, index, end) : charged;
}

#endif
