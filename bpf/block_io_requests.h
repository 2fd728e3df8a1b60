/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_BLOCK_IO_REQUESTS_H
#define EBPF_SIDECAR_BLOCK_IO_REQUESTS_H

#include "block_io_errors.h"
#include "block_io_rows.h"
#include "near.h"

/* A request in flight, by the address of the kernel's struct: addresses survive merges at either end, sectors do not.
 */
struct request {
    struct io_key key;
    u64 inserted; /* 0: was issued to the device without being queued */
    u64 issued;   /* 0: still queued */
    u64 bytes;    /* including what was done before the last issue */
    u64 done;
    u32 error;
    u32 requeued;
};
/* Preallocated: a request often completes on another CPU than it started on, and without preallocation that costs over
 * 300 ns more at either end (measured on 6.18). */
BPF_TABLE("hash", u64, struct request, requests, REQUESTS_ENTRIES);

/* Its near map (near.h). A request is in one place, and nothing else changes that meanwhile. */
struct near_request {
    u64 key;
    u64 claims;
    struct request state;
} OWN_CACHE_LINES;
BPF_F_TABLE("array", u32, struct near_request, near_requests, NEAR_REQUESTS_ENTRIES, NEAR_FLAGS);

static __always_inline struct near_request *place_of_request(u64 address)
{
    u32 place = (address * 0x9e3779b97f4a7c15ULL >> 32) & (NEAR_REQUESTS_ENTRIES - 1);

    return near_requests.lookup(&place);
}

static __always_inline struct request *request_at(u64 address)
{
    struct near_request *near = place_of_request(address);

    return near && near->key == (address ^ NO_WORD) ? &near->state : requests.lookup(&address);
}

/* To be called when it is in neither map yet. */
static __always_inline struct request *keep_request(u64 address, struct request *fresh)
{
    struct near_request *near = place_of_request(address);

    if (near && !near->key && claim(&near->claims)) {
        near->key = address ^ NO_WORD;
        near->state = *fresh;
        return &near->state;
    }
    requests.update(&address, fresh);
    return requests.lookup(&address);
}

static __always_inline void forget_request(u64 address)
{
    struct near_request *near = place_of_request(address);

    if (!near || near->key != (address ^ NO_WORD)) {
        requests.delete(&address);
        return;
    }
    near->key = 0;
    __sync_fetch_and_add(&near->claims, -1);
}

/* The needed fields of the kernel's request. */
struct seen {
    u64 queue;
    u64 bio;
    u32 flags;
    u32 bytes;
};

#define HEAD 64 /* bytes: one read takes no longer than one of a single field */
#if OFFSET_REQUEST_Q <= HEAD - 8 && OFFSET_REQUEST_BIO <= HEAD - 8 && OFFSET_REQUEST_CMD_FLAGS <= HEAD - 4 && \
    OFFSET_REQUEST_DATA_LEN <= HEAD - 4
static __always_inline void look_at(struct seen *seen, u64 address)
{
    u64 head[HEAD / 8] = {};
    char *at = (char *)head;

    bpf_probe_read_kernel(head, HEAD, (void *)address);
    seen->queue = *(u64 *)(at + OFFSET_REQUEST_Q);
    seen->bio = *(u64 *)(at + OFFSET_REQUEST_BIO);
    seen->flags = *(u32 *)(at + OFFSET_REQUEST_CMD_FLAGS);
    seen->bytes = *(u32 *)(at + OFFSET_REQUEST_DATA_LEN);
}
#else
static __always_inline void look_at(struct seen *seen, u64 address)
{
    seen->queue = read_pointer(address + OFFSET_REQUEST_Q);
    seen->bio = read_pointer(address + OFFSET_REQUEST_BIO);
    seen->flags = read_u32(address + OFFSET_REQUEST_CMD_FLAGS);
    seen->bytes = read_u32(address + OFFSET_REQUEST_DATA_LEN);
}
#endif

static __always_inline u32 device_of(u64 address, u64 queue)
{
#ifdef OFFSET_REQUEST_RQ_DISK
    return number_of_disk(read_pointer(address + OFFSET_REQUEST_RQ_DISK));
#else
    /* The disk moved from the request to its queue in 5.17. */
    return number_of_disk(read_pointer(queue + OFFSET_REQUEST_QUEUE_DISK));
#endif
}

static __always_inline void describe_request(struct request *fresh, u64 address, struct seen *seen)
{
    look_at(seen, address);
    owner_of_bio(&fresh->key.owner, seen->bio);
    fresh->key.device = device_of(address, seen->queue);
    fresh->key.operation = seen->flags & OPERATION_MASK;
}

/* The kernel reuses the address although no completion was seen: programs can miss events. */
static __always_inline void count_unfinished(struct request *before)
{
    struct io_value *row;

    if (!before->issued)
        return;
    count_drop(DROPPED_COMPLETIONS);
    row = io_row(&before->key);
    if (row)
        __sync_fetch_and_add(&row->lost, 1);
}

static __always_inline struct request *keep_or_replace(u64 address, struct request *before, struct request *fresh)
{
    if (before) {
        count_unfinished(before);
        *before = *fresh;
        return before;
    }
    before = keep_request(address, fresh);
    if (!before)
        count_drop(DROPPED_REQUESTS);
    return before;
}

static __always_inline void request_inserted(u64 address)
{
    struct request fresh = {}, *before = request_at(address);
    struct seen seen;

    /* A request that is requeued keeps its owner and its first time. */
    if (before && before->requeued)
        return;
    describe_request(&fresh, address, &seen);
    fresh.inserted = bpf_ktime_get_ns();
    keep_or_replace(address, before, &fresh);
}

static __always_inline void count_issued(struct request *request, u64 address)
{
    struct io_value *row = io_row(&request->key);

    if (row)
        __sync_fetch_and_add(&row->issued, 1);
    request->requeued = 0;
    request->bytes = request->done + read_u32(address + OFFSET_REQUEST_DATA_LEN);
    request->issued = bpf_ktime_get_ns();
}

/* A request that was not queued. */
static __always_inline void request_issued_at_once(u64 address, struct request *before)
{
    struct request fresh = {};
    struct seen seen;

    describe_request(&fresh, address, &seen);
    before = keep_or_replace(address, before, &fresh);
    if (before)
        count_issued(before, address);
}

static __always_inline void request_issued(u64 address)
{
    struct request *request = request_at(address);

    if (request && !request->issued)
        count_issued(request, address);
    else
        request_issued_at_once(address, request);
}

static __always_inline void request_requeued(u64 address)
{
    struct request *request = request_at(address);
    struct io_value *row;

    if (!request)
        return;
    row = request->issued ? io_row(&request->key) : NULL;
    if (row)
        __sync_fetch_and_add(&row->requeued, 1);
    request->requeued = 1;
    request->issued = 0;
}

static __always_inline void count_request(struct request *request, u64 now)
{
    struct io_value *row = io_row(&request->key);
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
    struct io_error_key key = {.io = request->key, .error = request->error};
    struct io_error_value zero = {}, *row;

    key.io.owner.generation = current_generation();
    row = block_errors.lookup_or_try_init(&key, &zero);
    if (row)
        __sync_fetch_and_add(&row->errors, 1);
    else
        count_drop(DROPPED_BLOCK_ERRORS);
}

/* The block layer immediately fails a request that it was about to issue to a device that is gone: the submitter is
 * still running. A pure flush request is never issued itself; its flush was, and is already counted as an error. */
static __always_inline void request_failed_at_once(u64 address, u32 error)
{
    struct request fresh = {.error = error};
    struct seen seen;

    describe_request(&fresh, address, &seen);
    if (seen.bytes && !is_left_out(&fresh.key.owner))
        count_request_error(&fresh);
}

/* The device may complete a request in parts, and requeue it in between: it counts once, as a whole, when the last part
 * completes. The block layer may fail a request that it never issued: that is an error without a duration. */
static __always_inline void request_completed(u64 address, u32 error, u32 bytes)
{
    struct request *request = request_at(address);

    if (!request) {
        if (error)
            request_failed_at_once(address, error);
        return;
    }
    if (error)
        request->error = error;
    request->done += bytes;
    if (request->done < request->bytes)
        return;
    if (!is_left_out(&request->key.owner)) {
        if (request->issued)
            count_request(request, bpf_ktime_get_ns());
        if (request->error)
            count_request_error(request);
    }
    forget_request(address);
}

#endif
