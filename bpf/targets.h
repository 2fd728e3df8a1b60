/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_TARGETS_H
#define EBPF_SIDECAR_TARGETS_H

#include "kernel_reads.h"
#include "owner_key.h"

/* Which owners to measure. None of it is compiled unless the user configured targets. The loader fills the maps before
 * anything is attached; the reader adds cgroups that are created later. An owner that is not a target is all zero: no
 * cgroup has the id 0, so probes need no field for it. */

static __always_inline bool is_left_out(struct owner *owner)
{
#ifdef TARGETS
    return !owner->cgroup;
#else
    return 0;
#endif
}

#ifdef TARGETS
#define PF_KTHREAD 0x00200000
#define CONTROL_TARGETS 1 /* entry of control that the reader increments when it has added a cgroup */

static __always_inline u64 targets_version(void)
{
    u32 entry = CONTROL_TARGETS;
    u64 *version = control.lookup(&entry);

    return version ? *version : 0;
}

#ifdef TARGET_CGROUPS
/* By id: 0 for targets, including cgroups created below them; otherwise only cgroups created below are targets. */
BPF_F_TABLE("hash", u64, u64, target_cgroups, TARGET_CGROUPS_ENTRIES, MAP_FLAGS);

static __always_inline bool is_chosen(u64 cgroup)
{
    u64 *only_below = target_cgroups.lookup(&cgroup);

    return only_below && !*only_below;
}

/* The reader finds a new cgroup only at its next reading: shorter-lived ones would never be measured. */
static __always_inline void choose_below(u64 parent, u64 cgroup)
{
    u64 chosen = 0;

    if (target_cgroups.lookup(&parent))
        target_cgroups.update(&cgroup, &chosen);
}
#endif

#ifdef TARGET_NAMES
struct target_name {
    char comm[16];
};
BPF_F_TABLE("hash", struct target_name, u64, target_names, TARGET_NAMES, 0);
#endif

#ifdef TARGET_NAMESPACES
BPF_F_TABLE("hash", u64, u64, target_namespaces, TARGET_NAMESPACES, 0);

/* Inode of the task's namespace, not of the one for its future children: task_active_pid_ns(). */
static __always_inline u64 pid_namespace_of(u64 task)
{
    u64 pid = read_pointer(task + OFFSET_TASK_STRUCT_THREAD_PID);
    u64 number = pid + OFFSET_PID_NUMBERS + (u64)UPID_BYTES * read_u32(pid + OFFSET_PID_LEVEL);
    u64 space = read_pointer(number + OFFSET_UPID_NS);

    return read_u32(space + OFFSET_PID_NAMESPACE_NS + OFFSET_NS_COMMON_INUM);
}
#endif

static __always_inline bool is_target(u64 task, struct owner *owner)
{
#ifdef TARGET_NAMESPACES
    u64 space;
#endif

#ifdef OFFSET_TASK_STRUCT_FLAGS
    if (read_u32(task + OFFSET_TASK_STRUCT_FLAGS) & PF_KTHREAD)
        return TARGET_KERNEL_THREADS;
#endif
#ifdef TARGET_CGROUPS
    if (!is_chosen(owner->cgroup))
        return 0;
#endif
#ifdef TARGET_NAMES
    if (!target_names.lookup((struct target_name *)owner->comm))
        return 0;
#endif
#ifdef TARGET_NAMESPACES
    space = pid_namespace_of(task);
    if (!target_namespaces.lookup(&space))
        return 0;
#endif
    return 1;
}
#endif

/* To be called when everything but the generation is filled in. */
static __always_inline void leave_out_unless_target(u64 task, struct owner *owner)
{
#ifdef TARGETS
    if (!is_target(task, owner))
        __builtin_memset(owner, 0, sizeof(*owner));
#endif
}

/* The same for an owner known only by its cgroup. */
static __always_inline void leave_out_unless_target_cgroup(struct owner *owner)
{
#if defined(TARGET_NAMES) || defined(TARGET_NAMESPACES)
    __builtin_memset(owner, 0, sizeof(*owner));
#elif defined(TARGET_CGROUPS)
    if (!is_chosen(owner->cgroup))
        __builtin_memset(owner, 0, sizeof(*owner));
#endif
}

#endif
