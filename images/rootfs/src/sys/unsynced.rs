//! What is written in a sandbox does not wait for the disk.
//!
//! dpkg has each step of each package written to the disk before it goes on, so that a machine survives being switched off meanwhile.
//! A tree that is being made is not used before it is whole, and whoever gives it its name has all of it written at once; until
//! then the waiting (some hundred times in a minimal system) buys nothing. So the kernel is told to answer these system calls with
//! success and do nothing (seccomp(2); systemd-nspawn(1) has it as `--suppress-sync`).

use std::io;

use super::check;

/// How this machine's programs call the kernel (`AUDIT_ARCH_*` of linux/audit.h). Those of another kind, 32-bit ones say, have other
/// numbers for system calls: theirs are carried out.
const KIND: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };

/// What waits for the disk.
const WAITING: [libc::c_long; 6] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_msync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
];

/// Has this process, and whatever it starts, wait for no disk. It must be privileged: without, the kernel asks that no program inside
/// can gain rights that its caller lacks, as `su` does.
pub(super) fn wait_for_no_disk() -> io::Result<()> {
    const ALLOW: u8 = WAITING.len() as u8 + 3;
    let load = |field| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, field);
    let answer = |what| statement(libc::BPF_RET | libc::BPF_K, what);
    // Success: an error of the number 0.
    let mut filter = [answer(libc::SECCOMP_RET_ERRNO); ALLOW as usize + 2];
    // `struct seccomp_data` begins with the system call's number; the kind comes then. Jumps count from the next statement.
    let [number, kind] = [0, 4];
    filter[0] = load(kind);
    filter[1] = equals(KIND, 0, ALLOW - 2);
    filter[2] = load(number);
    for (place, call) in (3..).zip(WAITING) {
        filter[usize::from(place)] = equals(call as u32, ALLOW - place, 0);
    }
    filter[usize::from(ALLOW)] = answer(libc::SECCOMP_RET_ALLOW);
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the pointer is to a program whose length is right; the kernel copies it.
    let set =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    match check(set) {
        // A kernel without filters: slower, and no less right.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        set => set,
    }
}

const fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Goes on `yes` statements further where what was loaded is `value`, and else `no` further.
const fn equals(value: u32, yes: u8, no: u8) -> libc::sock_filter {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    libc::sock_filter { code, jt: yes, jf: no, k: value }
}
