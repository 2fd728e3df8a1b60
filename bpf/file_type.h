/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_FILE_TYPE_H
#define EBPF_SIDECAR_FILE_TYPE_H

/* What a system call operates on, by the inode of its file descriptor. */
#include <asm/ptrace.h>
#include "thread.h"

/* NONE: the call has no descriptor, or the kernel has no BTF. */
enum file_type { TYPE_NONE, TYPE_FILE, TYPE_BLOCK, TYPE_PIPE, TYPE_SOCKET, TYPE_TTY, TYPE_OTHER };

#if defined(OFFSET_TASK_STRUCT_FILES) && defined(OFFSET_FILES_STRUCT_FDT) && defined(OFFSET_FDTABLE_FD) && \
    defined(OFFSET_FDTABLE_MAX_FDS) && defined(OFFSET_FILE_F_INODE) && defined(OFFSET_INODE_I_MODE) &&     \
    defined(OFFSET_INODE_I_RDEV) && defined(OFFSET_INODE_I_SB) && defined(OFFSET_SUPER_BLOCK_S_MAGIC) &&   \
    defined(OFFSET_ADDRESS_SPACE_HOST)

#define S_IFMT 0xf000
#define S_IFIFO 0x1000
#define S_IFCHR 0x2000
#define S_IFDIR 0x4000
#define S_IFBLK 0x6000
#define S_IFREG 0x8000
#define S_IFSOCK 0xc000

/* File systems whose regular files are kernel interfaces or event descriptors, neither on a disk nor in memory
 * (include/uapi/linux/magic.h, and file systems that define their own number). */
static __always_inline bool is_kernels_own(u32 magic)
{
    switch (magic) {
    case 0x9fa0:     /* proc */
    case 0x62656572: /* sysfs */
    case 0x27e0eb:   /* cgroup */
    case 0x63677270: /* cgroup2 */
    case 0x64626720: /* debugfs */
    case 0x74726163: /* tracefs */
    case 0x73636673: /* securityfs */
    case 0xf97cff8c: /* selinuxfs */
    case 0x43415d53: /* smackfs */
    case 0x5a3c69f0: /* apparmorfs */
    case 0x62656570: /* configfs */
    case 0x6165676c: /* pstore */
    case 0xde5e81e4: /* efivarfs */
    case 0x42494e4d: /* binfmt_misc */
    case 0xcafe4a11: /* bpf */
    case 0x7655821:  /* resctrl */
    case 0x65735543: /* fusectl */
    case 0x19800202: /* mqueue */
    case 0x6e736673: /* nsfs */
    case 0x50494446: /* pidfs */
    case 0x444d4142: /* dma-buf */
    case 0x9041934: /* anon_inode: since 6.17 its inodes have the type of regular files */ return 1;
    default: return 0;
    }
}

/* By the numbers of Documentation/admin-guide/devices.txt: consoles and serial ports, /dev/tty and similar, both ends
 * of pseudo terminals (old and new), ttyACM, ttyUSB, ttyAMA and similar, hvc. */
static __always_inline bool is_terminal(u32 device)
{
    u32 major = device >> 20;

    return major - 2 < 4 || major - 128 < 16 || major == 166 || major == 188 || major == 204 || major == 229;
}

static __always_inline u32 type_of_inode(u64 inode)
{
    switch (read_u32(inode + OFFSET_INODE_I_MODE) & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
        return is_kernels_own(read_u32(read_pointer(inode + OFFSET_INODE_I_SB) + OFFSET_SUPER_BLOCK_S_MAGIC))
                   ? TYPE_OTHER
                   : TYPE_FILE;
    case S_IFBLK: return TYPE_BLOCK;
    case S_IFIFO: return TYPE_PIPE;
    case S_IFSOCK: return TYPE_SOCKET;
    case S_IFCHR: return is_terminal(read_u32(inode + OFFSET_INODE_I_RDEV)) ? TYPE_TTY : TYPE_OTHER;
    default: return TYPE_OTHER;
    }
}

/* OTHER as well if no file is open at that descriptor (any longer). */
static __always_inline u32 type_of_descriptor(u32 descriptor)
{
    u64 file = file_of_descriptor(descriptor);

    return file ? type_of_inode(read_pointer(file + OFFSET_FILE_F_INODE)) : TYPE_OTHER;
}

static __always_inline u32 argument(u64 registers, u32 position)
{
    if (position == 1)
        return FIRST_ARGUMENT(registers);
    return position == 2 ? SECOND_ARGUMENT(registers) : THIRD_ARGUMENT(registers);
}

static __always_inline u32 walk_to_type(u32 descriptor)
{
    u64 registers = registers_of_current();
    u32 type = type_of_descriptor(argument(registers, descriptor & 15));

    return type == TYPE_PIPE && descriptor >> 4 ? type_of_descriptor(argument(registers, descriptor >> 4)) : type;
}

#ifdef PROBE_PAGE_CACHE
/* Pages are looked up for a file or a block device. It is read only once: a mapping is part of its inode, whose memory
 * is reused only for inodes of the same file system. */
static __always_inline u32 type_of_mapping(struct thread *thread)
{
    if (thread->typed_mapping != thread->mapping) {
        thread->mapping_type = type_of_inode(read_pointer(thread->mapping + OFFSET_ADDRESS_SPACE_HOST));
        thread->typed_mapping = thread->mapping;
    }
    return thread->mapping_type;
}
#endif

/* Read when the call returns: if pages were looked up, the table of open files need not be searched. */
static __always_inline u32 type_of_call(struct thread *thread)
{
    if (!thread->call.descriptor)
        return TYPE_NONE;
#ifdef PROBE_PAGE_CACHE
    if (thread->mapping)
        return type_of_mapping(thread);
#endif
    return walk_to_type(thread->call.descriptor);
}

#else
static __always_inline u32 type_of_call(struct thread *thread)
{
    return TYPE_NONE;
}
#endif

#endif
