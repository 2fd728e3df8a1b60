/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_TASK_H
#define EBPF_SIDECAR_TASK_H

#include "owner.h"

/* Fields of the current task. If a helper returns it with its type (5.11; used from 5.15 on, like its registers), a
 * program may load them directly, which costs a nanosecond; having the kernel read an address takes about eight. A
 * failing load gives 0 there as well. In assembler, because BCC would replace loads in C with calls. */
#ifdef HAVE_TASK_PT_REGS
#define LOAD(bits, address, offset)                                                                      \
    ({                                                                                                   \
        u64 loaded;                                                                                      \
        asm volatile("%0 = *(u" #bits " *)(%1 + %2)" : "=r"(loaded) : "r"((u64)(address)), "i"(offset)); \
        loaded;                                                                                          \
    })
#define CURRENT_TASK() ((u64)bpf_get_current_task_btf())
#else
#define LOAD(bits, address, offset) read_u##bits((address) + (offset))
#define CURRENT_TASK() bpf_get_current_task()
#define read_u64 read_pointer
#endif

static __always_inline u32 task_u32(u32 offset)
{
    return LOAD(32, CURRENT_TASK(), offset);
}

static __always_inline u64 task_u64(u32 offset)
{
    return LOAD(64, CURRENT_TASK(), offset);
}

#if defined(OFFSET_TASK_STRUCT_FILES) && defined(OFFSET_FILES_STRUCT_FDT) && defined(OFFSET_FDTABLE_FD) && \
    defined(OFFSET_FDTABLE_MAX_FDS)
/* The current task's open file at that descriptor, 0 if none. A table that grows is replaced as a whole: the size that
 * bounds the lookup belongs to the same table. */
static __always_inline u64 file_of_descriptor(u32 descriptor)
{
    u64 files = LOAD(64, CURRENT_TASK(), OFFSET_TASK_STRUCT_FILES);
    u64 table = LOAD(64, files, OFFSET_FILES_STRUCT_FDT);

    if (descriptor >= LOAD(32, table, OFFSET_FDTABLE_MAX_FDS))
        return 0;
    return read_pointer(read_pointer(table + OFFSET_FDTABLE_FD) + 8 * (u64)descriptor);
}
#endif

#endif
