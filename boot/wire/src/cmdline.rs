//! The kernel command line: what the server tells init.
//!
//! The upper-case words are RackHD's (`linux.ipxe`), `overboot.*` are ours, `ip=` is the kernel's
//! (`Documentation/admin-guide/nfs/nfsroot.rst`).

use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;

/// What init needs to know. Build one and [`format`](Cmdline::format) it, or [`parse`](Cmdline::parse) `/proc/cmdline`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cmdline {
    /// `SYSLOGSERVER=`: host that takes log lines by UDP, port 514 unless `host:port`.
    pub syslog_server: Option<String>,
    /// `API_CB=`: `host:port` of the server that has tasks for the node.
    pub api_cb: Option<String>,
    /// `BASEFS=`: URL of a squashfs, fetched unverified (RackHD's way; without a boot set).
    pub basefs: Option<String>,
    /// `OVERLAYFS=`: URLs of squashfs or cpio.gz overlays, lowest first, comma between them.
    pub overlayfs: Vec<String>,
    /// `BOOTIF=`: MAC address of the interface the firmware booted from, in the form of [`mac`](crate::mac).
    pub bootif: Option<String>,
    /// `overboot.set=`: URL of the signed boot set. Its signature is at the same URL with `.minisig` after it.
    pub set: Option<String>,
    /// `overboot.mirrors=`: URLs below which `blobs/sha256/` is too, tried when the set's own server fails.
    pub mirrors: Vec<String>,
    /// `ip=`; absent: DHCP.
    pub ip: Option<Ip>,
    /// Everything else, in order, as it was or is to be written: `console=ttyS0,115200n8`, `panic=10`.
    pub others: Vec<String>,
    /// What [`parse`](Cmdline::parse) found and could not use, one sentence each. Never formatted.
    pub problems: Vec<String>,
}

/// What `ip=` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ip {
    /// `dhcp`, `on`, `any`, or `:::::<device>:dhcp`.
    Dhcp {
        /// Interface name, when one is named.
        device: Option<String>,
    },
    /// An address is given.
    Static(StaticIp),
}

/// A fixed address: `ip=<client>:<server>:<gateway>:<netmask>:<hostname>:<device>:off:<dns0>:<dns1>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticIp {
    /// The node's address.
    pub address: Ipv4Addr,
    /// Length of the network prefix, 0 to 32; from the netmask, or from the address's class as the kernel does.
    pub prefix: u8,
    /// Router.
    pub gateway: Option<Ipv4Addr>,
    /// Host name.
    pub hostname: Option<String>,
    /// Interface name.
    pub device: Option<String>,
    /// Name servers, at most two.
    pub dns: Vec<Ipv4Addr>,
}

/// Why a command line cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CmdlineError {
    /// A value has a character that the kernel's quoting cannot carry.
    Unquotable {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
    },
    /// x86 kernels keep 2047 bytes.
    TooLong {
        /// Bytes it would have.
        length: usize,
    },
}

impl fmt::Display for CmdlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unquotable { name, value } => write!(
                f,
                "the kernel command line cannot carry {name}={value:?}: a double quote, a control character, \
                 or a comma inside a list entry"
            ),
            Self::TooLong { length } => write!(
                f,
                "the kernel command line would have {length} bytes; kernels keep {}",
                Cmdline::MAX
            ),
        }
    }
}

impl std::error::Error for CmdlineError {}

impl Cmdline {
    /// Longest command line in bytes: `COMMAND_LINE_SIZE` of x86 less its NUL.
    pub const MAX: usize = 2047;

    /// Reads a command line. Never fails: what cannot be used is named in [`problems`](Cmdline::problems), and a later
    /// parameter wins over an earlier one of the same name, as in the kernel.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut cmdline = Self::default();
        for word in words(text) {
            let Some((name, value)) = word.split_once('=') else {
                cmdline.others.push(word);
                continue;
            };
            let value = unquote(value);
            match name {
                "SYSLOGSERVER" => cmdline.syslog_server = some(value),
                "API_CB" => cmdline.api_cb = some(value),
                "BASEFS" => cmdline.basefs = some(value),
                "OVERLAYFS" => cmdline.overlayfs = list(&value),
                "BOOTIF" => {
                    cmdline.bootif = crate::mac(&value);
                    if cmdline.bootif.is_none() {
                        cmdline.problems.push(format!("BOOTIF={value} is not a MAC address"));
                    }
                }
                "overboot.set" => cmdline.set = some(value),
                "overboot.mirrors" => cmdline.mirrors = list(&value),
                "ip" => match Ip::parse(&value) {
                    Ok(ip) => cmdline.ip = Some(ip),
                    Err(problem) => cmdline.problems.push(format!("ip={value}: {problem}")),
                },
                _ => cmdline.others.push(word),
            }
        }
        cmdline
    }

    /// The last value of another parameter: `get("panic")`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.others.iter().rev().find_map(|word| {
            let (key, value) = word.split_once('=')?;
            (key == name).then(|| unquote(value))
        })
    }

    /// The command line as text, RackHD's words first and in its order.
    ///
    /// # Errors
    /// A value that cannot be quoted, or more than [`MAX`](Cmdline::MAX) bytes.
    pub fn format(&self) -> Result<String, CmdlineError> {
        let mut out = String::new();
        let bootif = self.bootif.as_ref().map(|mac| format!("01-{mac}"));
        let ip = self.ip.as_ref().map(ToString::to_string);
        for (name, value) in [
            ("SYSLOGSERVER", self.syslog_server.clone()),
            ("API_CB", self.api_cb.clone()),
            ("BASEFS", self.basefs.clone()),
            ("OVERLAYFS", join("OVERLAYFS", &self.overlayfs)?),
            ("BOOTIF", bootif),
            ("overboot.set", self.set.clone()),
            ("overboot.mirrors", join("overboot.mirrors", &self.mirrors)?),
            ("ip", ip),
        ] {
            if let Some(value) = value {
                push(&mut out, name, &value)?;
            }
        }
        for word in &self.others {
            if word.chars().any(|c| c.is_control()) || word.matches('"').count() % 2 == 1 {
                return Err(CmdlineError::Unquotable { name: word.clone(), value: String::new() });
            }
            separate(&mut out);
            out.push_str(word);
        }
        if out.len() > Self::MAX {
            return Err(CmdlineError::TooLong { length: out.len() });
        }
        Ok(out)
    }
}

impl Ip {
    /// Reads the value of `ip=`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(value: &str) -> Result<Self, String> {
        let field: Vec<&str> = value.split(':').collect();
        let at = |index: usize| field.get(index).copied().filter(|text| !text.is_empty());
        let address = |index: usize, what: &str| match at(index) {
            None => Ok(None),
            Some(text) => text
                .parse::<Ipv4Addr>()
                .map(Some)
                .map_err(|_| format!("the {what} \"{text}\" is not an IPv4 address")),
        };
        if field.len() == 1 && matches!(value, "dhcp" | "on" | "any" | "both") {
            return Ok(Self::Dhcp { device: None });
        }
        let device = at(5).map(str::to_owned);
        let Some(client) = address(0, "client address")? else {
            return match at(6) {
                None | Some("dhcp" | "on" | "any" | "both") => Ok(Self::Dhcp { device }),
                Some(other) => Err(format!("no address, and \"{other}\" gets none")),
            };
        };
        let prefix = match address(3, "netmask")? {
            Some(mask) => prefix_of(mask).ok_or_else(|| format!("{mask} is not a netmask"))?,
            None => match client.octets()[0] {
                0..=127 => 8,
                128..=191 => 16,
                192.. => 24,
            },
        };
        let dns = [address(7, "name server")?, address(8, "name server")?];
        Ok(Self::Static(StaticIp {
            address: client,
            prefix,
            gateway: address(2, "gateway")?,
            hostname: at(4).map(str::to_owned),
            device,
            dns: dns.into_iter().flatten().collect(),
        }))
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp { device: None } => f.write_str("dhcp"),
            Self::Dhcp { device: Some(device) } => write!(f, ":::::{device}:dhcp"),
            Self::Static(ip) => {
                let mask =
                    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(ip.prefix)).unwrap_or(0));
                let gateway = ip.gateway.map(|g| g.to_string()).unwrap_or_default();
                let hostname = ip.hostname.as_deref().unwrap_or_default();
                let device = ip.device.as_deref().unwrap_or_default();
                write!(f, "{}::{gateway}:{mask}:{hostname}:{device}:off", ip.address)?;
                ip.dns.iter().try_for_each(|dns| write!(f, ":{dns}"))
            }
        }
    }
}

/// Length of the prefix that a netmask stands for; `None` if its ones are not all in front.
fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (bits.checked_shl(ones).unwrap_or(0) == 0).then_some(u8::try_from(ones).ok()?)
}

/// Words as the kernel's `next_arg` sees them: blanks inside double quotes do not separate.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn unquote(value: &str) -> String {
    value.replace('"', "")
}

fn some(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect()
}

fn join(name: &str, values: &[String]) -> Result<Option<String>, CmdlineError> {
    if let Some(value) = values.iter().find(|v| v.contains(',') || v.is_empty()) {
        return Err(CmdlineError::Unquotable { name: name.to_owned(), value: value.clone() });
    }
    Ok(some(values.join(",")))
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push(' ');
    }
}

fn push(out: &mut String, name: &str, value: &str) -> Result<(), CmdlineError> {
    if value.chars().any(|c| c == '"' || c.is_control()) {
        return Err(CmdlineError::Unquotable { name: name.to_owned(), value: value.to_owned() });
    }
    separate(out);
    let quote = if value.contains(char::is_whitespace) { "\"" } else { "" };
    let _infallible = write!(out, "{name}={quote}{value}{quote}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_ipxe_writes_is_read() {
        let parsed = Cmdline::parse(
            "vmlinuz initrd=initrd.img auto=true SYSLOGSERVER=172.31.128.1 API_CB=172.31.128.1:9030 \
             BASEFS=http://172.31.128.1:9030/common/base.squashfs.img \
             OVERLAYFS=http://172.31.128.1:9030/common/discovery.overlay.cpio.gz \
             BOOTIF=01-52:54:BE:EF:00:01 console=tty0 console=ttyS0,115200n8",
        );
        assert_eq!(parsed.api_cb.as_deref(), Some("172.31.128.1:9030"));
        assert_eq!(parsed.overlayfs.len(), 1);
        assert_eq!(parsed.bootif.as_deref(), Some("52:54:be:ef:00:01"));
        assert_eq!(parsed.get("console").as_deref(), Some("ttyS0,115200n8"));
        assert_eq!(parsed.others[..2], ["vmlinuz", "initrd=initrd.img"]);
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn bootif_is_read_as_pxelinux_writes_it_and_plain() {
        for text in ["01-52-54-00-ab-cd-ef", "01-52:54:00:AB:CD:EF", "52:54:00:ab:cd:ef"] {
            let parsed = Cmdline::parse(&format!("BOOTIF={text}"));
            assert_eq!(parsed.bootif.as_deref(), Some("52:54:00:ab:cd:ef"), "{text}");
            assert!(parsed.problems.is_empty());
        }
    }

    #[test]
    fn formatting_and_parsing_are_inverse() {
        let cmdline = Cmdline {
            syslog_server: Some("10.0.0.1".into()),
            api_cb: Some("10.0.0.1:9090".into()),
            overlayfs: vec!["http://a/1".into(), "http://a/2".into()],
            basefs: Some("http://a/with blank".into()),
            bootif: Some("52:54:00:00:00:01".into()),
            set: Some("http://10.0.0.1:9090/boot/sets/discovery.json".into()),
            mirrors: vec!["http://m/boot".into()],
            ip: Some(Ip::Static(StaticIp {
                address: Ipv4Addr::new(10, 0, 0, 7),
                prefix: 22,
                gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
                hostname: Some("n7".into()),
                device: None,
                dns: vec![Ipv4Addr::new(10, 0, 0, 1)],
            })),
            others: vec!["console=ttyS0".into(), "panic=10".into(), "a=\"b c\"".into()],
            problems: vec![],
        };
        let text = cmdline.format().unwrap();
        assert!(text.contains("ip=10.0.0.7::10.0.0.1:255.255.252.0:n7::off:10.0.0.1"), "{text}");
        assert_eq!(Cmdline::parse(&text), cmdline);
    }

    #[test]
    fn ip_takes_the_kernel_s_forms() {
        assert_eq!(Ip::parse("dhcp"), Ok(Ip::Dhcp { device: None }));
        assert_eq!(Ip::parse(":::::eth1:dhcp"), Ok(Ip::Dhcp { device: Some("eth1".into()) }));
        let Ok(Ip::Static(classful)) = Ip::parse("192.168.3.4") else { panic!() };
        assert_eq!((classful.prefix, classful.gateway), (24, None));
        for bad in ["10.0.0.300", "10.0.0.1:::255.0.255.0", ":::::eth0:off", "nonsense"] {
            assert!(Ip::parse(bad).is_err(), "{bad}");
        }
        for prefix in [0, 1, 24, 31, 32] {
            let ip = Ip::Static(StaticIp {
                address: Ipv4Addr::LOCALHOST,
                prefix,
                gateway: None,
                hostname: None,
                device: None,
                dns: vec![],
            });
            assert_eq!(Ip::parse(&ip.to_string()).as_ref(), Ok(&ip));
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_or_named() {
        let quote = Cmdline { set: Some("a\"b".into()), ..Cmdline::default() };
        assert!(matches!(quote.format(), Err(CmdlineError::Unquotable { .. })));
        let comma = Cmdline { overlayfs: vec!["a,b".into()], ..Cmdline::default() };
        assert!(comma.format().is_err());
        let long = Cmdline { set: Some("x".repeat(3000)), ..Cmdline::default() };
        assert_eq!(long.format(), Err(CmdlineError::TooLong { length: 3013 }));
        let parsed = Cmdline::parse("BOOTIF=nonsense ip=1.2.3 \"unclosed");
        assert_eq!(parsed.problems.len(), 2, "{:?}", parsed.problems);
    }
}
