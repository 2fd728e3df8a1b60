/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef EBPF_SIDECAR_PTRACE_H
#define EBPF_SIDECAR_PTRACE_H

/* The registers as the kernel saves them on entry. The layout is part of the kernel's user ABI for both machines. */
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
#define CALL_NUMBER(regs) ((s32)(regs)->syscallno)
#define USER_ADDRESS(regs) ((regs)->pc)
#define USER_STACK(regs) ((regs)->sp)
#define FOURTH_ARGUMENT(regs) ((regs)->regs[3])
#define FIRST_PASSED(regs) ((regs)->regs[0]) /* to a function in the kernel */
#define SECOND_PASSED(regs) ((regs)->regs[1])
#define FOURTH_PASSED(regs) ((regs)->regs[3])
#define IS_32_BIT(regs) ((regs)->pstate & 0x10) /* PSR_MODE32_BIT */
#else
struct pt_regs {
    u64 r15, r14, r13, r12, bp, bx;
    u64 r11, r10, r9, r8, ax, cx, dx, si, di;
    u64 orig_ax, ip, cs, flags, sp, ss;
};
#define CALL_NUMBER(regs) ((s32)(regs)->orig_ax)
#define USER_ADDRESS(regs) ((regs)->ip)
#define USER_STACK(regs) ((regs)->sp)
#define FOURTH_ARGUMENT(regs) ((regs)->r10)
#define FIRST_PASSED(regs) ((regs)->di) /* to a function in the kernel */
#define SECOND_PASSED(regs) ((regs)->si)
#define FOURTH_PASSED(regs) ((regs)->cx)
#define IS_32_BIT(regs) ((regs)->cs == 0x23) /* __USER32_CS */
#endif

#endif
