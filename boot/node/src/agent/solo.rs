//! Process 1 of a root that has no init system: the mounts it would have made, the hooks, the agent, and reaping.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::mount::MountFlags;
use rustix::process::{Pid, WaitOptions, wait};

use crate::init::mounts::attach;
use crate::log::Log;

/// Never returns: process 1 must not end.
pub fn run() -> ! {
    let log = Log::open();
    let nothing = MountFlags::NOSUID | MountFlags::NOEXEC;
    for (kind, target, flags, data) in [
        ("devpts", "/dev/pts", nothing, c"mode=0620,gid=5,ptmxmode=0666"),
        ("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777"),
        ("tmpfs", "/tmp", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", nothing | MountFlags::NODEV, c""),
    ] {
        if let Err(error) = attach(kind, kind, Path::new(target), flags, data) {
            log.line(&crate::error::chain(&error));
        }
    }
    let hooks = Path::new("/opt/rc.local.hooks");
    if hooks.exists() {
        let ended = Command::new("/bin/sh").arg(hooks).status();
        if !ended.is_ok_and(|status| status.success()) {
            log.line("/opt/rc.local.hooks failed");
        }
    }
    let mut agent = start(&log);
    loop {
        match wait(WaitOptions::empty()) {
            // All orphans end here. The agent ends by itself only when the server said "stay".
            Ok(Some((ended, status)))
                if Some(ended) == agent && status.exit_status() != Some(0) =>
            {
                std::thread::sleep(Duration::from_secs(2));
                agent = start(&log);
            }
            Ok(_) => {}
            // No children at all: nothing is left to do but to be process 1.
            Err(_) => std::thread::sleep(Duration::from_secs(10)),
        }
    }
}

fn start(log: &Log) -> Option<Pid> {
    match Command::new("/proc/self/exe").arg("agent").spawn() {
        Ok(agent) => i32::try_from(agent.id()).ok().and_then(Pid::from_raw),
        Err(error) => {
            log.line(&format!("cannot start the agent: {error}"));
            None
        }
    }
}
