//! Who has which address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use overboot_dhcp::Mac;

/// How long an offered address waits for its client's request. ROMs that hear several servers take their time.
const OFFER: Duration = Duration::from_secs(60);
/// How long an address stays unused after a client found somebody else on it.
const DECLINED: Duration = Duration::from_secs(600);

/// One address that is, or was, a machine's. After its end it is still the machine's when nobody else needs it, so that a
/// machine keeps its address over many boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Whose.
    pub mac: Mac,
    /// The address.
    pub address: Ipv4Addr,
    /// Until when. In the past: nobody relies on it.
    pub until: SystemTime,
}

/// All leases. Machines are known by their hardware address and never by option 61: a ROM, iPXE, our init and the
/// installed system each make up a client identifier of their own, and one machine is to have one address in one boot.
#[derive(Debug, Default)]
pub struct Leases {
    by_mac: BTreeMap<Mac, Lease>,
    owner: BTreeMap<Ipv4Addr, Mac>,
    offers: BTreeMap<Mac, Lease>,
    /// To whom an address is offered.
    offered: BTreeMap<Ipv4Addr, Mac>,
    declined: BTreeMap<Ipv4Addr, SystemTime>,
    reserved: BTreeMap<Mac, Ipv4Addr>,
    /// The owners of reserved addresses.
    reserved_for: BTreeMap<Ipv4Addr, Mac>,
}

impl Leases {
    /// No leases; `reserved` addresses go to nobody but their owners.
    #[must_use]
    pub fn new(reserved: BTreeMap<Mac, Ipv4Addr>) -> Self {
        let reserved_for = reserved.iter().map(|(mac, address)| (*address, *mac)).collect();
        Self { reserved, reserved_for, ..Self::default() }
    }

    /// Takes over a lease as it was kept; a later one for the same machine or address replaces it.
    pub fn restore(&mut self, lease: Lease) {
        if let Some(old) = self.owner.get(&lease.address).copied()
            && old != lease.mac
        {
            self.by_mac.remove(&old);
        }
        if let Some(old) = self.by_mac.insert(lease.mac, lease)
            && old.address != lease.address
        {
            self.owner.remove(&old.address);
        }
        self.owner.insert(lease.address, lease.mac);
    }

    /// Every lease that was ever bound and not replaced, by hardware address.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_mac.values()
    }

    /// The machine's lease, also after its end.
    #[must_use]
    pub fn of(&self, mac: Mac) -> Option<Lease> {
        self.by_mac.get(&mac).copied()
    }

    /// Picks an address for `mac` from `range` and keeps it for the time of an offer: its reservation, else what it has
    /// or had, else what it asks for, else one that follows from its hardware address, else the one that has been
    /// unused for longest. `None`: all are taken. `usable` says which addresses belong to the client's network.
    pub fn offer(
        &mut self,
        now: SystemTime,
        mac: Mac,
        requested: Option<Ipv4Addr>,
        range: &RangeInclusive<Ipv4Addr>,
        usable: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        self.forget_old(now);
        let reservation = self.reserved.get(&mac).copied().filter(|address| usable(*address));
        let old = self.by_mac.get(&mac).map(|lease| lease.address);
        let offered = self.offers.get(&mac).map(|lease| lease.address);
        let preferred = [old, offered, requested].into_iter().flatten();
        let address = reservation
            .or_else(|| {
                preferred.into_iter().find(|address| {
                    range.contains(address) && self.is_free(now, *address, mac, true)
                })
            })
            .or_else(|| self.pick(now, mac, range))?;
        self.withdraw(mac);
        self.offers.insert(mac, Lease { mac, address, until: now + OFFER });
        self.offered.insert(address, mac);
        Some(address)
    }

    /// Whether `mac` may have `address` now: reserved for it, its own, offered to it, or nobody's. `range` and `usable` as
    /// in [`offer`](Self::offer): a reservation in another network does not count in this one.
    #[must_use]
    pub fn may_bind(
        &self,
        now: SystemTime,
        mac: Mac,
        address: Ipv4Addr,
        range: &RangeInclusive<Ipv4Addr>,
        usable: impl Fn(Ipv4Addr) -> bool,
    ) -> bool {
        match self.reserved.get(&mac).filter(|reservation| usable(**reservation)) {
            Some(reservation) => *reservation == address,
            None => range.contains(&address) && self.is_free(now, address, mac, true),
        }
    }

    /// Gives `address` to `mac`. The caller has asked [`may_bind`](Self::may_bind).
    pub fn bind(&mut self, mac: Mac, address: Ipv4Addr, until: SystemTime) -> Lease {
        self.withdraw(mac);
        let lease = Lease { mac, address, until };
        self.restore(lease);
        lease
    }

    /// Forgets an offer that its client did not take.
    pub fn withdraw(&mut self, mac: Mac) {
        if let Some(offer) = self.offers.remove(&mac) {
            self.offered.remove(&offer.address);
        }
    }

    /// Ends the lease of `mac` on `address`; `None` if it had none that runs.
    pub fn release(&mut self, now: SystemTime, mac: Mac, address: Ipv4Addr) -> Option<Lease> {
        let lease = self.by_mac.get_mut(&mac)?;
        if lease.address != address || lease.until <= now {
            return None;
        }
        lease.until = now;
        Some(*lease)
    }

    /// Sets `address` aside, which `mac` found in use; `None` if it was not the machine's.
    pub fn decline(&mut self, now: SystemTime, mac: Mac, address: Ipv4Addr) -> Option<Lease> {
        let offered = self.offered.get(&address) == Some(&mac);
        let ended = self.by_mac.get(&mac).copied().filter(|lease| lease.address == address);
        if !offered && ended.is_none() {
            return None;
        }
        self.withdraw(mac);
        if ended.is_some() {
            self.by_mac.remove(&mac);
            self.owner.remove(&address);
        }
        self.declined.insert(address, now + DECLINED);
        Some(Lease { mac, address, until: now })
    }

    /// Whether nobody but `mac` has a claim on `address`. `idle`: a lease that has ended is no claim.
    fn is_free(&self, now: SystemTime, address: Ipv4Addr, mac: Mac, idle: bool) -> bool {
        let others = |owner: &Mac| *owner != mac;
        if self.declined.get(&address).is_some_and(|until| *until > now)
            || self.reserved_for.get(&address).is_some_and(others)
            || self.offered.get(&address).is_some_and(others)
        {
            return false;
        }
        match self.owner.get(&address).filter(|owner| others(owner)) {
            None => true,
            Some(owner) => idle && self.by_mac.get(owner).is_none_or(|lease| lease.until <= now),
        }
    }

    fn pick(
        &self,
        now: SystemTime,
        mac: Mac,
        range: &RangeInclusive<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let (first, last) = (range.start().to_bits(), range.end().to_bits());
        let size = last.checked_sub(first)?.checked_add(1)?;
        // FNV-1a: the same machine gets the same address even from a server that has forgotten everything.
        let hash = mac
            .bytes()
            .into_iter()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let addresses = (0..size).map(|step| {
            Ipv4Addr::from_bits(
                first + ((u64::from(hash) + u64::from(step)) % u64::from(size)) as u32,
            )
        });
        addresses.clone().find(|address| self.is_free(now, *address, mac, false)).or_else(|| {
            addresses.filter(|address| self.is_free(now, *address, mac, true)).min_by_key(
                |address| {
                    self.owner
                        .get(address)
                        .and_then(|owner| self.by_mac.get(owner))
                        .map(|lease| lease.until)
                },
            )
        })
    }

    fn forget_old(&mut self, now: SystemTime) {
        self.offers.retain(|_, offer| offer.until > now);
        self.offered.retain(|_, mac| self.offers.contains_key(mac));
        self.declined.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> Mac {
        Mac::new([0x52, 0x54, 0, 0, 0, last])
    }

    fn range() -> RangeInclusive<Ipv4Addr> {
        Ipv4Addr::new(10, 0, 0, 10)..=Ipv4Addr::new(10, 0, 0, 12)
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn offer(
        leases: &mut Leases,
        now: u64,
        last: u8,
        requested: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        leases.offer(at(now), mac(last), requested, &range(), |_| true)
    }

    #[test]
    fn three_addresses_for_three_machines_and_none_for_the_fourth() {
        let mut leases = Leases::default();
        let mut given: Vec<_> =
            (1..=3).map(|last| offer(&mut leases, 0, last, None).unwrap()).collect();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 3);
        assert_eq!(offer(&mut leases, 0, 4, None), None);
        assert!(offer(&mut leases, 61, 4, None).is_some(), "offers end");
    }

    #[test]
    fn a_machine_keeps_its_address_until_somebody_needs_it() {
        let mut leases = Leases::default();
        for last in 1..=3 {
            let address = offer(&mut leases, 0, last, None).unwrap();
            leases.bind(mac(last), address, at(100 + u64::from(last)));
        }
        let first = leases.of(mac(1)).unwrap().address;
        assert_eq!(offer(&mut leases, 500, 1, None), Some(first));
        let second = leases.of(mac(2)).unwrap().address;
        assert_eq!(
            offer(&mut leases, 500, 4, None),
            Some(second),
            "unused for longest, not offered"
        );
        leases.bind(mac(4), second, at(900));
        assert_eq!(leases.of(mac(2)), None);
    }

    #[test]
    fn reservations_are_for_their_owners_alone() {
        let address = Ipv4Addr::new(10, 0, 0, 10);
        let mut leases = Leases::new([(mac(9), address)].into());
        assert_ne!(offer(&mut leases, 0, 1, Some(address)), Some(address));
        assert_eq!(offer(&mut leases, 0, 9, Some([10, 0, 0, 11].into())), Some(address));
        assert!(!leases.may_bind(at(0), mac(9), [10, 0, 0, 12].into(), &range(), |_| true));
        assert!(!leases.may_bind(at(0), mac(1), address, &range(), |_| true));
        let elsewhere = Ipv4Addr::new(10, 0, 0, 12);
        let other = |candidate| candidate != address;
        assert!(leases.may_bind(at(0), mac(9), elsewhere, &range(), other), "another network");
    }

    #[test]
    fn what_a_client_found_in_use_is_left_alone() {
        let mut leases = Leases::default();
        let address = offer(&mut leases, 0, 1, None).unwrap();
        leases.bind(mac(1), address, at(100));
        assert!(leases.decline(at(1), mac(2), address).is_none(), "only the owner may say so");
        assert!(leases.decline(at(1), mac(1), address).is_some());
        assert_ne!(offer(&mut leases, 2, 1, Some(address)), Some(address));
        assert_eq!(offer(&mut leases, 700, 2, Some(address)), Some(address));
    }

    #[test]
    fn a_restored_lease_replaces_what_it_contradicts() {
        let mut leases = Leases::default();
        let lease = |last, address: [u8; 4]| Lease {
            mac: mac(last),
            address: address.into(),
            until: at(9),
        };
        leases.restore(lease(1, [10, 0, 0, 10]));
        leases.restore(lease(1, [10, 0, 0, 11]));
        leases.restore(lease(2, [10, 0, 0, 11]));
        leases.restore(lease(3, [10, 0, 0, 10]));
        let all: Vec<_> = leases.iter().copied().collect();
        assert_eq!(all, [lease(2, [10, 0, 0, 11]), lease(3, [10, 0, 0, 10])]);
    }
}
