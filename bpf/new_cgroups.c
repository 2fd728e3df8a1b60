/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Cgroups as they are created: many are gone before the reader could find their directories. The tracepoint's own path
 * is not used: it starts at the root of the hierarchy, which a reader in a cgroup namespace does not see, and is
 * truncated to 1024 bytes. The reader builds the path as it sees it from the parent's id and the name. */
#include "owner.h"

#define CGROUP_NAME_WORDS 32 /* NAME_MAX and a NUL */

struct new_cgroup {
    u64 parent;
    u64 name[CGROUP_NAME_WORDS];
};

/* By id. Entries are only ever added here, and removed by the reader once it has read them. */
BPF_F_TABLE("hash", u64, struct new_cgroup, new_cgroups, NEW_CGROUPS_ENTRIES, MAP_FLAGS);

#if defined(HAVE_CGROUP_MADE) || defined(HAVE_PROCESS_MOVED)
#define OF_ANOTHER_HIERARCHY (1ULL << 63) /* as in block_io_owner.h; all bits set: ignored */

#ifdef CGROUP_SUBSYSTEM
static __always_inline u64 root_of_current(u32 subsystem)
{
    u64 set = read_pointer(bpf_get_current_task() + OFFSET_TASK_STRUCT_CGROUPS);
    u64 state = read_pointer(set + OFFSET_CSS_SET_SUBSYS + 8 * subsystem);

    return read_pointer(read_pointer(state + OFFSET_CGROUP_SUBSYS_STATE_CGROUP) + OFFSET_CGROUP_ROOT);
}
#endif

/* The event fires once for every hierarchy: 0 for ours, otherwise the mark of the other one's ids. */
static __always_inline u64 mark_of_hierarchy(u64 cgroup)
{
    u64 root = read_pointer(cgroup + OFFSET_CGROUP_ROOT);
#ifdef CGROUP_SUBSYSTEM
    if (root == root_of_current(CGROUP_SUBSYSTEM))
        return 0;
#if defined(PROBE_BLOCK_IO) && defined(ENUM_IO_CGRP_ID)
    if (root == root_of_current(ENUM_IO_CGRP_ID))
        return OF_ANOTHER_HIERARCHY;
#endif
    return ~0ULL;
#else
    return read_u32(root + OFFSET_CGROUP_ROOT_HIERARCHY_ID) ? ~0ULL : 0;
#endif
}
#endif

#ifdef HAVE_CGROUP_MADE
static __always_inline u64 directory_of_cgroup(u64 cgroup)
{
    return read_pointer(cgroup + OFFSET_CGROUP_KN);
}

static __always_inline u64 parent_of_cgroup(u64 cgroup)
{
    u64 state = read_pointer(cgroup + OFFSET_CGROUP_SELF + OFFSET_CGROUP_SUBSYS_STATE_PARENT);

    return read_pointer(state + OFFSET_CGROUP_SUBSYS_STATE_CGROUP);
}

/* It runs with interrupts disabled, so that the kernel never skips it because of another run. */
int cgroup_made(struct bpf_raw_tracepoint_args *ctx)
{
    u64 cgroup = ctx->args[ARG_CGROUP_MKDIR_CGROUP], mark = mark_of_hierarchy(cgroup), directory, id;
    struct new_cgroup made = {};

    if (!~mark)
        return 0;
    directory = directory_of_cgroup(cgroup);
    id = mark | read_pointer(directory + OFFSET_KERNFS_NODE_ID);
    made.parent = mark | read_pointer(directory_of_cgroup(parent_of_cgroup(cgroup)) + OFFSET_KERNFS_NODE_ID);
    bpf_probe_read_kernel_str(made.name, sizeof(made.name), (void *)read_pointer(directory + OFFSET_KERNFS_NODE_NAME));
    if (new_cgroups.update(&id, &made)) {
        count_drop(DROPPED_NEW_CGROUPS);
        return 0; /* the reader could not remove it from the targets again */
    }
#ifdef TARGET_CGROUPS
    choose_below(made.parent, id);
#endif
    return 0;
}
#endif
