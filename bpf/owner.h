/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_OWNER_H
#define EBPF_SIDECAR_OWNER_H

#include "kernel_reads.h"
#include "owner_key.h"
#include "targets.h"

/* The owner of the current event. */

#if defined(CGROUP_SUBSYSTEM) || defined(OFFSET_CSS_SET_DFL_CGRP)
/* Inode of the cgroup's directory in the hierarchy that identifies containers. kernfs ids are inode numbers since 5.5.
 */
static __always_inline u64 cgroup_of_set(u64 set)
{
#ifdef CGROUP_SUBSYSTEM
    u64 state = read_pointer(set + OFFSET_CSS_SET_SUBSYS + 8 * CGROUP_SUBSYSTEM);
    u64 cgroup = read_pointer(state + OFFSET_CGROUP_SUBSYS_STATE_CGROUP);
#else
    u64 cgroup = read_pointer(set + OFFSET_CSS_SET_DFL_CGRP);
#endif
    u64 node = read_pointer(cgroup + OFFSET_CGROUP_KN);

    return read_pointer(node + OFFSET_KERNFS_NODE_ID);
}

static __always_inline u64 cgroup_of_task(u64 task)
{
    return cgroup_of_set(read_pointer(task + OFFSET_TASK_STRUCT_CGROUPS));
}
#endif

static __always_inline u64 cgroup_of_current(void)
{
#ifdef CGROUP_SUBSYSTEM
    /* the helper knows only v2 */
    u64 set = FIELD(current_task(), OFFSET_TASK_STRUCT_CGROUPS);
    u64 cgroup = FIELD(FIELD(set, OFFSET_CSS_SET_SUBSYS + 8 * CGROUP_SUBSYSTEM), OFFSET_CGROUP_SUBSYS_STATE_CGROUP);

    return FIELD(FIELD(cgroup, OFFSET_CGROUP_KN), OFFSET_KERNFS_NODE_ID);
#else
    return bpf_get_current_cgroup_id();
#endif
}

/* All kernel workers such as "kworker/3:1H" are one row: they come and go by the hundred and work for any submitter. */
static __always_inline void merge_kernel_workers(char *comm)
{
    u64 *words = (u64 *)comm;

    if (words[0] == 0x2f72656b726f776bULL) { /* "kworker/", little-endian */
        words[0] = 0x0072656b726f776bULL;
        words[1] = 0;
    }
}

#if defined(OFFSET_TASK_STRUCT_GROUP_LEADER) && defined(OFFSET_TASK_STRUCT_COMM)
static __always_inline void name_of_task(u64 task, char *comm)
{
    u64 leader = read_pointer(task + OFFSET_TASK_STRUCT_GROUP_LEADER);

    bpf_probe_read_kernel_str(comm, 16, (void *)(leader + OFFSET_TASK_STRUCT_COMM));
}
#endif

/* The name of the process, not of the thread: a JVM names each thread, and each name would become a row. */
static __always_inline void name_of_current_process(struct owner *owner)
{
    char comm[16] __attribute__((aligned(8))) = {}; /* nothing of a longer, former name may remain after the end */

#if defined(OFFSET_TASK_STRUCT_GROUP_LEADER) && defined(OFFSET_TASK_STRUCT_COMM)
    u64 leader = FIELD(current_task(), OFFSET_TASK_STRUCT_GROUP_LEADER);

#if RELEASE >= 517 /* since then nothing remains after the end in the kernel either */
    ((u64 *)comm)[0] = FIELD(leader, OFFSET_TASK_STRUCT_COMM);
    ((u64 *)comm)[1] = FIELD(leader, OFFSET_TASK_STRUCT_COMM + 8);
#else
    bpf_probe_read_kernel_str(comm, sizeof(comm), (void *)(leader + OFFSET_TASK_STRUCT_COMM));
#endif
#else
    bpf_get_current_comm(comm, sizeof(comm));
#endif
    merge_kernel_workers(comm);
    __builtin_memcpy(owner->comm, comm, sizeof(comm));
}

/* Fills a zeroed owner for the current task, except for the generation: that is set just before a key is used. */
static __always_inline void owner_of_current(struct owner *owner)
{
    owner->cgroup = cgroup_of_current();
#ifdef KEY_BY_PROCESS
    owner->tgid = bpf_get_current_pid_tgid() >> 32;
#endif
    name_of_current_process(owner);
    leave_out_unless_target(bpf_get_current_task(), owner);
}

#endif
