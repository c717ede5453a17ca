//! The registers of the machine, by the numbers that unwind tables use. The one
//! place that knows which machine it is.

/// Registers that unwinding needs: 16, and the return address.
pub(super) const REGISTERS: usize = 17;

#[cfg(target_arch = "x86_64")]
mod this {
    /// The stack pointer's and the return address's number.
    pub(in super::super) const STACK_POINTER: usize = 7;
    pub(in super::super) const RETURN_ADDRESS: usize = 16;
    pub(in super::super) const CAN_UNWIND: bool = true;

    /// By number: rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15, rip.
    pub(in super::super) fn registers(context: &libc::ucontext_t) -> [u64; super::REGISTERS] {
        use libc::{
            REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP,
            REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP,
        };
        [
            REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8, REG_R9,
            REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP,
        ]
        .map(|index| context.uc_mcontext.gregs[index as usize] as u64)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod this {
    pub(in super::super) const STACK_POINTER: usize = 0;
    pub(in super::super) const RETURN_ADDRESS: usize = 0;
    pub(in super::super) const CAN_UNWIND: bool = false;

    pub(in super::super) fn registers(_: &libc::ucontext_t) -> [u64; super::REGISTERS] {
        [0; super::REGISTERS]
    }
}

pub(super) use this::{CAN_UNWIND, RETURN_ADDRESS, STACK_POINTER, registers};
