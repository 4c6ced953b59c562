//! Network interfaces, as `/sys/class/net` shows them.

use overboot_dhcp::Mac;

/// An Ethernet interface made of hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `eth0`.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Its address.
    pub mac: Mac,
}

impl Link {
    /// All there are now, by number.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut links: Vec<Self> = fs_err::read_dir("/sys/class/net")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Self::read(&entry.file_name().into_string().ok()?))
            .collect();
        links.sort_by_key(|link| link.index);
        links
    }

    fn read(name: &str) -> Option<Self> {
        const ARPHRD_ETHER: &str = "1";
        // Bridges, bonds and tunnels have no device behind them.
        let hardware = fs_err::symlink_metadata(format!("/sys/class/net/{name}/device")).is_ok();
        if !hardware || attribute(name, "type")? != ARPHRD_ETHER {
            return None;
        }
        let mac: Mac = attribute(name, "address")?.parse().ok()?;
        let index = attribute(name, "ifindex")?.parse().ok()?;
        mac.is_unicast().then(|| Self { name: name.to_owned(), index, mac })
    }

    /// Whether something is at the other end; `false` while the interface is off.
    #[must_use]
    pub fn has_carrier(&self) -> bool {
        attribute(&self.name, "carrier").as_deref() == Some("1")
    }
}

fn attribute(name: &str, attribute: &str) -> Option<String> {
    let text = fs_err::read_to_string(format!("/sys/class/net/{name}/{attribute}")).ok()?;
    Some(text.trim().to_owned())
}

/// Which of `links` to use: the one the firmware booted from if it is there, else all.
#[must_use]
pub fn choose(links: &[Link], bootif: Option<Mac>) -> Vec<Link> {
    let named: Vec<Link> = links.iter().filter(|link| Some(link.mac) == bootif).cloned().collect();
    if named.is_empty() { links.to_vec() } else { named }
}

/// `eth0 (52:54:…), eth1 (…)`: for messages.
#[must_use]
pub fn names(links: &[Link]) -> String {
    let names: Vec<String> = links.iter().map(|l| format!("{} ({})", l.name, l.mac)).collect();
    if names.is_empty() { "no interface".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_interface_or_all() {
        let link = |index: u8| Link {
            name: format!("eth{index}"),
            index: index.into(),
            mac: Mac::new([2, 0, 0, 0, 0, index]),
        };
        let links = [link(0), link(1)];
        assert_eq!(choose(&links, Some(links[1].mac)), [links[1].clone()]);
        assert_eq!(choose(&links, Some(Mac::new([2; 6]))), links);
        assert_eq!(choose(&links, None), links);
        assert_eq!(names(&links[..1]), "eth0 (02:00:00:00:00:00)");
        assert_eq!(names(&[]), "no interface");
    }
}
