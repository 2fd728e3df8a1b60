/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_LRU_H
#define EBPF_SIDECAR_LRU_H

/* Before 6.16 each processor took 128 free entries of a map that forgets the oldest; where that was not enough for all,
 * the others forgot what they had just put in. There each has its own share of the entries (BPF_F_NO_COMMON_LRU). */
#define LRU_FLAGS(entries) (RELEASE < 616 && 128 * PROCESSORS > (entries) ? 1 << 1 : 0)

#endif
