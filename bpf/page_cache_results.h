/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PAGE_CACHE_RESULTS_H
#define EBPF_SIDECAR_PAGE_CACHE_RESULTS_H

/* What only the result of a call shows about its lookups. */
#include <asm/ptrace.h>
#include "page_cache_lookups.h"

#define EAGAIN 11

/* A read looks up less than requested if it may not wait (RWF_NOWAIT), or if the file is truncated meanwhile. */
static __always_inline void drop_pages_not_there(struct thread *thread, s64 result)
{
    u64 most = result > 0 ? (result + PAGE_BYTES - 2) / PAGE_BYTES + 1 : 0;

    if ((result > 0 || result == -EAGAIN) && thread->lookups > most)
        thread->lookups = most;
}

#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
#define O_DIRECT 0x10000
#else
#define O_DIRECT 0x4000
#endif

#if !defined(OFFSET_TASK_STRUCT_FILES) || !defined(OFFSET_FILES_STRUCT_FDT) || !defined(OFFSET_FDTABLE_FD) || \
    !defined(OFFSET_FDTABLE_MAX_FDS)
#define file_of_descriptor(descriptor) 0
#endif

static __always_inline bool is_direct(u32 descriptor)
{
#ifdef OFFSET_FILE_F_FLAGS
    u64 file = file_of_descriptor(descriptor);

    return file && read_u32(file + OFFSET_FILE_F_FLAGS) & O_DIRECT;
#else
    return 0;
#endif
}

/* While a read waits for the end of a read-ahead, the kernel (6.12 and newer) uses the pages before it without an
 * event; where functions are probed, a file may have grown since. The call's result is a lower bound of the pages,
 * unless part of it bypassed the cache: some file systems (btrfs) read only the compressed rest of a direct read
 * through it. */
static __always_inline void count_untold_lookups(struct thread *thread, s64 result)
{
    u64 least = ((u64)result + PAGE_BYTES - 1) / PAGE_BYTES, registers;

    if (result <= 0 || !thread->lookups || thread->lookups >= least)
        return;
    registers = registers_of_current();
    if (!is_direct(FIRST_ARGUMENT(registers)) && !is_direct(SECOND_ARGUMENT(registers))) /* sendfile's is the second */
        thread->lookups = least;
}

static __always_inline u64 own_position(u32 descriptor)
{
#ifdef OFFSET_FILE_F_POS
    u64 file = file_of_descriptor(descriptor);

    return file ? read_pointer(file + OFFSET_FILE_F_POS) : 0;
#else
    return 0;
#endif
}

/* Where a call that read from ``descriptor`` ended; ``pointer``: into the program's memory, NULL for the file's own
 * position. */
static __always_inline u64 position_at(u64 pointer, u32 descriptor)
{
    u64 position = 0;

    if (!pointer)
        return own_position(descriptor);
    bpf_probe_read_user(&position, sizeof(position), (void *)pointer);
    return position;
}

/* At which byte a call that returned ``result`` started to read. */
static __always_inline u64 begin_of_call(struct thread *thread, u64 result)
{
    u64 registers = registers_of_current(), offset = FOURTH_ARGUMENT(registers);
    u32 kind = thread->call.cause >> 4;

    if (kind == POSITION_OFFSET && offset != -1ULL) /* preadv2 may pass -1: the file's own */
        return offset;
    if (kind == POSITION_OFFSET || kind == POSITION_OWN)
        return own_position(FIRST_ARGUMENT(registers)) - result;
    if (kind == POSITION_SECOND)
        return position_at(SECOND_ARGUMENT(registers), FIRST_ARGUMENT(registers)) - result;
    if (kind == POSITION_THIRD)
        return position_at(THIRD_ARGUMENT(registers), SECOND_ARGUMENT(registers)) - result;
    return thread->first_page * PAGE_BYTES;
}

/* If the kernel looks up whole blocks, the call's result shows which of their pages it requested. */
static __always_inline void count_without_rounding(struct thread *thread, s64 result)
{
    u64 begin;

    thread->rounded = 0;
    thread->lookups = result != -EAGAIN;
    if (result <= 0)
        return;
    begin = begin_of_call(thread, result);
    thread->first_page = begin / PAGE_BYTES;
    thread->next_page = (begin + result + PAGE_BYTES - 1) / PAGE_BYTES;
    thread->lookups = thread->next_page - thread->first_page;
}

static __always_inline void settle_lookups(struct thread *thread, s64 result)
{
    u32 cause = cause_of_call(&thread->call);

    if (thread->rounded) {
        count_without_rounding(thread, result);
        return;
    }
    if (cause == CAUSE_READ)
        drop_pages_not_there(thread, result);
    if (cause == CAUSE_READ || cause == CAUSE_EITHER)
        count_untold_lookups(thread, result);
}

/* Unreported pages precede the reported ones. */
static __always_inline u64 misses_of_call(struct thread *thread)
{
    u64 told = thread->next_page - thread->first_page, first = thread->first_page;

    if (thread->lookups > told)
        first = thread->next_page - thread->lookups;
    return pages_charged(file_of(thread->mapping), first, first + thread->lookups);
}

#endif
