use super::*;

const MAC: Mac = Mac::new([0x52, 0x54, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

fn sent(actions: &[Action]) -> (Packet, Option<Ipv4Addr>) {
    match actions {
        [Action::Send { bytes, to }] => (Packet::parse(bytes).unwrap(), *to),
        other => panic!("{other:?}"),
    }
}

fn answer(request: &Packet, kind: MessageType, seconds: u32) -> Vec<u8> {
    let mut reply = Packet::reply(request, kind);
    reply.yiaddr = ADDRESS;
    reply.options.set_address(Code::SERVER_ID, SERVER);
    reply.options.set_address(Code::SUBNET_MASK, Ipv4Addr::new(255, 255, 255, 0));
    reply.options.set_addresses(Code::ROUTERS, &[SERVER]);
    reply.options.set_addresses(Code::DNS, &[Ipv4Addr::new(10, 0, 2, 3)]);
    reply.options.set_u32(Code::LEASE_TIME, seconds);
    reply.options.set_text(Code::HOST_NAME, "n1");
    reply.emit(Packet::MAX).unwrap()
}

fn bound(now: u64, seconds: u32) -> (Client, Lease) {
    let mut client = Client::new(MAC, 7, now);
    let (discover, _) = sent(&client.step(now, None));
    let (request, _) =
        sent(&client.step(now, Some(&answer(&discover, MessageType::Offer, seconds))));
    match &client.step(now, Some(&answer(&request, MessageType::Ack, seconds)))[..] {
        [Action::Bound(lease)] => (client, lease.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn four_messages_make_a_lease() {
    let mut client = Client::new(MAC, 7, 1000);
    assert_eq!(client.due(), 1000);
    let (discover, to) = sent(&client.step(1000, None));
    assert_eq!((discover.message_type(), to), (Some(MessageType::Discover), None));
    assert!(discover.broadcast && discover.ciaddr.is_unspecified());
    let offer = answer(&discover, MessageType::Offer, 3600);
    let (request, to) = sent(&client.step(1005, Some(&offer)));
    assert_eq!((request.message_type(), to), (Some(MessageType::Request), None));
    assert_eq!(request.options.address(Code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(request.options.address(Code::SERVER_ID), Some(SERVER));
    assert!(client.step(1006, Some(&offer)).is_empty(), "a second offer is too late");
    let actions = client.step(1010, Some(&answer(&request, MessageType::Ack, 3600)));
    let [Action::Bound(lease)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((lease.address, lease.prefix, lease.renew, lease.rebind), (ADDRESS, 24, 1800, 3150));
    assert_eq!(lease.routes, [(Ipv4Addr::UNSPECIFIED, 0, SERVER)]);
    assert_eq!(lease.hostname.as_deref(), Some("n1"));
    assert_eq!(client.due(), 1010 + 1_800_000);
}

#[test]
fn silence_is_answered_with_growing_pauses() {
    let mut client = Client::new(MAC, 7, 0);
    let mut times = Vec::new();
    for _ in 0..7 {
        let now = client.due();
        times.push(now);
        sent(&client.step(now, None));
        assert!(client.step(now + 1, None).is_empty());
    }
    let pauses: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    for (pause, want) in pauses.iter().zip([1000, 2000, 4000, 8000, 16_000, 16_000]) {
        assert!((want..=want * 5 / 4).contains(pause), "{pauses:?}");
    }
}

#[test]
fn strangers_are_not_listened_to() {
    let mut client = Client::new(MAC, 7, 0);
    let (discover, _) = sent(&client.step(0, None));
    let stranger = Packet { xid: 8, ..discover.clone() };
    assert!(client.step(1, Some(&answer(&stranger, MessageType::Offer, 60))).is_empty());
    let other = Packet { chaddr: Mac::new([2; 6]), ..discover.clone() };
    assert!(client.step(1, Some(&answer(&other, MessageType::Offer, 60))).is_empty());
    assert!(client.step(1, Some(&answer(&discover, MessageType::Ack, 60))).is_empty());
    assert!(client.step(1, Some(&discover.emit(548).unwrap())).is_empty(), "our own broadcast");
    assert!(client.step(1, Some(b"noise")).is_empty());
    let mut proxy = Packet::reply(&discover, MessageType::Offer);
    proxy.options.set_address(Code::SERVER_ID, SERVER);
    assert!(client.step(1, Some(&proxy.emit(548).unwrap())).is_empty(), "ProxyDHCP has no address");
}

#[test]
fn a_refusal_or_silence_after_the_request_starts_over() {
    let mut client = Client::new(MAC, 7, 0);
    let (discover, _) = sent(&client.step(0, None));
    let (request, _) = sent(&client.step(0, Some(&answer(&discover, MessageType::Offer, 60))));
    assert!(client.step(5, Some(&answer(&request, MessageType::Nak, 60))).is_empty());
    let (again, _) = sent(&client.step(client.due(), None));
    assert_eq!(again.message_type(), Some(MessageType::Discover));
    assert_ne!(again.xid, discover.xid);
    sent(&client.step(client.due(), Some(&answer(&again, MessageType::Offer, 60))));
    let kinds: Vec<_> =
        (0..4).map(|_| sent(&client.step(client.due(), None)).0.message_type().unwrap()).collect();
    assert_eq!(kinds[..3], [MessageType::Request; 3]);
    assert_eq!(kinds[3], MessageType::Discover);
}

#[test]
fn a_lease_is_prolonged_by_its_server_then_by_any_then_lost() {
    let (mut client, lease) = bound(0, 3600);
    assert_eq!(client.due(), 1_800_000);
    let (renew, to) = sent(&client.step(1_800_000, None));
    assert_eq!((renew.ciaddr, to), (lease.address, Some(SERVER)));
    assert!(!renew.options.has(Code::SERVER_ID), "RFC 2131 table 5");
    let mut prolonged = Client::resume(MAC, 7, lease, 0);
    sent(&prolonged.step(1_800_000, None));
    let actions = prolonged.step(1_800_001, Some(&answer(&renew, MessageType::Ack, 3600)));
    assert!(matches!(&actions[..], [Action::Bound(_)]), "{actions:?}");
    assert_eq!(prolonged.due(), 3_600_001);

    // Nobody answers `client`.
    let (mut unicast, mut broadcast) = (0, 0);
    loop {
        let actions = client.step(client.due(), None);
        match &actions[..] {
            [Action::Send { to: Some(_), .. }] => unicast += 1,
            [Action::Send { to: None, .. }] => broadcast += 1,
            [Action::Lost, Action::Send { to: None, .. }] => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((2..40).contains(&unicast) && (1..40).contains(&broadcast), "{unicast} {broadcast}");
}

#[test]
fn what_the_server_says_is_bounded() {
    let (_, lease) = bound(0, 1);
    assert_eq!(lease.seconds, 60, "shorter leases would keep us busy");
    let (client, lease) = bound(0, u32::MAX);
    assert_eq!((lease.seconds, client.due()), (u32::MAX, u64::MAX));
    assert!(is_name("a.b-c") && !is_name("a b") && !is_name("-x") && !is_name("x\n"));
    let routes =
        classless(&[24, 10, 1, 2, 10, 0, 0, 1, 0, 10, 0, 0, 254, 33, 1, 2, 3, 4, 5, 1, 1, 1, 1]);
    assert_eq!(
        routes,
        [
            (Ipv4Addr::new(10, 1, 2, 0), 24, Ipv4Addr::new(10, 0, 0, 1)),
            (Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(10, 0, 0, 254)),
        ]
    );
}
