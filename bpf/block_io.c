/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include "block_io_requests.h"

/* ---- entry points; before 5.11 the request was the second argument: the loader finds it by BTF ---- */

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

#ifdef HAVE_COMPLETE_RAW
int complete_raw(struct bpf_raw_tracepoint_args *ctx)
{
#ifdef ARG_BLOCK_RQ_COMPLETE_BLK_STATUS_T
    u32 error = error_of_status((u8)ctx->args[1]);
#else
    /* Before 5.16 the tracepoint passed a negative error number; the loader finds the type in BTF. */
    u32 error = -(s32)ctx->args[1];
#endif

    request_completed(ctx->args[ARG_BLOCK_RQ_COMPLETE_REQUEST], error, ctx->args[2]);
    return 0;
}
#endif

#ifdef HAVE_MERGE_RAW
/* This request was merged into another one, perhaps before it was queued. */
int merge_raw(struct bpf_raw_tracepoint_args *ctx)
{
    u64 address = ctx->args[ARG_BLOCK_RQ_MERGE_REQUEST];
    struct request fresh = {}, *request = request_at(address);
    struct io_value *row;
    struct seen seen;

    if (!request)
        describe_request(&fresh, address, &seen);
    row = io_row(request ? &request->key : &fresh.key);
    if (row)
        __sync_fetch_and_add(&row->merged, 1);
    if (request)
        forget_request(address);
    return 0;
}
#endif

#if defined(HAVE_BACK_MERGE_RAW) || defined(HAVE_FRONT_MERGE_RAW)
/* A bio was merged into a waiting request: counted for the submitter. */
static __always_inline void bio_merged(u64 bio)
{
    struct io_key key = {};
    struct io_value *row;

    describe_bio(&key, bio);
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
