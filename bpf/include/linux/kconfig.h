/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* BCC includes this file first in every program. Stand-in: no kernel headers are needed or used. */
#ifndef EBPF_SIDECAR_KCONFIG_H
#define EBPF_SIDECAR_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1
#define __always_inline inline __attribute__((always_inline))

#endif
