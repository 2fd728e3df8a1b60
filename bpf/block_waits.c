/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include <asm/ptrace.h>
#include "block_io_key.h"
#include "histogram.h"
#include "lru.h"
#include "near.h"

/* I/O before it becomes a request, by the address of the kernel's bio. */

struct wait_value {
    u64 duration[WAIT_SLOTS];
    u64 duration_sum;
};
BPF_F_TABLE("hash", struct io_key, struct wait_value, block_waits, BLOCK_WAITS_ENTRIES, MAP_FLAGS);
BPF_F_TABLE("hash", struct io_key, struct wait_value, block_limits, BLOCK_LIMITS_ENTRIES, MAP_FLAGS);

/* Fills the zeroed key of the row for a bio's wait; false if it is not measured. */
static __always_inline bool describe_row(struct io_key *key, u64 bio)
{
    describe_bio(key, bio);
    if (is_left_out(&key->owner))
        return 0;
    key->owner.generation = current_generation();
    return 1;
}

/* ``row``: NULL if the map is full; ``dropped``: the reason in that case. */
static __always_inline void count_wait(struct wait_value *row, u64 waited, u32 dropped)
{
    if (!row) {
        count_drop(dropped);
        return;
    }
    __sync_fetch_and_add(&row->duration[histogram_slot(waited, WAIT_LOWEST, WAIT_SLOTS)], 1);
    __sync_fetch_and_add(&row->duration_sum, waited);
}

/* ---- from its arrival until it has a request ---- */

/* The oldest are evicted: a bio that fails in between never gets a request. */
struct asked {
    u64 arrived;
};
BPF_F_TABLE("lru_hash", u64, struct asked, asked, ASKED_ENTRIES, LRU_FLAGS(ASKED_ENTRIES));

struct near_asked {
    u64 key;
    u64 claims;
    struct asked state;
} OWN_CACHE_LINES;
BPF_F_TABLE("array", u32, struct near_asked, near_asked, NEAR_ASKED_ENTRIES, NEAR_FLAGS);

#define GIVEN_UP_NS 60000000000ULL /* a bio that occupies a place for so long has failed */

static __always_inline struct near_asked *place_of_asked(u64 bio)
{
    u32 place = (bio * 0x9e3779b97f4a7c15ULL >> 32) & (NEAR_ASKED_ENTRIES - 1);

    return near_asked.lookup(&place);
}

/* Others (zram, dm, md) pass bios on, and those they keep never get a request. */
static __always_inline bool makes_requests(u64 bio)
{
    u64 queue = read_pointer(disk_of_bio(bio) + OFFSET_GENDISK_QUEUE);

    return read_pointer(queue + OFFSET_REQUEST_QUEUE_MQ_OPS) != 0;
}

/* Before a bio takes up room, make sure that it will free it again. */
static __always_inline void keep_asked(u64 bio)
{
    struct near_asked *near = place_of_asked(bio);
    struct asked fresh = {.arrived = bpf_ktime_get_ns()};
    u64 key = bio ^ NO_WORD, taken = near ? near->key : 0;

    if (near && (taken ? taken == key || fresh.arrived - near->state.arrived > GIVEN_UP_NS : claim(&near->claims))) {
        near->state = fresh;
        near->key = key;
    } else if (makes_requests(bio)) {
        asked.update(&bio, &fresh);
    }
}

/* When it arrived; 0 if that was not seen. */
static __always_inline u64 take_asked(u64 bio)
{
    struct near_asked *near = place_of_asked(bio);
    struct asked *far;
    u64 arrived;

    if (near && near->key == (bio ^ NO_WORD)) {
        arrived = near->state.arrived;
        near->key = 0;
        __sync_fetch_and_add(&near->claims, -1);
        return arrived;
    }
    far = asked.lookup(&bio);
    arrived = far ? far->arrived : 0;
    if (far)
        asked.delete(&bio);
    return arrived;
}

/* Not inlined, so that a bio that did not wait needs no key and no value. */
static __always_inline void count_wait_for_request(u64 bio, u64 waited)
{
    struct wait_value zero = {};
    struct io_key key = {};

    if (describe_row(&key, bio))
        count_wait(block_waits.lookup_or_try_init(&key, &zero), waited, DROPPED_BLOCK_WAITS);
}

static __always_inline void request_made(u64 bio)
{
    u64 arrived = take_asked(bio), waited;

    if (!arrived)
        return;
    waited = bpf_ktime_get_ns() - arrived;
    if (waited >= SHORTEST_WAIT)
        count_wait_for_request(bio, waited);
}

/* ---- until then, if its cgroup has a limit ---- */

#ifdef HAVE_LIMIT_FUNCTION
struct limited {
    u64 since;
    u64 thread;
};
BPF_F_TABLE("lru_hash", u64, struct limited, limited, LIMITED_ENTRIES, LRU_FLAGS(LIMITED_ENTRIES));

int limit_function(struct pt_regs *ctx)
{
    u64 bio = FIRST_PASSED(ctx);
    struct limited fresh = {.since = bpf_ktime_get_ns(), .thread = bpf_get_current_pid_tgid()};
    struct limited *before = limited.lookup(&bio);

    /* Before 5.16 it arrives here again, from the kernel thread that dispatches it. */
    if (!before || before->thread == fresh.thread)
        limited.update(&bio, &fresh);
    return 0;
}

static __always_inline void count_wait_for_limit(u64 bio, u64 waited)
{
    struct wait_value zero = {};
    struct io_key key = {};

    if (describe_row(&key, bio))
        count_wait(block_limits.lookup_or_try_init(&key, &zero), waited, DROPPED_BLOCK_LIMITS);
}

/* A throttled bio is resubmitted by another thread. */
static __always_inline void limit_passed(u64 bio)
{
    struct limited *before = limited.lookup(&bio);
    u64 since;

    if (!before)
        return;
    since = before->thread == bpf_get_current_pid_tgid() ? 0 : before->since;
    limited.delete(&bio);
    if (since)
        count_wait_for_limit(bio, bpf_ktime_get_ns() - since);
}
#endif

/* ---- entry points; before 5.11 the queue was passed first: the loader finds the bio by BTF ---- */

#ifdef HAVE_ARRIVED_RAW
int arrived_raw(struct bpf_raw_tracepoint_args *ctx)
{
    u64 bio = ctx->args[ARG_BLOCK_BIO_QUEUE_BIO];

#ifdef HAVE_LIMIT_FUNCTION
    limit_passed(bio);
#endif
    keep_asked(bio);
    return 0;
}
#endif

#ifdef HAVE_REQUEST_MADE_RAW
int request_made_raw(struct bpf_raw_tracepoint_args *ctx)
{
    request_made(ctx->args[ARG_BLOCK_GETRQ_BIO]);
    return 0;
}
#endif

/* It was merged into an existing request. */
#ifdef HAVE_APPENDED_RAW
int appended_raw(struct bpf_raw_tracepoint_args *ctx)
{
    take_asked(ctx->args[ARG_BLOCK_BIO_BACKMERGE_BIO]);
    return 0;
}
#endif

#ifdef HAVE_PREPENDED_RAW
int prepended_raw(struct bpf_raw_tracepoint_args *ctx)
{
    take_asked(ctx->args[ARG_BLOCK_BIO_FRONTMERGE_BIO]);
    return 0;
}
#endif
