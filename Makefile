# SPDX-License-Identifier: Apache-2.0
# `make` lists the targets. Each does its own set-up; the second time is quick.
.DEFAULT_GOAL := help
.PHONY: help check-oap-rules run test test-kernel test-peers peers test-unprivileged check docs bench soak kernel-matrix test-fresh clean setup
PYTEST = .venv/bin/python -m pytest
# what workloads of tests and benchmarks are made with
TOOLS = fio gcc libc6-dev e2fsprogs
# side by side, see CONTRIBUTING.md; the last word counts, so that ARGS may say -n 0
PARALLEL = -n $(shell expr $$(nproc) + 1) --dist loadfile --no-loadscope-reorder
COG = -P -I .ci -p "import documents" --verbosity=1
MARKDOWN = $(wildcard *.md */*.md deploy/*/*.md)
SKYWALKING = PYTHONPATH=.ci .venv/bin/python -m skywalking
ARGS ?=
# what Python compiled is kept, whatever the environment says: else each of the thousand processes compiles it anew
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' Makefile

run: ## measure this machine and serve http://127.0.0.1:18080/metrics (without rights: replay a recording)
	@.ci/setup
	@.venv/bin/ebpf-sidecar run --or-replay $(ARGS)

test: ## all tests that need no other program; kernel tests run where root and eBPF are available
	@.ci/setup $(TOOLS)
	@$(PYTEST) $(PARALLEL) -m "not peer" $(ARGS)

test-kernel: ## the tests against the running kernel alone
	@.ci/setup $(TOOLS)
	@$(PYTEST) $(PARALLEL) -m kernel $(ARGS)

test-peers: ## tests against real peers: those of make peers, Debian's Prometheus, and the system's bpftrace and strace
	@.ci/setup $(TOOLS) bpftrace strace xfsprogs btrfs-progs jq openssl
	@.ci/fetch-prometheus
	@PATH="$(CURDIR)/.cache/peers/usr/bin:$$PATH" $(PYTEST) -m peer $(ARGS)

peers: ## build a current Prometheus, an OpenTelemetry Collector and SkyWalking OAP for test-peers, once (ARGS=oap: only it)
	@.ci/setup maven
	@.ci/build-peers $(ARGS)

test-unprivileged: ## the test suite as a user without rights: kernel tests are skipped by name
	@.ci/setup
	@.ci/as-nobody $(PARALLEL) $(ARGS)

check: ## lint, types, formatting, generated documents
	@.ci/setup clang-format
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@MYPYPATH=.ci .venv/bin/mypy .ci/documents .ci/kernels .ci/skywalking
	@clang-format --dry-run --Werror bpf/*.c bpf/*.h
	@.venv/bin/cog $(COG) --check --check-fail-msg="run make docs" $(MARKDOWN)
	@$(SKYWALKING) fresh
	@$(SKYWALKING) check 11

check-oap-rules: ## check rule files for SkyWalking OAP (ARGS="10.4 mine.yaml"), ours by default
	@.ci/setup
	@$(SKYWALKING) check $(or $(ARGS),11)

docs: ## write the generated parts of the READMEs and deploy/skywalking anew
	@.ci/setup
	@.venv/bin/cog $(COG) -r $(MARKDOWN)
	@$(SKYWALKING) write

bench: ## print what the product costs here, against a control in the same run
	@.ci/setup $(TOOLS)
	@for bench in $(filter-out bench/soak.py,$(wildcard bench/*.py)); do echo "== $$bench"; .venv/bin/python $$bench; done

soak: ## let containers come and go for ten minutes (ARGS=1h for longer), and fail if the service grows
	@.ci/setup
	@.venv/bin/python bench/soak.py $(or $(ARGS),10m)

kernel-matrix: ## the selftest on Debian's kernels from 5.10 to the newest (in QEMU), and tests that only a guest survives
	@.ci/setup
	@.ci/setup qemu-system-x86 qemu-system-arm busybox-static kmod e2fsprogs debian-archive-keyring || echo "continuing without them"
	@PYTHONPATH=.ci .venv/bin/python -m kernels $(ARGS)

test-fresh: ## make run and make test in bare Debian 12 and 13 (ARGS="trixie -k rate": only there, only these tests)
	@.ci/setup debootstrap debian-archive-keyring
	@.ci/fresh-root $(ARGS)

clean: ## remove everything that make made
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache
