docker run --rm --user 0 --read-only -v /tmp --pid host --cap-drop ALL \
  --cap-add BPF \
  --cap-add PERFMON \
  --security-opt no-new-privileges \
  -v /sys/kernel/tracing:/sys/kernel/tracing:ro \
  -v /sys/fs/cgroup:/sys/fs/cgroup:ro \
  ebpf-sidecar
