/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_VERSION_H
#define EBPF_SIDECAR_VERSION_H

/* Only BCC's choice of helpers depends on it; from 5.5 on they are the same. The loader's macros say what this kernel
 * has. */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#ifndef LINUX_VERSION_CODE
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 10, 0)
#endif

#endif
