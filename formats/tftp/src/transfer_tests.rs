use proptest::prelude::*;

use super::*;

fn request(options: &[(&str, &str)]) -> Request {
    Request {
        file: "f".into(),
        mode: "octet".into(),
        options: options
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    }
}

fn ack(block: u16) -> Vec<u8> {
    Packet::Ack(block).emit()
}

/// A receiver as RFC 7440 wants it, over a network that loses what `lose` says; returns what it received.
fn receive(
    content: &[u8],
    options: &[(&str, &str)],
    limits: &Limits,
    mut lose: impl FnMut() -> bool,
) -> (Vec<u8>, Outcome) {
    let mut now = Instant::now();
    let (mut transfer, mut queue) =
        Transfer::start(now, &request(options), content, limits).unwrap();
    let mut received = Vec::new();
    let mut expected = 1u64;
    let mut window = 1u64;
    let mut block_size = 512;
    for _ in 0..200_000 {
        let mut answers = Vec::new();
        let mut in_window = 0;
        for datagram in std::mem::take(&mut queue) {
            if lose() {
                continue;
            }
            match Packet::parse(&datagram).unwrap() {
                Packet::OptionAck(options) => {
                    for (name, value) in options {
                        match name.as_str() {
                            "blksize" => block_size = value.parse().unwrap(),
                            "windowsize" => window = value.parse().unwrap(),
                            _ => {}
                        }
                    }
                    answers.push(ack(0));
                }
                Packet::Data { block, data } if block == expected as u16 => {
                    received.extend_from_slice(data);
                    expected += 1;
                    in_window += 1;
                    if in_window == window || data.len() < block_size {
                        answers.push(ack(block));
                        in_window = 0;
                    }
                }
                Packet::Data { .. } => {
                    answers.push(ack((expected - 1) as u16));
                    in_window = 0;
                }
                other => panic!("{other:?}"),
            }
        }
        let mut moved = false;
        for answer in answers {
            if lose() {
                continue;
            }
            let step = transfer.datagram(now, &answer);
            if let Some(outcome) = step.done {
                return (received, outcome);
            }
            moved |= !step.send.is_empty();
            queue.extend(step.send);
        }
        if !moved {
            now = transfer.deadline();
            let step = transfer.timeout(now);
            if let Some(outcome) = step.done {
                return (received, outcome);
            }
            queue.extend(step.send);
        }
    }
    panic!("no end");
}

#[test]
fn options_are_capped_and_echoed_and_the_rest_is_left_out() {
    let asked = [
        ("tsize", "0"),
        ("blksize", "65464"),
        ("windowsize", "1000"),
        ("timeout", "3"),
        ("multicast", ""),
        ("blksize", "9"),
    ];
    let (_, datagrams) =
        Transfer::start(Instant::now(), &request(&asked), vec![0; 99], &Limits::default()).unwrap();
    let Ok(Packet::OptionAck(options)) = Packet::parse(&datagrams[0]) else { panic!() };
    let options: Vec<_> = options.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(
        options,
        [("tsize", "99"), ("blksize", "1428"), ("windowsize", "32"), ("timeout", "3")]
    );
}

#[test]
fn values_that_no_rfc_allows_are_as_if_not_sent() {
    let asked = [("blksize", "7"), ("windowsize", "0"), ("timeout", "256"), ("timeout", "+3")];
    let (_, datagrams) =
        Transfer::start(Instant::now(), &request(&asked), vec![1; 5], &Limits::default()).unwrap();
    assert_eq!(datagrams, [Packet::Data { block: 1, data: &[1; 5] }.emit()]);
}

#[test]
fn only_binary_mode() {
    let mut text = request(&[]);
    text.mode = "netascii".into();
    let refusal = Transfer::start(Instant::now(), &text, vec![], &Limits::default()).unwrap_err();
    assert!(matches!(
        Packet::parse(&refusal.packet()),
        Ok(Packet::Error { code: ErrorCode::Operation, .. })
    ));
}

#[test]
fn whole_blocks_end_with_an_empty_one() {
    for size in [0, 1, 511, 512, 513, 1024] {
        let content: Vec<u8> = (0..size).map(|index| index as u8).collect();
        let (received, outcome) = receive(&content, &[], &Limits::default(), || false);
        assert_eq!((received, outcome), (content, Outcome::Complete), "{size}");
    }
}

#[test]
fn block_numbers_roll_over() {
    let content: Vec<u8> = (0..8 * 70_000u32).map(|index| (index / 8) as u8).collect();
    for options in [&[("blksize", "8")][..], &[("blksize", "8"), ("windowsize", "32")]] {
        let (received, outcome) = receive(&content, options, &Limits::default(), || false);
        assert_eq!(outcome, Outcome::Complete);
        assert!(received == content);
    }
}

#[test]
fn a_repeated_ack_does_not_double_the_traffic() {
    let now = Instant::now();
    let (mut transfer, _) =
        Transfer::start(now, &request(&[]), vec![0; 2000], &Limits::default()).unwrap();
    assert_eq!(transfer.datagram(now, &ack(1)).send.len(), 1);
    assert_eq!(transfer.datagram(now, &ack(1)), Step::nothing());
    assert_eq!(transfer.datagram(now, &ack(7)), Step::nothing(), "not sent yet");
}

#[test]
fn silence_is_waited_out_longer_and_longer_and_then_reported() {
    let mut now = Instant::now();
    let limits = Limits::default();
    let (mut transfer, _) = Transfer::start(now, &request(&[]), vec![0; 2000], &limits).unwrap();
    assert_eq!(transfer.timeout(now), Step::nothing(), "not due yet");
    transfer.datagram(now, &ack(1));
    let mut waits = Vec::new();
    let outcome = loop {
        waits.push((transfer.deadline() - now).as_secs());
        now = transfer.deadline();
        let step = transfer.timeout(now);
        if let Some(outcome) = step.done {
            break outcome;
        }
        assert_eq!(step.send.len(), 1);
    };
    assert_eq!(waits, [1, 2, 4, 8, 8, 8, 8]);
    assert_eq!(outcome, Outcome::Lost { acknowledged: 512 });
}

#[test]
fn a_rom_that_only_wants_the_size_is_no_failure() {
    let now = Instant::now();
    let asked = request(&[("tsize", "0")]);
    let (mut transfer, _) = Transfer::start(now, &asked, vec![0; 9], &Limits::default()).unwrap();
    let abort = Packet::Error { code: ErrorCode::Undefined, message: "TFTP Aborted".into() };
    assert_eq!(transfer.datagram(now, &abort.emit()).done, Some(Outcome::Probed));
}

proptest! {
    #[test]
    fn a_lossy_network_only_makes_it_slower(
        size in 0usize..20_000,
        block in 8u16..2000,
        window in 1u16..40,
        seed in any::<u64>(),
    ) {
        let content: Vec<u8> = (0..size).map(|index| (index * 7) as u8).collect();
        let (block, window) = (block.to_string(), window.to_string());
        let options = [("blksize", block.as_str()), ("windowsize", &window)];
        let limits = Limits { retries: u32::MAX, ..Limits::default() };
        // One in six is lost, without a period: a loss that keeps step with the windows could hit the same block for ever.
        let mut state = seed;
        let (received, outcome) = receive(&content, &options, &limits, || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % 6 == 0
        });
        prop_assert_eq!(outcome, Outcome::Complete);
        prop_assert!(received == content);
    }

    #[test]
    fn no_datagram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), window in 1u16..9) {
        let now = Instant::now();
        let asked = request(&[("windowsize", &window.to_string())]);
        let (mut transfer, _) =
            Transfer::start(now, &asked, vec![0; 5000], &Limits::default()).unwrap();
        for chunk in bytes.chunks(4) {
            transfer.datagram(now, chunk);
            transfer.datagram(now, &[&[0, 4], &chunk[..chunk.len().min(2)]].concat());
        }
    }
}
