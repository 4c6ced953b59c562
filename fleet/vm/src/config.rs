//! What a machine has, and the QEMU command line that follows from it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use crate::Accel;

/// A machine to start.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// RAM in MiB.
    pub memory_mib: u32,
    /// Number of processors.
    pub cpus: u32,
    /// How its instructions are run.
    pub accel: Accel,
    /// What it boots.
    pub boot: Boot,
    /// Its network cards. The first is the device `net0`, the next `net1`, and so on.
    pub nics: Vec<Nic>,
    /// Whether a restart asked for by the guest ends the machine.
    pub restart_ends: bool,
    /// Held before its first instruction until it is switched on through [`crate::Machine::power_socket`].
    pub start_off: bool,
    /// Further QEMU arguments, after ours.
    pub extra: Vec<OsString>,
}

/// What a machine boots.
#[derive(Clone, Debug)]
pub enum Boot {
    /// The firmware's choice: the network cards, in order.
    Network,
    /// A kernel and initrd handed over by QEMU.
    Kernel {
        /// Path of the kernel image.
        kernel: PathBuf,
        /// Path of the initrd.
        initrd: Option<PathBuf>,
        /// The kernel command line.
        cmdline: String,
    },
}

/// A virtio network card.
#[derive(Clone, Debug)]
pub struct Nic {
    /// Its hardware address, six bytes in hexadecimal with colons.
    pub mac: String,
    /// What it is plugged into.
    pub network: Network,
}

/// What a network card is plugged into.
#[derive(Clone, Debug)]
pub enum Network {
    /// QEMU's user network: no privileges needed, the host is 10.0.2.2, and a DHCP server is built in.
    User {
        /// What the built-in DHCP server gives as boot file.
        bootfile: Option<String>,
        /// Host ports that lead to the guest.
        forwards: Vec<Forward>,
    },
    /// An existing tap device.
    Tap {
        /// Its name.
        interface: String,
    },
}

/// A TCP port of the host that leads to a port of the guest.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Where the host listens.
    pub host: SocketAddrV4,
    /// The guest's port.
    pub guest: u16,
}

impl Forward {
    /// A port of the host's loopback address.
    #[must_use]
    pub fn loopback(host: u16, guest: u16) -> Self {
        Self { host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, host), guest }
    }
}

impl MachineConfig {
    /// One GiB, one processor, TCG, no network card.
    #[must_use]
    pub fn new(boot: Boot) -> Self {
        Self {
            memory_mib: 1024,
            cpus: 1,
            accel: Accel::Tcg,
            boot,
            nics: Vec::new(),
            restart_ends: false,
            start_off: false,
            extra: Vec::new(),
        }
    }

    /// QEMU's arguments for this machine; its sockets are made in `dir`.
    pub(crate) fn arguments(&self, dir: &Path) -> Vec<OsString> {
        let mut args = Arguments::default();
        // No file of the host's user or administrator changes what a machine is. graphics=off sends what firmware and
        // boot loaders print to the serial port.
        args.add([
            "-no-user-config",
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "pc,graphics=off",
        ]);
        args.add(self.accel.arguments());
        args.add(["-m", &format!("{}M", self.memory_mib), "-smp", &self.cpus.to_string()]);
        args.add(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
        // Booting asks for random numbers early; without this a guest under TCG can wait for them.
        args.add(["-device", "virtio-rng-pci"]);
        args.add(["-qmp"]).push({
            let mut socket = OsString::from("unix:");
            socket.push(escape_commas(&power_socket(dir)));
            socket.push(",server=on,wait=off");
            socket
        });
        if self.restart_ends {
            args.add(["-no-reboot"]);
        }
        if self.start_off {
            args.add(["-S"]);
        }
        for (index, nic) in self.nics.iter().enumerate() {
            args.add(["-netdev", &nic.network.argument(index)]);
            let order = match self.boot {
                Boot::Network => format!(",bootindex={index}"),
                // Direct boot needs no ROM, and reading it costs time.
                Boot::Kernel { .. } => ",romfile=".to_owned(),
            };
            args.add([
                "-device",
                &format!("virtio-net-pci,netdev=n{index},id=net{index},mac={}{order}", nic.mac),
            ]);
        }
        if let Boot::Kernel { kernel, initrd, cmdline } = &self.boot {
            args.add(["-kernel"]).push(kernel.clone().into());
            if let Some(initrd) = initrd {
                args.add(["-initrd"]).push(initrd.clone().into());
            }
            args.add(["-append", cmdline]);
        }
        args.0.extend(self.extra.iter().cloned());
        args.0
    }
}

impl Network {
    fn argument(&self, index: usize) -> String {
        match self {
            Self::User { bootfile, forwards } => {
                let mut argument = format!("user,id=n{index}");
                if let Some(bootfile) = bootfile {
                    argument += &format!(",bootfile={}", bootfile.replace(',', ",,"));
                }
                for Forward { host, guest } in forwards {
                    argument += &format!(",hostfwd=tcp:{}:{}-:{guest}", host.ip(), host.port());
                }
                argument
            }
            Self::Tap { interface } => {
                format!("tap,id=n{index},ifname={interface},script=no,downscript=no")
            }
        }
    }
}

/// The monitor socket of the machine whose files are in `dir`.
pub(crate) fn power_socket(dir: &Path) -> PathBuf {
    dir.join("power.sock")
}

/// In QEMU's option syntax a comma within a value is doubled.
fn escape_commas(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut bytes = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add<I: AsRef<str>>(&mut self, args: impl IntoIterator<Item = I>) -> &mut Vec<OsString> {
        self.0.extend(args.into_iter().map(|arg| OsString::from(arg.as_ref())));
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(config: &MachineConfig) -> String {
        let args = config.arguments(Path::new("/tmp/a,b"));
        args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_network_boot_orders_its_cards_and_escapes_commas() {
        let mut config = MachineConfig::new(Boot::Network);
        config.nics.push(Nic {
            mac: "52:54:00:00:00:01".to_owned(),
            network: Network::User {
                bootfile: Some("http://10.0.2.2:1/a,b".to_owned()),
                forwards: vec![Forward::loopback(2222, 22)],
            },
        });
        let line = line(&config);
        assert!(line.contains("unix:/tmp/a,,b/power.sock,server=on"), "{line}");
        assert!(
            line.contains(
                "-netdev user,id=n0,bootfile=http://10.0.2.2:1/a,,b,hostfwd=tcp:127.0.0.1:2222-:22"
            ),
            "{line}"
        );
        assert!(
            line.contains("virtio-net-pci,netdev=n0,id=net0,mac=52:54:00:00:00:01,bootindex=0"),
            "{line}"
        );
    }

    #[test]
    fn a_kernel_is_handed_over_without_option_roms() {
        let mut config = MachineConfig::new(Boot::Kernel {
            kernel: "/k".into(),
            initrd: Some("/i".into()),
            cmdline: "a b".to_owned(),
        });
        let network = Network::Tap { interface: "tap0".to_owned() };
        config.nics.push(Nic { mac: "52:54:00:00:00:01".to_owned(), network });
        let line = line(&config);
        assert!(line.contains("-kernel /k -initrd /i -append a b"), "{line}");
        assert!(line.contains("tap,id=n0,ifname=tap0,script=no,downscript=no"), "{line}");
        assert!(line.contains("romfile="), "{line}");
    }
}
