/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_FILES_H
#define EBPF_SIDECAR_PAGE_CACHE_FILES_H

/* Identifies files, and counts the pages of a folio. */
#include "owner.h"

/* A file by its inode number and device: when pages are added, a classic tracepoint provides nothing else. Files of
 * several btrfs subvolumes with equal inode numbers count as one. */
static __always_inline u64 file_of_numbers(u64 inode, u64 device)
{
    return inode ^ device << 40;
}

/* The identity of a file wherever its pages are added or requested. */
static __always_inline u64 file_of(u64 mapping)
{
#if defined(HAVE_ADD_RAW) || !defined(HAVE_ADD_TRACEPOINT)
    return mapping;
#else
    u64 inode = read_pointer(mapping + OFFSET_ADDRESS_SPACE_HOST);
    u64 super_block = read_pointer(inode + OFFSET_INODE_I_SB);

    return file_of_numbers(read_pointer(inode + OFFSET_INODE_I_INO), read_u32(super_block + OFFSET_SUPER_BLOCK_S_DEV));
#endif
}

static __always_inline u64 pages_of_folio(u64 folio)
{
#ifdef ENUM_PG_HEAD
    if (!(read_pointer(folio + OFFSET_FOLIO_FLAGS) >> ENUM_PG_HEAD & 1))
        return 1;
#endif
#if defined(OFFSET_FOLIO_NR_PAGES)
    return read_u32(folio + OFFSET_FOLIO_NR_PAGES);
#elif defined(OFFSET_FOLIO_FOLIO_NR_PAGES)
    return read_u32(folio + OFFSET_FOLIO_FOLIO_NR_PAGES);
#else
    return 1; /* before 5.16 single pages are dirtied and added */
#endif
}

/* The order of the smallest folio in a file's cache: not 0 if a file system block is larger than a page. Then the
 * kernel (6.12 and newer) looks up whole blocks. */
static __always_inline u32 smallest_order(u64 mapping)
{
#if defined(ENUM_AS_FOLIO_ORDER_MIN) && defined(ENUM_AS_FOLIO_ORDER_BITS) && defined(OFFSET_ADDRESS_SPACE_FLAGS)
    u64 flags = read_pointer(mapping + OFFSET_ADDRESS_SPACE_FLAGS);

    return flags >> ENUM_AS_FOLIO_ORDER_MIN & ((1 << ENUM_AS_FOLIO_ORDER_BITS) - 1);
#else
    return 0;
#endif
}

#define TMPFS_MAGIC 0x01021994

static __always_inline bool is_in_memory(u64 inode)
{
#if defined(OFFSET_INODE_I_SB) && defined(OFFSET_SUPER_BLOCK_S_MAGIC)
    return read_u32(read_pointer(inode + OFFSET_INODE_I_SB) + OFFSET_SUPER_BLOCK_S_MAGIC) == TMPFS_MAGIC;
#else
    return 0;
#endif
}

#endif
