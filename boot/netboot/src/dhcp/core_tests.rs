use std::fmt::Write as _;
use std::time::Duration;

use overboot_dhcp::dump;
use proptest::prelude::*;

use super::*;
use crate::decide::BootPlan;
use crate::site::Site;

const MAC: Mac = Mac::new([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const OTHER: Mac = Mac::new([0x52, 0x54, 0, 0x12, 0x34, 0x57]);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn network(third: u8) -> Network {
    Network {
        address: [10, 0, third, 0].into(),
        prefix: 24,
        range: Ipv4Addr::new(10, 0, third, 100)..=Ipv4Addr::new(10, 0, third, 101),
        routers: vec![[10, 0, third, 1].into()],
        dns: vec![[10, 0, 0, 2].into(), [10, 0, 0, 3].into()],
        ntp: vec![],
        domain: Some("lab.example".into()),
    }
}

fn site() -> Site {
    Site {
        tftp: [10, 0, 0, 1].into(),
        http: "http://10.0.0.1:9090".into(),
        loaders: ["undionly.kpxe", "snponly.efi"].map(String::from).into(),
    }
}

fn config() -> DhcpConfig {
    DhcpConfig {
        interface: "eth0".into(),
        address: [10, 0, 0, 1].into(),
        networks: vec![network(0), network(7)],
        reservations: [("52:54:00:00:00:99".parse().unwrap(), [10, 0, 0, 50].into())].into(),
        lease_time: Duration::from_secs(3600),
        journal: "unused".into(),
        site: site(),
    }
}

fn core() -> Core {
    config().check().unwrap();
    Core::new(config(), [])
}

fn packet(mac: Mac, kind: MessageType) -> Packet {
    Packet::request(mac, 0xcafe, kind)
}

fn loader() -> BootDecision {
    BootDecision::Loader { file: "undionly.kpxe".into(), reason: "new".into() }
}

fn rom(kind: MessageType) -> Packet {
    let mut packet = packet(MAC, kind);
    packet.broadcast = true;
    packet.options.set_text(Code::VENDOR_CLASS, "PXEClient:Arch:00000:UNDI:002001");
    packet.options.set(Code::CLIENT_ARCH, [0, 0]);
    packet.options.set(Code::CLIENT_UUID, (0..17).collect::<Vec<u8>>());
    packet.options.set(Code::PARAMETER_LIST, [1, 3, 43, 60, 66, 67]);
    packet
}

/// Everything an answer says.
fn text(actions: &[Action]) -> String {
    let mut out = String::new();
    for action in actions {
        match action {
            Action::Save(lease) => {
                let left = lease.until.duration_since(at(0)).unwrap().as_secs();
                let _ = writeln!(out, "SAVE {} {} +{left} s", lease.mac, lease.address);
            }
            Action::Send { packet, to } => {
                let bytes = packet.emit(Packet::DEFAULT_MAX).unwrap();
                assert_eq!(&Packet::parse(&bytes).unwrap(), &**packet);
                let _ = write!(out, "SEND {to:?}\n{}", dump::text(packet));
            }
            Action::Tell(event) => {
                let _ = writeln!(out, "TELL {event:?}");
            }
            Action::Note(text) => {
                let _ = writeln!(out, "NOTE {text}");
            }
        }
    }
    out
}

fn sent(actions: &[Action]) -> &Packet {
    actions
        .iter()
        .find_map(|action| match action {
            Action::Send { packet, .. } => Some(&**packet),
            _ => None,
        })
        .expect("an answer")
}

fn kind(actions: &[Action]) -> MessageType {
    sent(actions).message_type().unwrap()
}

/// Takes a client through discover and request; its address.
fn bind(core: &mut Core, now: u64, mac: Mac) -> Ipv4Addr {
    let offer = core.step(at(now), &packet(mac, MessageType::Discover), None);
    let address = sent(&offer).yiaddr;
    let mut request = packet(mac, MessageType::Request);
    request.options.set_address(Code::REQUESTED_ADDRESS, address);
    request.options.set_address(Code::SERVER_ID, [10, 0, 0, 1].into());
    let ack = core.step(at(now), &request, None);
    assert_eq!((kind(&ack), sent(&ack).yiaddr), (MessageType::Ack, address));
    address
}

#[test]
fn a_rom_gets_an_address_and_its_loader() {
    let mut core = core();
    let offer = core.step(at(0), &rom(MessageType::Discover), Some(&loader()));
    let mut request = rom(MessageType::Request);
    request.options.set_address(Code::REQUESTED_ADDRESS, sent(&offer).yiaddr);
    request.options.set_address(Code::SERVER_ID, [10, 0, 0, 1].into());
    let ack = core.step(at(1), &request, Some(&loader()));
    insta::assert_snapshot!(format!("{}\n{}", text(&offer), text(&ack)));
}

#[test]
fn every_kind_of_client_hears_what_it_understands() {
    let mut out = String::new();
    let url = "http://10.0.0.1:9090/boot/loaders/snponly.efi".to_owned();
    let mut efi = rom(MessageType::Discover);
    efi.options.set_text(Code::VENDOR_CLASS, "PXEClient:Arch:00007:UNDI:003016");
    efi.options.set(Code::CLIENT_ARCH, [0, 7]);
    let mut http = rom(MessageType::Discover);
    http.options.set_text(Code::VENDOR_CLASS, "HTTPClient:Arch:00016:UNDI:003001");
    http.options.set(Code::CLIENT_ARCH, [0, 16]);
    let mut ipxe = rom(MessageType::Discover);
    ipxe.options.set_text(Code::USER_CLASS, "iPXE");
    let system = packet(MAC, MessageType::Discover);
    let disk = || BootDecision::LocalDisk { exit: Default::default(), reason: "idle".into() };
    let cases = [
        ("UEFI", efi, BootDecision::Loader { file: "snponly.efi".into(), reason: "new".into() }),
        ("UEFI HTTP", http, BootDecision::HttpLoader { url, reason: "new".into() }),
        (
            "iPXE",
            ipxe,
            BootDecision::Chain {
                url: "http://10.0.0.1:9090/api/current/profiles".into(),
                reason: "script".into(),
            },
        ),
        ("ROM with nothing to do", rom(MessageType::Discover), disk()),
        ("system", system, disk()),
    ];
    for (name, request, decision) in cases {
        let offer = core().step(at(0), &request, Some(&decision));
        let _ = write!(out, "== {name}\n{}", text(&offer));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn proxydhcp_adds_the_boot_file_and_nothing_else() {
    let server = Ipv4Addr::new(10, 0, 0, 5);
    let request = rom(MessageType::Discover);
    let client = Client::of(&request).unwrap();
    let offer = crate::dhcp::proxy::discover(server, &site(), &request, &client, &loader());
    let mut request = rom(MessageType::Request);
    request.ciaddr = [10, 0, 0, 100].into();
    // A ROM that chose from a menu: PXE_BOOT_ITEM comes back.
    request.options.set(Code::VENDOR_SPECIFIC, [71, 4, 0x12, 0x34, 0, 0, 255]);
    let from = SocketAddrV4::new([10, 0, 0, 100].into(), 4011);
    let ack = crate::dhcp::proxy::boot_server(server, &site(), &request, from, &client, &loader());
    insta::assert_snapshot!(format!("{}\n{}", text(&offer), text(&ack)));
}

#[test]
fn proxydhcp_leaves_everybody_else_alone() {
    use crate::dhcp::proxy::{boot_server, discover};
    let server = Ipv4Addr::new(10, 0, 0, 5);
    let from = SocketAddrV4::new([10, 0, 0, 100].into(), 68);
    for kind in 1..=8 {
        let kind = MessageType::from_number(kind).unwrap();
        let system = packet(MAC, kind);
        let client = Client::of(&system).unwrap();
        assert!(discover(server, &site(), &system, &client, &loader()).is_empty());
        assert!(boot_server(server, &site(), &system, from, &client, &loader()).is_empty());
        let rom = rom(kind);
        let client = Client::of(&rom).unwrap();
        if kind != MessageType::Discover {
            assert!(discover(server, &site(), &rom, &client, &loader()).is_empty(), "{kind}");
        }
        for decision in [
            BootDecision::Ignore { reason: String::new() },
            BootDecision::Wait { seconds: 1, reason: String::new() },
            BootDecision::LocalDisk { exit: Default::default(), reason: String::new() },
            BootDecision::Boot {
                plan: BootPlan {
                    name: String::new(),
                    kernel: String::new(),
                    initrds: vec![],
                    cmdline: String::new(),
                },
                reason: String::new(),
            },
        ] {
            assert!(discover(server, &site(), &rom, &client, &decision).is_empty());
            assert!(boot_server(server, &site(), &rom, from, &client, &decision).is_empty());
        }
    }
}

#[test]
fn a_lease_is_renewed_given_back_and_kept() {
    let mut core = core();
    let address = bind(&mut core, 0, MAC);
    let mut renew = packet(MAC, MessageType::Request);
    renew.ciaddr = address;
    let ack = core.step(at(1800), &renew, None);
    insta::assert_snapshot!(text(&ack));

    let mut release = packet(MAC, MessageType::Release);
    release.ciaddr = address;
    release.options.set_address(Code::SERVER_ID, [10, 0, 0, 1].into());
    let released = core.step(at(1900), &release, None);
    assert_eq!(
        text(&released),
        format!(
            "SAVE {MAC} {address} +1900 s\nTELL Released {{ mac: Mac({MAC}), address: {address} }}\n"
        )
    );
    assert!(core.step(at(1900), &release, None).is_empty(), "once");
    assert_eq!(bind(&mut core, 2000, MAC), address);
}

#[test]
fn wrong_addresses_are_refused_at_once() {
    let mut core = core();
    let taken = bind(&mut core, 0, MAC);
    let mut out = String::new();
    for wanted in [[192, 168, 1, 5].into(), taken, [10, 0, 0, 1].into(), [10, 0, 0, 255].into()] {
        let mut reboot = packet(OTHER, MessageType::Request);
        reboot.options.set_address(Code::REQUESTED_ADDRESS, wanted);
        let answer = core.step(at(5), &reboot, None);
        assert_eq!(kind(&answer), MessageType::Nak, "{wanted}");
        out.push_str(&text(&answer));
    }
    insta::assert_snapshot!(out);
    // A client that comes back after the server forgot everything keeps an address that is free.
    let mut reboot = packet(OTHER, MessageType::Request);
    reboot.options.set_address(Code::REQUESTED_ADDRESS, [10, 0, 0, 101].into());
    let mut fresh = Core::new(config(), []);
    assert_eq!(kind(&fresh.step(at(5), &reboot, None)), MessageType::Ack);
}

#[test]
fn a_full_range_is_a_sentence_and_another_servers_client_frees_its_offer() {
    let mut core = core();
    for last in 1..=2 {
        core.step(at(0), &packet(Mac::new([2, 0, 0, 0, 0, last]), MessageType::Discover), None);
    }
    let third = packet(Mac::new([2, 0, 0, 0, 0, 3]), MessageType::Discover);
    assert_eq!(
        text(&core.step(at(1), &third, None)),
        "NOTE no address for 02:00:00:00:00:03: all of 10.0.0.100 to 10.0.0.101 are taken\n"
    );
    let mut elsewhere = packet(Mac::new([2, 0, 0, 0, 0, 1]), MessageType::Request);
    elsewhere.options.set_address(Code::SERVER_ID, [10, 0, 0, 77].into());
    elsewhere.options.set_address(Code::REQUESTED_ADDRESS, [10, 0, 0, 200].into());
    assert_eq!(
        text(&core.step(at(1), &elsewhere, None)),
        "NOTE 02:00:00:00:00:01 took the offer of 10.0.0.77\n"
    );
    assert_eq!(kind(&core.step(at(2), &third, None)), MessageType::Offer);
}

#[test]
fn relay_agents_choose_the_network() {
    let mut core = core();
    let mut relayed = packet(MAC, MessageType::Discover);
    relayed.giaddr = [10, 0, 7, 1].into();
    relayed.options.set(Code::RELAY_AGENT, b"\x01\x04port".to_vec());
    let offer = core.step(at(0), &relayed, None);
    insta::assert_snapshot!(text(&offer));

    relayed.giaddr = [192, 168, 9, 1].into();
    relayed.options.set(Code::RELAY_AGENT, [1, 1, 9, 5, 4, 10, 0, 7, 0]);
    let offer = core.step(at(0), &relayed, None);
    assert_eq!(sent(&offer).yiaddr.octets()[..3], [10, 0, 7], "RFC 3527");

    relayed.options.remove(Code::RELAY_AGENT);
    assert_eq!(
        text(&core.step(at(0), &relayed, None)),
        format!(
            "NOTE DHCPDISCOVER of {MAC} through the relay 192.168.9.1: no network is configured for it\n"
        )
    );
}

#[test]
fn an_inform_is_told_everything_but_an_address() {
    let mut inform = packet(MAC, MessageType::Inform);
    inform.ciaddr = [10, 0, 0, 77].into();
    insta::assert_snapshot!(text(&core().step(at(0), &inform, None)));
}

#[test]
fn reservations_and_declines() {
    let mut core = core();
    let reserved = "52:54:00:00:00:99".parse().unwrap();
    assert_eq!(bind(&mut core, 0, reserved), Ipv4Addr::new(10, 0, 0, 50));
    // Behind a relay the reservation for our own network is of no use: it gets an address of that network.
    let mut elsewhere = packet(reserved, MessageType::Discover);
    elsewhere.giaddr = [10, 0, 7, 1].into();
    let offered = sent(&core.step(at(0), &elsewhere, None)).yiaddr;
    let mut request = packet(reserved, MessageType::Request);
    request.giaddr = elsewhere.giaddr;
    request.options.set_address(Code::REQUESTED_ADDRESS, offered);
    assert_eq!(kind(&core.step(at(0), &request, None)), MessageType::Ack);

    let address = bind(&mut core, 0, MAC);
    let mut decline = packet(MAC, MessageType::Decline);
    decline.options.set_address(Code::REQUESTED_ADDRESS, address);
    decline.options.set_address(Code::SERVER_ID, [10, 0, 0, 1].into());
    let actions = core.step(at(1), &decline, None);
    assert!(text(&actions).contains("rests for a while"));
    assert_ne!(bind(&mut core, 2, MAC), address);
}

#[test]
fn contradictions_in_the_configuration_are_found() {
    let broken = |change: &dyn Fn(&mut DhcpConfig)| {
        let mut config = config();
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    let lines = [
        broken(&|c| c.lease_time = Duration::from_secs(5)),
        broken(&|c| c.address = [10, 0, 9, 1].into()),
        broken(&|c| c.networks[1] = network(0)),
        broken(&|c| c.networks[1].prefix = 31),
        broken(&|c| c.networks[1].prefix = 200),
        broken(&|c| c.networks[1].range = [10, 0, 7, 9].into()..=[10, 0, 8, 1].into()),
        broken(&|c| c.networks[1].range = [10, 0, 7, 9].into()..=[10, 0, 7, 8].into()),
        broken(&|c| {
            c.networks = vec![network(0)];
            c.networks[0].prefix = 8;
            c.networks[0].range = [10, 0, 0, 2].into()..=[10, 9, 0, 2].into();
        }),
        broken(&|c| c.networks[1].routers = vec![[10, 0, 7, 100].into()]),
        broken(&|c| c.networks[0].range = [10, 0, 0, 1].into()..=[10, 0, 0, 9].into()),
        broken(&|c| _ = c.reservations.insert(MAC, [10, 0, 8, 4].into())),
        broken(&|c| _ = c.reservations.insert(MAC, [10, 0, 0, 1].into())),
        broken(&|c| _ = c.reservations.insert(MAC, [10, 0, 0, 50].into())),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

proptest! {
    #[test]
    fn no_client_panics_the_server_or_gets_anothers_address(
        packets in proptest::collection::vec(
            (0u8..4, 1u8..9, proptest::option::of(96u8..104), any::<bool>(), 0u8..3, 0u64..400),
            1..60,
        ),
    ) {
        let mut core = core();
        let mut now = 0;
        for (last, kind, wanted, ours, ciaddr, later) in packets {
            now += later;
            let mac = Mac::new([2, 0, 0, 0, 0, last]);
            let mut request = packet(mac, MessageType::from_number(kind).unwrap());
            if let Some(wanted) = wanted {
                request.options.set_address(Code::REQUESTED_ADDRESS, [10, 0, 0, wanted].into());
            }
            if ours {
                request.options.set_address(Code::SERVER_ID, [10, 0, 0, 1].into());
            }
            if ciaddr > 0 {
                request.ciaddr = [10, 0, 0, 99 + ciaddr].into();
            }
            for action in core.step(at(now), &request, Some(&loader())) {
                if let Action::Send { packet, .. } = action
                    && packet.message_type() == Some(MessageType::Ack)
                    && !packet.yiaddr.is_unspecified()
                {
                    let running = core.leases().iter().filter(|lease| {
                        lease.address == packet.yiaddr && lease.until > at(now)
                    });
                    let owners: Vec<Mac> = running.map(|lease| lease.mac).collect();
                    prop_assert_eq!(owners, vec![mac]);
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic_the_services(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 1u8..9,
    ) {
        let mut whole = rom(MessageType::from_number(kind).unwrap()).emit(Packet::MAX).unwrap();
        whole.truncate(243);
        whole.extend(bytes);
        if let Ok(request) = Packet::parse(&whole) {
            core().step(at(0), &request, Some(&loader()));
            if let Some(client) = Client::of(&request) {
                let server = Ipv4Addr::new(10, 0, 0, 1);
                let from = SocketAddrV4::new(server, 68);
                let _ = crate::dhcp::proxy::discover(server, &site(), &request, &client, &loader());
                let _ = crate::dhcp::proxy::boot_server(server, &site(), &request, from, &client, &loader());
            }
        }
    }
}
