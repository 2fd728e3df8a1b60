/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_BLOCK_IO_KEY_H
#define EBPF_SIDECAR_BLOCK_IO_KEY_H

#include "block_io_owner.h"

/* The key of a row: one for each owner, device and operation. */
struct io_key {
    struct owner owner;
    u32 device; /* major << 20 | minor */
    u32 operation;
};

#define OPERATION_MASK 0xff /* REQ_OP_MASK */

static __always_inline u32 number_of_disk(u64 disk)
{
#if OFFSET_GENDISK_FIRST_MINOR == OFFSET_GENDISK_MAJOR + 4
    u64 both = read_pointer(disk + OFFSET_GENDISK_MAJOR); /* x86-64 and arm64 are little-endian */

    return (u32)both << 20 | both >> 32;
#else
    return read_u32(disk + OFFSET_GENDISK_MAJOR) << 20 | read_u32(disk + OFFSET_GENDISK_FIRST_MINOR);
#endif
}

static __always_inline u64 disk_of_bio(u64 bio)
{
#ifdef OFFSET_BIO_BI_BDEV
    return read_pointer(read_pointer(bio + OFFSET_BIO_BI_BDEV) + OFFSET_BLOCK_DEVICE_BD_DISK);
#else
    return read_pointer(bio + OFFSET_BIO_BI_DISK); /* before 5.12 */
#endif
}

/* Fills a zeroed key, except for the generation. */
static __always_inline void describe_bio(struct io_key *key, u64 bio)
{
    owner_of_bio(&key->owner, bio);
    key->device = number_of_disk(disk_of_bio(bio));
    key->operation = read_u32(bio + OFFSET_BIO_BI_OPF) & OPERATION_MASK;
}

#endif
