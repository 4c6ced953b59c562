//! The network of a sandbox: its own machine, and nobody else.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

/// Switches on the interface that leads to this machine itself. A new network namespace has it, but down, and then some programs
/// find no network interface at all and give up: Postfix's `newaliases`, which its postinst runs, makes no database.
pub(super) fn switch_on() -> io::Result<()> {
    // SAFETY: the call takes numbers; what it returns is a file of this process's alone, or an error. A structure of numbers may be all
    // zeros, and the kernel reads it while the call lasts.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(socket)?;
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request))
    }
}
