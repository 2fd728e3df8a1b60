/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_BLOCK_IO_REQUESTS_H
#define EBPF_SIDECAR_BLOCK_IO_REQUESTS_H

#include "block_io_rows.h"
#include "block_io_errors.h"

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

#endif
