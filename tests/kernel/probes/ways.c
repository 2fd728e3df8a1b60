/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#include "owner.h"
#include <asm/ptrace.h>

enum way { WAY_KPROBE, WAY_KRETPROBE, WAY_FENTRY, WAY_FEXIT, WAY_PERF_EVENT };

struct way_key {
  struct owner owner;
  u64 way;
};

struct way_value {
  u64 runs;
};
BPF_F_TABLE("hash", struct way_key, struct way_value, way_stats,
            WAY_STATS_ENTRIES, MAP_FLAGS);

static __always_inline int came_by(u64 way) {
  struct way_value zero = {}, *row;
  struct way_key key = {.way = way};

  owner_of_current(&key.owner);
  key.owner.generation = current_generation();
  row = way_stats.lookup_or_try_init(&key, &zero);
  if (row)
    __sync_fetch_and_add(&row->runs, 1);
  return 0;
}

#ifdef HAVE_BY_KPROBE
int by_kprobe(struct pt_regs *ctx) { return came_by(WAY_KPROBE); }
#endif

#ifdef HAVE_BY_KRETPROBE
int by_kretprobe(struct pt_regs *ctx) { return came_by(WAY_KRETPROBE); }
#endif

#ifdef HAVE_ENTERS_VFS_READ
int enters_vfs_read(u64 *passed) { return came_by(WAY_FENTRY); }
#endif

#ifdef HAVE_LEAVES_VFS_READ
int leaves_vfs_read(u64 *passed) { return came_by(WAY_FEXIT); }
#endif

#ifdef HAVE_BY_PERF_EVENT
int by_perf_event(struct bpf_perf_event_data *ctx) {
  return came_by(WAY_PERF_EVENT);
}
#endif
