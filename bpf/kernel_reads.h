/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_KERNEL_READS_H
#define EBPF_SIDECAR_KERNEL_READS_H

/* Reads kernel memory by address, and the current task's by its type. */

static __always_inline u64 read_pointer(u64 address)
{
    u64 value = 0;

    bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
    return value;
}

static __always_inline u32 read_u32(u64 address)
{
    u32 value = 0;

    bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
    return value;
}

#if RELEASE >= 511
/* The current task, and a field of it or of what it points to: the verifier knows their types, so each read is one
 * instruction. A read by address takes about 10 ns (measured on 6.18). */
#define current_task() ((u64)bpf_get_current_task_btf())
#define FIELD(address, offset)                                                            \
    ({                                                                                    \
        u64 value;                                                                        \
        asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(value) : "r"(address), "i"(offset)); \
        value;                                                                            \
    })
#else
#define current_task() bpf_get_current_task()
#define FIELD(address, offset) read_pointer((address) + (offset))
#endif

#endif
