/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_BLOCK_IO_OWNER_H
#define EBPF_SIDECAR_BLOCK_IO_OWNER_H

/* The owner of I/O: the kernel stores a cgroup in each bio. It is the submitter's, or the one on whose behalf a kernel
 * thread works: writing back its pages, passing its I/O on to the disk below, or submitting it after throttling. */
#include "owner.h"

#if defined(OFFSET_BIO_BI_BLKG) && defined(OFFSET_BLKCG_GQ_BLKCG) && defined(OFFSET_BLKCG_CSS) &&             \
    defined(ENUM_IO_CGRP_ID) && defined(OFFSET_CGROUP_LEVEL) && defined(OFFSET_CGROUP_SUBSYS_STATE_CGROUP) && \
    defined(OFFSET_CGROUP_KN) && defined(OFFSET_KERNFS_NODE_ID) && defined(OFFSET_CSS_SET_SUBSYS) &&          \
    defined(OFFSET_TASK_STRUCT_CGROUPS) && defined(OFFSET_CGROUP_ROOT_HIERARCHY_ID) &&                        \
    defined(OFFSET_CSS_SET_DFL_CGRP) && (defined(OFFSET_CGROUP_ANCESTORS) || defined(OFFSET_CGROUP_ANCESTOR_IDS))
#define BIO_HAS_OWNER

/* If the io controller has its own hierarchy (v1), its ids may mean other directories in ours. They are marked with the
 * highest bit, which no kernfs id has: the reader finds their paths in io's hierarchy. */
#define OF_IO_HIERARCHY (1ULL << 63)
#define SETS_LOOKED_AT 4

static __always_inline u64 id_of_cgroup(u64 cgroup)
{
    return read_pointer(read_pointer(cgroup + OFFSET_CGROUP_KN) + OFFSET_KERNFS_NODE_ID);
}

/* Including the cgroup itself. */
static __always_inline bool is_below(u64 cgroup, u64 above)
{
    u32 level = read_u32(above + OFFSET_CGROUP_LEVEL);

    if (read_u32(cgroup + OFFSET_CGROUP_LEVEL) < level)
        return 0;
#ifdef OFFSET_CGROUP_ANCESTORS
    return read_pointer(cgroup + OFFSET_CGROUP_ANCESTORS + 8 * (u64)level) == above;
#else
    return read_pointer(cgroup + OFFSET_CGROUP_ANCESTOR_IDS + 8 * (u64)level) == id_of_cgroup(above); /* before 6.1 */
#endif
}

#ifdef CGROUP_SUBSYSTEM
/* The cgroup of our hierarchy that contains all processes of a cgroup of io's hierarchy; 0 if there is none, if there
 * are several, or if finding out would take long. */
static __always_inline u64 cgroup_of_its_processes(u64 cgroup)
{
    u64 end = cgroup + OFFSET_CGROUP_CSET_LINKS, at = read_pointer(end), found = 0, one;
    u32 i;

#pragma unroll
    for (i = 0; i < SETS_LOOKED_AT; i++) {
        if (at == end)
            return found;
        one = cgroup_of_set(read_pointer(at - OFFSET_CGRP_CSET_LINK_CSET_LINK + OFFSET_CGRP_CSET_LINK_CSET));
        if (found && found != one)
            return 0;
        found = one;
        at = read_pointer(at);
    }
    return at == end ? found : 0;
}
#endif

static __always_inline u64 number_in_rows(u64 cgroup)
{
#ifdef CGROUP_SUBSYSTEM
    u64 found = cgroup_of_its_processes(cgroup);

    return found ? found : id_of_cgroup(cgroup) | OF_IO_HIERARCHY;
#else
    /* 0 is v2's; io may still have another one, whose ids mean nothing here */
    u32 hierarchy = read_u32(read_pointer(cgroup + OFFSET_CGROUP_ROOT) + OFFSET_CGROUP_ROOT_HIERARCHY_ID);

    return hierarchy ? 0 : id_of_cgroup(cgroup);
#endif
}

/* The bio's cgroup in the hierarchy that rows use; 0 if the submitter is in it or below it: then it is the submitter's
 * own I/O, and the submitter's cgroup is more precise if io is not enabled in it. Usually both share the controller's
 * state. */
static __always_inline u64 cgroup_of_bio(u64 bio)
{
    u64 group = bio ? read_pointer(bio + OFFSET_BIO_BI_BLKG) : 0;
    u64 owner = group ? read_pointer(group + OFFSET_BLKCG_GQ_BLKCG) : 0;
    u64 set = FIELD(current_task(), OFFSET_TASK_STRUCT_CGROUPS);
    u64 state = FIELD(set, OFFSET_CSS_SET_SUBSYS + 8 * ENUM_IO_CGRP_ID), own, cgroup;

    if (!owner || owner + OFFSET_BLKCG_CSS == state)
        return 0;
    cgroup = read_pointer(owner + OFFSET_BLKCG_CSS + OFFSET_CGROUP_SUBSYS_STATE_CGROUP);
#ifdef CGROUP_SUBSYSTEM
    own = FIELD(state, OFFSET_CGROUP_SUBSYS_STATE_CGROUP);
#else
    own = FIELD(set, OFFSET_CSS_SET_DFL_CGRP);
#endif
    return is_below(own, cgroup) ? 0 : number_in_rows(cgroup);
}
#endif

/* Fills a zeroed owner. A bio has no process, so an owner taken from it has no name. */
static __always_inline void owner_of_bio(struct owner *owner, u64 bio)
{
#ifdef BIO_HAS_OWNER
    owner->cgroup = cgroup_of_bio(bio);
    if (owner->cgroup)
        leave_out_unless_target_cgroup(owner);
    else
#endif
        owner_of_current(owner);
}

#endif
