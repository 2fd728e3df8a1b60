/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PTRACE_H
#define EBPF_SIDECAR_PTRACE_H

/* The registers as the kernel saves them on entry. The layout is part of the kernel's user ABI for both machines, but
 * for what follows pstate: there the kernel keeps it since 4.15. */
#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
struct pt_regs {
    u64 regs[31];
    u64 sp;
    u64 pc;
    u64 pstate;
    u64 orig_x0;
    s32 syscallno;
    u32 unused;
};
#define CALL_NUMBER(saved) ((s32)SAVED(saved, syscallno))
#define USER_ADDRESS(saved) SAVED(saved, pc)
#define USER_STACK(saved) SAVED(saved, sp)
#define FIRST_ARGUMENT(saved) SAVED(saved, orig_x0) /* of a system call; the result takes its register */
#define SECOND_ARGUMENT(saved) SAVED(saved, regs[1])
#define THIRD_ARGUMENT(saved) SAVED(saved, regs[2])
#define FOURTH_ARGUMENT(saved) SAVED(saved, regs[3])
#define IS_32_BIT(saved) (SAVED(saved, pstate) >> 4 & 1) /* PSR_MODE32_BIT */
#define FIRST_PASSED(context) ((context)->regs[0])       /* to a function in the kernel */
#define SECOND_PASSED(context) ((context)->regs[1])
#define FOURTH_PASSED(context) ((context)->regs[3])
#else
struct pt_regs {
    u64 r15, r14, r13, r12, bp, bx;
    u64 r11, r10, r9, r8, ax, cx, dx, si, di;
    u64 orig_ax, ip, cs, flags, sp, ss;
};
#define CALL_NUMBER(saved) ((s32)SAVED(saved, orig_ax))
#define USER_ADDRESS(saved) SAVED(saved, ip)
#define USER_STACK(saved) SAVED(saved, sp)
#define FIRST_ARGUMENT(saved) SAVED(saved, di) /* of a system call */
#define SECOND_ARGUMENT(saved) SAVED(saved, si)
#define THIRD_ARGUMENT(saved) SAVED(saved, dx)
#define FOURTH_ARGUMENT(saved) SAVED(saved, r10)
#define IS_32_BIT(saved) (SAVED(saved, cs) == 0x23) /* __USER32_CS */
#define FIRST_PASSED(context) ((context)->di)       /* to a function in the kernel */
#define SECOND_PASSED(context) ((context)->si)
#define FOURTH_PASSED(context) ((context)->cx)
#endif

/* One register of those saved at an address, 0 where that is unknown. Never all of them: arm64's are 288 bytes, and a
 * program has a stack of 512. */
#define SAVED(saved, name) read_pointer((saved) + __builtin_offsetof(struct pt_regs, name))

#endif
