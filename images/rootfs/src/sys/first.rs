//! The first process of a namespace for processes: ours, between the builder and a program that nobody vouches for.
//!
//! Three processes of one program that was started: the one that the builder waits for, outside; the first one of the namespace,
//! which takes in what lost its parent and ends everything when the program ends or its time is up; and the program. The kernel
//! ends the namespace with its first process, and tells of that one's end only when nothing of the namespace is left.

use std::io;

use super::check;

/// What a program ended with whose time was up, as timeout(1) has it.
pub(crate) const TIME_IS_UP: libc::c_int = 124;

/// Something happened that cannot happen.
const LOST: libc::c_int = 125;

/// When whoever started us dies, so do we: nothing of a sandbox outlives a build that was killed. `parent` is the number that it
/// had, where that is known.
pub(super) fn die_with(parent: Option<libc::pid_t>) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })?;
    // It may have died before we asked to be told.
    // SAFETY: takes and gives numbers; leaves without running anything of the copied process.
    unsafe {
        if parent.is_some_and(|parent| libc::getppid() != parent) {
            libc::_exit(LOST);
        }
    }
    Ok(())
}

/// Whoever takes all memory is ended before anybody else on this machine is, and nobody inside has the keys that whoever builds
/// has in the kernel (session-keyring(7)).
pub(super) fn have_less() {
    const SCORE: &[u8] = b"500";
    // SAFETY: the pointers are to strings that live on, the length is right; the rest takes numbers.
    unsafe {
        let score =
            libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if score >= 0 {
            libc::write(score, SCORE.as_ptr().cast(), SCORE.len());
            libc::close(score);
        }
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        );
    }
}

/// Goes on as the first process of the namespace for processes that was unshared: it begins with the next child.
pub(super) fn become_first() -> io::Result<()> {
    // SAFETY: takes numbers. Ignored, as it may have been inherited, the ends of children would not be told.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let mut pipe = [0; 2];
    // SAFETY: the pointer is to an array of two numbers. The child goes on with system calls alone, as the caller does.
    let child = unsafe {
        check(libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC))?;
        libc::fork()
    };
    let [reader, writer] = pipe;
    match child {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        child => wait_for(child, writer),
    }
    die_with(None)?;
    // Our parent has no number in here. It holds the other end of this pipe until it dies.
    let mut poll = libc::pollfd { fd: reader, events: 0, revents: 0 };
    // SAFETY: the pointer is to one such record; the rest takes numbers.
    unsafe {
        libc::close(writer);
        if libc::poll(&raw mut poll, 1, 0) != 0 {
            libc::_exit(LOST);
        }
        libc::close(reader);
        // A copy of the builder's memory, which nobody inside is to read.
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
        // A name from which nobody tells what starts services, as Ansible would.
        libc::prctl(libc::PR_SET_NAME, c"init".as_ptr());
    }
    Ok(())
}

/// Goes on as a child, which becomes the program; the caller ends the namespace when that ends, or after `limit` seconds.
pub(super) fn go_on_as_program(limit: u32) -> io::Result<()> {
    // SAFETY: the child goes on with system calls alone, as the caller does.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        program => watch(program, limit),
    }
}

/// So many processes may be in a namespace at once. No package needs a tenth of them, and whoever starts others without end is
/// ended before the machine runs out of numbers and memory for them.
const MOST_PROCESSES: usize = 4096;

/// What is said then, where the program would have said something.
const TOO_MANY: &[u8] =
    b"\nmore than 4096 processes were running at once, and all of them were ended\n";

/// Takes in whatever ends until the program does, and ends the namespace as the program ended.
fn watch(program: libc::pid_t, limit: u32) -> ! {
    // SAFETY: closes what would keep the builder waiting for us to become the program, and the program's own input and output, but for
    // the one that errors are told on; the handler only ends the process; the pointers are to records that live on; leaves without
    // running anything of the copied process.
    unsafe {
        libc::syscall(libc::SYS_close_range, 0, 1, 0);
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        let processes = libc::open(c"/proc".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY);
        // However many want to run, we look after them in time; where that is not allowed, a little later.
        libc::sched_setscheduler(0, libc::SCHED_RR, &libc::sched_param { sched_priority: 1 });
        let handler: extern "C" fn(libc::c_int) = time_is_up;
        libc::signal(libc::SIGALRM, handler as libc::sighandler_t);
        libc::alarm(limit);
        let mut ends: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut ends);
        libc::sigaddset(&raw mut ends, libc::SIGCHLD);
        // So that an end which comes between asking and waiting is not missed.
        libc::sigprocmask(libc::SIG_BLOCK, &raw const ends, std::ptr::null_mut());
        loop {
            let mut status = 0;
            let ended = libc::waitpid(-1, &raw mut status, libc::WNOHANG);
            if ended == program {
                libc::_exit(as_shells_say(status));
            }
            if ended == -1 && !interrupted() {
                libc::_exit(LOST);
            }
            if ended > 0 {
                continue;
            }
            if are_too_many(processes) {
                libc::write(2, TOO_MANY.as_ptr().cast(), TOO_MANY.len());
                libc::_exit(LOST);
            }
            let a_tenth = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            libc::sigtimedwait(&raw const ends, std::ptr::null_mut(), &raw const a_tenth);
        }
    }
}

/// Are there more processes than there may be? `/proc` is open as `processes`; what cannot be counted is not too many.
fn are_too_many(processes: libc::c_int) -> bool {
    let mut records = [0_u8; 8 << 10];
    let mut count = 0;
    // SAFETY: takes numbers; the pointer and the length are those of `records`.
    let read = |records: &mut [u8]| unsafe {
        libc::syscall(libc::SYS_getdents64, processes, records.as_mut_ptr(), records.len())
    };
    // SAFETY: takes numbers.
    unsafe { libc::lseek(processes, 0, libc::SEEK_SET) };
    while let Ok(length @ 1..) = usize::try_from(read(&mut records)) {
        // `struct linux_dirent64` (getdents64(2)): its length is at 16, its name at 19.
        let mut rest = records.get(..length).unwrap_or_default();
        while let Some(&[low, high, _, first]) = rest.get(16..20) {
            count += usize::from(first.is_ascii_digit());
            let length = usize::from(u16::from_ne_bytes([low, high])).max(1);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    count > MOST_PROCESSES
}

extern "C" fn time_is_up(_: libc::c_int) {
    // SAFETY: is safe in a signal handler (signal-safety(7)).
    unsafe { libc::_exit(TIME_IS_UP) }
}

/// Waits for the namespace's first process, and ends as it ended. `kept` stays open until then.
fn wait_for(first: libc::pid_t, kept: libc::c_int) -> ! {
    // SAFETY: as in `watch`.
    unsafe {
        let kept = kept.cast_unsigned();
        if kept > 0 {
            libc::syscall(libc::SYS_close_range, 0, kept - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, kept + 1, libc::c_uint::MAX, 0);
        let mut status = 0;
        while libc::waitpid(first, &raw mut status, 0) == -1 {
            if !interrupted() {
                libc::_exit(LOST);
            }
        }
        libc::_exit(as_shells_say(status));
    }
}

fn interrupted() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
}

/// How a process ended, as one number.
fn as_shells_say(status: libc::c_int) -> libc::c_int {
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}
