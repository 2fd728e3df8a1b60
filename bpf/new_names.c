/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Processes whose name the kernel may have truncated: its 15 bytes can be the start of several programs' names.
 * Programs are recorded when they start, with the end of their path, which has the full name; so are processes that
 * take such a name, or move to a cgroup with it, in another way. */
#include "owner.h"

#define PATH_BYTES 256 /* more than a file name and a NUL */

struct new_name {
    struct owner owner; /* its generation is 0 */
    char path[PATH_BYTES];
};

/* How often. Without a path: how many more processes took the name than programs with it started. */
BPF_F_TABLE("hash", struct new_name, u64, new_names, NEW_NAMES_ENTRIES, MAP_FLAGS);

static __always_inline bool may_be_cut(struct owner *owner)
{
    return owner->comm[14];
}

static __always_inline void note_name(struct new_name *name, s64 times)
{
    u64 none = 0, *count = new_names.lookup_or_try_init(name, &none);

    if (count)
        __sync_fetch_and_add(count, times);
    else
        count_drop(DROPPED_NEW_NAMES);
}

/* Everything but the name. Targets are not checked: it may take another name, or be moved. */
static __always_inline void place_of_current(struct owner *owner)
{
    owner->cgroup = cgroup_of_current();
#ifdef KEY_BY_PROCESS
    owner->tgid = bpf_get_current_pid_tgid() >> 32;
#endif
}

/* BCC defines a tracepoint's struct for each function that takes it, so only one may: the one in call.c, or else one
 * that is never called. */
#if defined(HAVE_PROGRAM_STARTS) && !defined(HAVE_PROGRAM_CHANGES)
int defines_exec(struct tracepoint__sched__sched_process_exec *args)
{
    return 0;
}
#endif

#if defined(HAVE_NAME_TAKEN) && !defined(HAVE_NAME_CHANGES)
int defines_rename(struct tracepoint__task__task_rename *args)
{
    return 0;
}
#endif

#ifdef HAVE_PROGRAM_STARTS
int program_starts(void *ctx)
{
    struct tracepoint__sched__sched_process_exec *args = ctx;
    struct new_name name = {};
    u32 length, start;

    name_of_current_process(&name.owner);
    if (!may_be_cut(&name.owner))
        return 0;
    place_of_current(&name.owner);
    length = (u32)args->data_loc_filename >> 16;
    start = (u32)args->data_loc_filename & 0xffff;
    if (length > PATH_BYTES)
        start += length - PATH_BYTES;
    bpf_probe_read_kernel_str(name.path, sizeof(name.path), (char *)args + start);
    note_name(&name, 1);
    __builtin_memset(name.path, 0, sizeof(name.path));
    note_name(&name, -1); /* it took the name just before */
    return 0;
}
#endif

#ifdef HAVE_NAME_TAKEN
int name_taken(void *ctx)
{
    struct tracepoint__task__task_rename *args = ctx;
#ifdef FIELD_TASK_RENAME_PID
    u32 tid = args->pid;
#else
    u32 tid = bpf_get_current_pid_tgid();
#endif
    struct new_name name = {};

    bpf_probe_read_kernel_str(name.owner.comm, sizeof(name.owner.comm), args->newcomm);
    if (!may_be_cut(&name.owner) || tid != bpf_get_current_pid_tgid() >> 32)
        return 0;
    place_of_current(&name.owner);
    note_name(&name, 1);
    return 0;
}
#endif

#ifdef HAVE_PROCESS_MOVED
/* Which program it is was recorded elsewhere. Ids of other hierarchies than ours are of no use. */
int process_moved(struct bpf_raw_tracepoint_args *ctx)
{
    u64 cgroup = ctx->args[ARG_CGROUP_ATTACH_TASK_CGROUP], task = ctx->args[ARG_CGROUP_ATTACH_TASK_TASK_STRUCT];
    struct new_name name = {};

    name_of_task(task, name.owner.comm);
    if (!may_be_cut(&name.owner))
        return 0;
    name.owner.cgroup = read_pointer(read_pointer(cgroup + OFFSET_CGROUP_KN) + OFFSET_KERNFS_NODE_ID);
#ifdef KEY_BY_PROCESS
    name.owner.tgid = read_u32(task + OFFSET_TASK_STRUCT_TGID);
#endif
    if (!mark_of_hierarchy(cgroup)) /* in new_cgroups.c, which precedes this file */
        note_name(&name, 1);
    return 0;
}
#endif
