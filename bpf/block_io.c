/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include "histogram.h"
#include "owner.h"

struct io_key {
    struct owner owner;
    u32 device; /* major << 20 | minor */
    u32 operation;
};

struct io_value {
    u64 duration[BLOCK_SLOTS];
    u64 duration_sum;
    u64 queue[BLOCK_SLOTS];
    u64 queue_sum;
    u64 size[SIZE_SLOTS];
    u64 size_sum;
    u64 issued; /* what is not completed, given back or lost of these is in flight */
    u64 requeued;
    u64 lost;
    u64 merged;
};
BPF_F_TABLE("hash", struct io_key, struct io_value, block_stats, BLOCK_STATS_ENTRIES, MAP_FLAGS);

/* All zero: a new row is copied from here, because io_value does not fit on the stack (512 bytes). */
BPF_ARRAY(blank_io, struct io_value, 1);

struct io_error_key {
    struct owner owner;
    u32 device;
    u32 operation;
    u64 error;
};

struct io_error_value {
    u64 errors;
};
BPF_F_TABLE("hash", struct io_error_key, struct io_error_value, block_errors, BLOCK_ERRORS_ENTRIES, MAP_FLAGS);

/* A request on its way, by the address of the kernel's own: addresses survive merges at either end, sectors do not. */
struct request {
    struct owner owner;
    u64 inserted; /* 0: went to the device without waiting in a queue */
    u64 issued;   /* 0: still queued */
    u64 bytes;
    u64 done;
    u32 device;
    u32 operation;
    u32 error;
    u32 requeued;
};
BPF_F_TABLE("hash", u64, struct request, requests, REQUESTS_ENTRIES, MAP_FLAGS);

#define OPERATION_MASK 0xff /* REQ_OP_MASK */

static __always_inline u32 number_of_disk(u64 disk)
{
    return read_u32(disk + OFFSET_GENDISK_MAJOR) << 20 | read_u32(disk + OFFSET_GENDISK_FIRST_MINOR);
}

static __always_inline u32 device_of(u64 address)
{
#ifdef OFFSET_REQUEST_RQ_DISK
    u64 disk = read_pointer(address + OFFSET_REQUEST_RQ_DISK);
#else
    /* The disk moved from the request to its queue in 5.17. */
    u64 disk = read_pointer(read_pointer(address + OFFSET_REQUEST_Q) + OFFSET_REQUEST_QUEUE_DISK);
#endif

    return number_of_disk(disk);
}

static __always_inline struct request *start_request(u64 address)
{
    struct request fresh = {};

    owner_of_current(&fresh.owner);
    fresh.device = device_of(address);
    fresh.operation = read_u32(address + OFFSET_REQUEST_CMD_FLAGS) & OPERATION_MASK;
    requests.update(&address, &fresh);
    return requests.lookup(&address);
}

static __always_inline struct io_value *io_row(struct io_key *key)
{
    struct io_value *row, *empty;
    u32 zero = 0;

    if (is_left_out(&key->owner))
        return NULL;
    key->owner.generation = current_generation();
    row = block_stats.lookup(key);
    if (row)
        return row;
    empty = blank_io.lookup(&zero);
    if (!empty)
        return NULL;
    row = block_stats.lookup_or_try_init(key, empty);
    if (!row)
        count_drop(DROPPED_BLOCK_STATS);
    return row;
}

static __always_inline struct io_value *row_of_request(struct request *request)
{
    struct io_key key = {.owner = request->owner, .device = request->device, .operation = request->operation};

    return io_row(&key);
}

/* The kernel uses the address again although no completion was seen: programs can miss events. */
static __always_inline void count_unfinished(struct request *before)
{
    struct io_value *row;

    if (!before || !before->issued)
        return;
    count_drop(DROPPED_COMPLETIONS);
    row = row_of_request(before);
    if (row)
        __sync_fetch_and_add(&row->lost, 1);
}

static __always_inline void request_inserted(u64 address)
{
    struct request *request = requests.lookup(&address);

    /* A request that comes back from the device keeps its owner and its first time. */
    if (request && request->requeued)
        return;
    count_unfinished(request);
    request = start_request(address);
    if (request)
        request->inserted = bpf_ktime_get_ns();
    else
        count_drop(DROPPED_REQUESTS);
}

static __always_inline void request_issued(u64 address)
{
    struct request *request = requests.lookup(&address);
    struct io_value *row;

    if (!request || request->issued) {
        count_unfinished(request);
        request = start_request(address);
    }
    if (!request) {
        count_drop(DROPPED_REQUESTS);
        return;
    }
    request->issued = bpf_ktime_get_ns();
    request->requeued = 0;
    request->bytes = read_u32(address + OFFSET_REQUEST_DATA_LEN);
    row = row_of_request(request);
    if (row)
        __sync_fetch_and_add(&row->issued, 1);
}

static __always_inline void request_requeued(u64 address)
{
    struct request *request = requests.lookup(&address);
    struct io_value *row;

    if (!request)
        return;
    row = request->issued ? row_of_request(request) : NULL;
    if (row)
        __sync_fetch_and_add(&row->requeued, 1);
    request->requeued = 1;
    request->issued = 0;
}

static __always_inline void count_request(struct request *request, u64 now)
{
    struct io_value *row = row_of_request(request);
    u64 duration = now - request->issued, queued = request->issued - request->inserted;

    if (!row)
        return;
    __sync_fetch_and_add(&row->duration[histogram_slot(duration, BLOCK_LOWEST, BLOCK_SLOTS)], 1);
    __sync_fetch_and_add(&row->duration_sum, duration);
    __sync_fetch_and_add(&row->size[histogram_slot(request->bytes, SIZE_LOWEST, SIZE_SLOTS)], 1);
    __sync_fetch_and_add(&row->size_sum, request->bytes);
    if (!request->inserted)
        return;
    __sync_fetch_and_add(&row->queue[histogram_slot(queued, BLOCK_LOWEST, BLOCK_SLOTS)], 1);
    __sync_fetch_and_add(&row->queue_sum, queued);
}

static __always_inline void count_request_error(struct request *request)
{
    struct io_error_key key = {.owner = request->owner, .device = request->device, .operation = request->operation};
    struct io_error_value zero = {}, *row;

    key.error = request->error;
    key.owner.generation = current_generation();
    row = block_errors.lookup_or_try_init(&key, &zero);
    if (row)
        __sync_fetch_and_add(&row->errors, 1);
    else
        count_drop(DROPPED_BLOCK_ERRORS);
}

/* The device may finish a request in parts: it counts once, at the last. */
static __always_inline void request_completed(u64 address, u32 error, u32 bytes)
{
    struct request *request = requests.lookup(&address);

    if (!request || !request->issued)
        return;
    if (error)
        request->error = error;
    request->done += bytes;
    if (request->done < request->bytes)
        return;
    if (!is_left_out(&request->owner)) {
        count_request(request, bpf_ktime_get_ns());
        if (request->error)
            count_request_error(request);
    }
    requests.delete(&address);
}

/* ---- entry points; before 5.11 the request was the second argument: the loader finds it in the
 * kernel's types ---- */

#ifdef HAVE_INSERT_RAW
int insert_raw(struct bpf_raw_tracepoint_args *ctx)
{
    request_inserted(ctx->args[ARG_BLOCK_RQ_INSERT_REQUEST]);
    return 0;
}
#endif

#ifdef HAVE_ISSUE_RAW
int issue_raw(struct bpf_raw_tracepoint_args *ctx)
{
    request_issued(ctx->args[ARG_BLOCK_RQ_ISSUE_REQUEST]);
    return 0;
}
#endif

#ifdef HAVE_REQUEUE_RAW
int requeue_raw(struct bpf_raw_tracepoint_args *ctx)
{
    request_requeued(ctx->args[ARG_BLOCK_RQ_REQUEUE_REQUEST]);
    return 0;
}
#endif

#ifdef HAVE_MERGE_RAW
/* This request has become part of another one. */
int merge_raw(struct bpf_raw_tracepoint_args *ctx)
{
    u64 address = ctx->args[ARG_BLOCK_RQ_MERGE_REQUEST];
    struct request *request = requests.lookup(&address);
    struct io_value *row;

    if (!request)
        return 0;
    row = row_of_request(request);
    if (row)
        __sync_fetch_and_add(&row->merged, 1);
    requests.delete(&address);
    return 0;
}
#endif

#if defined(HAVE_BACK_MERGE_RAW) || defined(HAVE_FRONT_MERGE_RAW)
/* What is asked of the disk has become part of a request that waits: counted for who asks. */
static __always_inline void bio_merged(u64 bio)
{
#ifdef OFFSET_BIO_BI_BDEV
    u64 disk = read_pointer(read_pointer(bio + OFFSET_BIO_BI_BDEV) + OFFSET_BLOCK_DEVICE_BD_DISK);
#else
    u64 disk = read_pointer(bio + OFFSET_BIO_BI_DISK); /* before 5.12 */
#endif
    struct io_key key = {.device = number_of_disk(disk)};
    struct io_value *row;

    key.operation = read_u32(bio + OFFSET_BIO_BI_OPF) & OPERATION_MASK;
    owner_of_current(&key.owner);
    row = io_row(&key);
    if (row)
        __sync_fetch_and_add(&row->merged, 1);
}
#endif

/* Before 5.11 the queue and the request were passed before the bio. */
#ifdef HAVE_BACK_MERGE_RAW
int back_merge_raw(struct bpf_raw_tracepoint_args *ctx)
{
    bio_merged(ctx->args[ARG_BLOCK_BIO_BACKMERGE_BIO]);
    return 0;
}
#endif

#ifdef HAVE_FRONT_MERGE_RAW
int front_merge_raw(struct bpf_raw_tracepoint_args *ctx)
{
    bio_merged(ctx->args[ARG_BLOCK_BIO_FRONTMERGE_BIO]);
    return 0;
}
#endif

/* Error numbers of the block layer's own status codes (blk_errors in block/blk-core.c); those not listed are EIO there
 * too. */
static __always_inline u32 error_of_status(u32 status)
{
    switch (status) {
    case 0: return 0;
    case 1: return 95;  /* BLK_STS_NOTSUPP: EOPNOTSUPP */
    case 2: return 110; /* BLK_STS_TIMEOUT: ETIMEDOUT */
    case 3: return 28;  /* BLK_STS_NOSPC: ENOSPC */
    case 4: return 67;  /* BLK_STS_TRANSPORT: ENOLINK */
    case 5: return 121; /* BLK_STS_TARGET: EREMOTEIO */
    case 6: return 52;  /* BLK_STS_RESV_CONFLICT: EBADE */
    case 7: return 61;  /* BLK_STS_MEDIUM: ENODATA */
    case 8: return 84;  /* BLK_STS_PROTECTION: EILSEQ */
    case 9: return 12;  /* BLK_STS_RESOURCE: ENOMEM */
    case 12: return 11; /* BLK_STS_AGAIN: EAGAIN */
    case 13: return 16; /* BLK_STS_DEV_RESOURCE: EBUSY */
    default: return 5;  /* EIO */
    }
}

#ifdef HAVE_COMPLETE_RAW
int complete_raw(struct bpf_raw_tracepoint_args *ctx)
{
#ifdef ARG_BLOCK_RQ_COMPLETE_BLK_STATUS_T
    u32 error = error_of_status((u8)ctx->args[1]);
#else
    /* Before 5.16 the tracepoint was given a negative error number; the loader finds the type in BTF. */
    u32 error = -(s32)ctx->args[1];
#endif

    request_completed(ctx->args[ARG_BLOCK_RQ_COMPLETE_REQUEST], error, ctx->args[2]);
    return 0;
}
#endif
