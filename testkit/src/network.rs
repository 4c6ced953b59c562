//! Networks that nobody else can see or disturb: a network namespace with a bridge in it, and taps for machines.

use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::program::run;

/// The bridge's name within every [`Lan`].
pub const BRIDGE: &str = "br0";

/// A network namespace with one bridge that has an address. Programs and machines are started in it by
/// [`Lan::command`]; it is deleted when dropped. Needs root and `ip`.
#[derive(Debug)]
pub struct Lan {
    namespace: String,
    taps: AtomicU32,
}

impl Lan {
    /// A new one; `address` is the bridge's, with its prefix: `10.77.0.1/24`.
    ///
    /// # Panics
    ///
    /// When the kernel refuses.
    #[track_caller]
    #[must_use]
    pub fn new(address: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("overboot-{}-{number}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &namespace]));
        let lan = Self { namespace, taps: AtomicU32::new(0) };
        lan.ip(&["link", "set", "lo", "up"]);
        // No forwarding delay: a bridge that listens for 15 s first loses every DHCPDISCOVER of that time.
        lan.ip(&["link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0"]);
        lan.ip(&["addr", "add", address, "dev", BRIDGE]);
        lan.ip(&["link", "set", BRIDGE, "up"]);
        lan
    }

    /// A tap device on the bridge, for a machine's network card. Returns its name.
    ///
    /// # Panics
    ///
    /// When the kernel refuses.
    #[track_caller]
    #[must_use]
    pub fn tap(&self) -> String {
        let tap = format!("tap{}", self.taps.fetch_add(1, Ordering::Relaxed));
        self.ip(&["tuntap", "add", &tap, "mode", "tap"]);
        self.ip(&["link", "set", &tap, "master", BRIDGE]);
        self.ip(&["link", "set", &tap, "up"]);
        tap
    }

    /// A pair of virtual Ethernet ends: one on the bridge, the other, with the name returned, up and without an
    /// address in the same namespace.
    ///
    /// # Panics
    ///
    /// When the kernel refuses.
    #[track_caller]
    #[must_use]
    pub fn veth(&self) -> String {
        let number = self.taps.fetch_add(1, Ordering::Relaxed);
        let (port, end) = (format!("port{number}"), format!("veth{number}"));
        self.ip(&["link", "add", &port, "type", "veth", "peer", "name", &end]);
        self.ip(&["link", "set", &port, "master", BRIDGE]);
        self.ip(&["link", "set", &port, "up"]);
        self.ip(&["link", "set", &end, "up"]);
        end
    }

    /// Runs `ip` within the namespace.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn ip(&self, arguments: &[&str]) -> String {
        run(Command::new("ip").args(["-n", &self.namespace]).args(arguments))
    }

    /// A command that will run within the namespace.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }

    /// Runs `work` on a thread of its own within the namespace: its sockets, and the programs and threads that it starts,
    /// belong there.
    ///
    /// # Panics
    ///
    /// When the kernel refuses, or with `work`.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.namespace);
        let entered = move || {
            let namespace = std::fs::File::open(&path).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        match thread::scope(|scope| scope.spawn(entered).join()) {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Its name, for `ip netns`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // Whatever still runs inside keeps the namespace alive without its name.
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require;

    #[test]
    fn a_lan_is_apart_from_the_host() {
        if !(require::root() && require::program("ip")) {
            return;
        }
        let lan = Lan::new("10.77.0.1/24");
        let (tap, veth) = (lan.tap(), lan.veth());
        let inside = run(lan.command("ip").args(["-o", "link"]));
        assert!([BRIDGE, tap.as_str(), veth.as_str()].iter().all(|name| inside.contains(name)));
        assert!(!run(Command::new("ip").args(["-o", "link"])).contains(BRIDGE));
        let same = lan.within(|| run(Command::new("ip").args(["-o", "link"])));
        assert_eq!(same, inside);
        let namespace = lan.namespace().to_owned();
        drop(lan);
        assert!(!run(Command::new("ip").args(["netns", "list"])).contains(&namespace));
    }
}
