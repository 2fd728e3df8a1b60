/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_TASK_H
#define EBPF_SIDECAR_TASK_H

#include "owner.h"

/* Fields of the current task. Where a helper gives it with its type (5.11; asked for from 5.15 on, like its registers),
 * a program may load them itself, which costs a nanosecond; asking the kernel to read an address takes about eight. A
 * load that fails gives 0 there as well. In assembler, because BCC would replace loads in C by calls. */
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

#endif
