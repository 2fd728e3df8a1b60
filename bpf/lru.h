/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_LRU_H
#define EBPF_SIDECAR_LRU_H

/* Before 6.16 each CPU reserved 128 free entries of an LRU map; if there were not enough for all, the other CPUs
 * evicted what they had just added. On such kernels each CPU has its own LRU list (BPF_F_NO_COMMON_LRU). */
#define LRU_FLAGS(entries) (RELEASE < 616 && 128 * PROCESSORS > (entries) ? 1 << 1 : 0)

#endif
