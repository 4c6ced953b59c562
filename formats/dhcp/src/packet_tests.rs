use proptest::prelude::*;

use super::*;

fn discover() -> Packet {
    Packet::request(Mac::new([0x52, 0x54, 0, 0x12, 0x34, 0x56]), 0xdead_beef, MessageType::Discover)
}

#[test]
fn what_is_written_is_read_back() {
    let mut packet = discover();
    packet.broadcast = true;
    packet.secs = 4;
    packet.ciaddr = [10, 0, 0, 1].into();
    packet.yiaddr = [10, 0, 0, 2].into();
    packet.siaddr = [10, 0, 0, 3].into();
    packet.giaddr = [10, 0, 0, 4].into();
    packet.sname = b"boot".to_vec();
    packet.file = b"undionly.kpxe".to_vec();
    packet.options.set_text(Code::VENDOR_CLASS, "PXEClient");
    let bytes = packet.emit(Packet::DEFAULT_MAX).unwrap();
    assert_eq!(bytes.len(), Packet::MIN);
    assert_eq!(&bytes[240..243], [53, 1, 1], "the message type is first");
    assert_eq!(Packet::parse(&bytes).unwrap(), packet);
}

#[test]
fn a_reply_echoes_what_the_rfcs_ask_for() {
    let mut request = discover();
    request.broadcast = true;
    request.giaddr = [10, 9, 8, 7].into();
    request.options.set(Code::RELAY_AGENT, b"\x01\x03abc".to_vec());
    request.options.set(Code::CLIENT_ID, b"\x01me".to_vec());
    request.options.set_text(Code::HOST_NAME, "not echoed");
    let mut reply = Packet::reply(&request, MessageType::Offer);
    reply.options.set(Code::IPXE, [1, 1, 1]);
    assert_eq!((reply.xid, reply.broadcast, reply.giaddr), (request.xid, true, request.giaddr));
    assert!(!reply.options.has(Code::HOST_NAME));
    let bytes = reply.emit(Packet::DEFAULT_MAX).unwrap();
    let end = bytes.iter().rposition(|byte| *byte == END).unwrap();
    assert_eq!(&bytes[end - 7..end], b"\x52\x05\x01\x03abc", "option 82 is last");
}

#[test]
fn long_options_are_split_and_joined() {
    let mut packet = discover();
    let long: Vec<u8> = (0..600).map(|index| index as u8).collect();
    packet.options.set(Code::DOMAIN_SEARCH, long);
    let bytes = packet.emit(Packet::MAX).unwrap();
    assert_eq!(Packet::parse(&bytes).unwrap(), packet);
}

#[test]
fn unused_header_fields_take_what_does_not_fit() {
    let mut packet = discover();
    for code in 100..110 {
        packet.options.set(Code(code), vec![code; 30]);
    }
    let bytes = packet.emit(Packet::DEFAULT_MAX).unwrap();
    assert!(bytes.len() <= Packet::DEFAULT_MAX);
    assert_eq!(Packet::parse(&bytes).unwrap(), packet);

    packet.file = b"undionly.kpxe".to_vec();
    let bytes = packet.emit(Packet::DEFAULT_MAX).unwrap();
    assert_eq!(Packet::parse(&bytes).unwrap(), packet, "sname alone is enough");

    packet.sname = b"boot".to_vec();
    assert_eq!(packet.emit(Packet::DEFAULT_MAX), Err(Error::TooLarge { max: Packet::DEFAULT_MAX }));
}

#[test]
fn broken_messages_are_refused_with_their_reason() {
    let good = discover().emit(Packet::DEFAULT_MAX).unwrap();
    assert_eq!(Packet::parse(&good[..239]), Err(Error::Short(239)));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Packet::parse(&bytes)
    };
    assert_eq!(with(0, 3), Err(Error::Op(3)));
    assert_eq!(with(1, 32), Err(Error::Hardware { htype: 32, hlen: 6 }));
    assert_eq!(with(2, 16), Err(Error::Hardware { htype: 1, hlen: 16 }));
    assert_eq!(with(236, 0), Err(Error::Cookie));
    assert_eq!(with(241, 200), Err(Error::Truncated(Code::MESSAGE_TYPE)));
    assert!(Packet::parse(&good[..243]).is_ok(), "a missing end option is forgiven");
    let mut long = discover();
    long.file = vec![b'a'; 128];
    assert_eq!(
        long.emit(Packet::MAX),
        Err(Error::LongField { field: "file", length: 128, room: 127 })
    );
}

#[test]
fn sizes_that_clients_claim_are_kept_within_reason() {
    let mut packet = discover();
    for (claimed, max) in [(0, 548), (576, 548), (1260, 1232), (1500, 1472), (65535, 1472)] {
        packet.options.set_u16(Code::MAX_MESSAGE_SIZE, claimed);
        assert_eq!(packet.max_reply(), max);
    }
}

#[test]
fn option_67_wins_over_the_header() {
    let mut packet = discover();
    assert_eq!(packet.boot_file(), None);
    packet.file = b"a".to_vec();
    assert_eq!(packet.boot_file(), Some("a"));
    packet.options.set(Code::BOOT_FILE, b"b\0".to_vec());
    assert_eq!(packet.boot_file(), Some("b"));
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let options = proptest::collection::btree_map(
        1u8..255,
        proptest::collection::vec(any::<u8>(), 0..300),
        0..6,
    );
    let text = |max| proptest::collection::vec(1u8..=255, 0..max);
    (any::<[u8; 6]>(), any::<u32>(), any::<bool>(), text(64), text(128), options).prop_map(
        |(mac, xid, broadcast, sname, file, options)| {
            let mut packet = Packet::request(Mac::new(mac), xid, MessageType::Request);
            packet.broadcast = broadcast;
            packet.sname = sname;
            packet.file = file;
            for (code, value) in options {
                if Code(code) != Code::OVERLOAD {
                    packet.options.set(Code(code), value);
                }
            }
            packet
        },
    )
}

proptest! {
    #[test]
    fn any_packet_survives_the_wire(packet in any_packet(), max in 300usize..1500) {
        match packet.emit(max) {
            Ok(bytes) => {
                prop_assert!(bytes.len() <= max);
                prop_assert_eq!(Packet::parse(&bytes).unwrap(), packet);
            }
            Err(error) => prop_assert_eq!(error, Error::TooLarge { max }),
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        let _ = Packet::parse(&bytes);
    }

    #[test]
    fn no_damage_panics(packet in any_packet(), at in 0usize..1500, byte: u8, cut in 0usize..1500) {
        if let Ok(mut bytes) = packet.emit(Packet::MAX) {
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(cut);
            if let Ok(packet) = Packet::parse(&bytes) {
                let _ = crate::dump::text(&packet);
                let _ = (packet.boot_file(), packet.max_reply(), packet.options.user_classes());
            }
        }
    }
}
