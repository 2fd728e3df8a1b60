/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_BLOCK_IO_ERRORS_H
#define EBPF_SIDECAR_BLOCK_IO_ERRORS_H

#include "block_io_rows.h"

struct io_error_key {
    struct io_key io;
    u64 error;
};

struct io_error_value {
    u64 errors;
};
BPF_F_TABLE("hash", struct io_error_key, struct io_error_value, block_errors, BLOCK_ERRORS_ENTRIES, MAP_FLAGS);

/* 6.10 removed status 14 and moved those after it down; the same series added this flag, which kernels with the
 * backport have as well. */
#ifdef ENUM_BIO_ZONE_WRITE_PLUGGING
#define STATUS_MOVED_BY 0
#else
#define STATUS_MOVED_BY 1
#endif

/* Error numbers for the block layer's status codes (blk_errors in block/blk-core.c); all others are EIO. */
static __always_inline u32 error_of_status(u32 status)
{
    switch (status) {
    case 0: return 0;
    case 1: return 95;                     /* BLK_STS_NOTSUPP: EOPNOTSUPP */
    case 2: return 110;                    /* BLK_STS_TIMEOUT: ETIMEDOUT */
    case 3: return 28;                     /* BLK_STS_NOSPC: ENOSPC */
    case 4: return 67;                     /* BLK_STS_TRANSPORT: ENOLINK */
    case 5: return 121;                    /* BLK_STS_TARGET: EREMOTEIO */
    case 6: return 52;                     /* BLK_STS_RESV_CONFLICT: EBADE */
    case 7: return 61;                     /* BLK_STS_MEDIUM: ENODATA */
    case 8: return 84;                     /* BLK_STS_PROTECTION: EILSEQ */
    case 9: return 12;                     /* BLK_STS_RESOURCE: ENOMEM */
    case 11: return 78;                    /* BLK_STS_DM_REQUEUE: EREMCHG */
    case 12: return 11;                    /* BLK_STS_AGAIN: EAGAIN */
    case 13: return 16;                    /* BLK_STS_DEV_RESOURCE: EBUSY */
    case 14 + STATUS_MOVED_BY: return 109; /* BLK_STS_ZONE_OPEN_RESOURCE: ETOOMANYREFS */
    case 15 + STATUS_MOVED_BY: return 75;  /* BLK_STS_ZONE_ACTIVE_RESOURCE: EOVERFLOW */
    case 16 + STATUS_MOVED_BY: return 19;  /* BLK_STS_OFFLINE: ENODEV */
    case 17 + STATUS_MOVED_BY: return 62;  /* BLK_STS_DURATION_LIMIT: ETIME */
    case 19: return 22;                    /* BLK_STS_INVAL: EINVAL */
    default: return 5;                     /* EIO */
    }
}

#endif
