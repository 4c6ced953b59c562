use std::fmt::Write as _;

use overboot_dhcp::Mac;

use super::*;

fn site() -> Site {
    Site {
        tftp: [172, 31, 128, 1].into(),
        http: "http://172.31.128.1:9090/".into(),
        loaders: ["undionly.kpxe", "ipxe.pxe", "snponly.efi", "ipxe.efi"].map(String::from).into(),
    }
}

fn client(asking: Asking, arch: Option<Arch>) -> Client {
    Client {
        mac: Mac::new([0x52, 0x54, 0, 0, 0, 1]),
        asking,
        arch,
        vendor_class: Some("PXEClient".into()),
        uuid: None,
    }
}

fn view(machine: Machine, work: Work) -> View {
    View { machine, work, exit: Exit::Firmware, loader: None }
}

fn plan() -> BootPlan {
    BootPlan {
        name: "discovery".into(),
        kernel: "http://172.31.128.1:9090/boot/blobs/sha256/aa".into(),
        initrds: vec!["http://172.31.128.1:9090/boot/blobs/sha256/bb".into()],
        cmdline: "console=ttyS0".into(),
    }
}

#[test]
fn every_stage_of_every_machine() {
    let machines = [
        Machine::New,
        Machine::Undiscovered,
        Machine::Discovered,
        Machine::Excluded { reason: "owned by another team".into() },
    ];
    let works = [
        Work::None,
        Work::Busy { workflow: "Graph.ShellCommands".into() },
        Work::Boot { plan: plan(), by: "Graph.BootstrapUbuntu".into() },
        Work::Unbootable { by: "Graph.BootstrapUbuntu".into(), why: "no such set".into() },
    ];
    let askings = [
        ("rom", Asking::Rom, Some(Arch::Bios)),
        ("http", Asking::HttpRom, Some(Arch::EfiX64Http)),
        ("ipxe", Asking::Ipxe, Some(Arch::Bios)),
        ("script", Asking::Script, None),
        ("system", Asking::System, None),
    ];
    let mut out = String::new();
    for machine in &machines {
        for work in &works {
            let name = match work {
                Work::None => "no work",
                Work::Busy { .. } => "busy",
                Work::Boot { .. } => "boot",
                Work::Unbootable { .. } => "unbootable",
            };
            let _ = writeln!(out, "{machine:?}, {name}");
            for (word, asking, arch) in askings {
                let decision =
                    decide(&site(), &client(asking, arch), &view(machine.clone(), work.clone()));
                let _ = writeln!(out, "  {word:7} {decision}");
            }
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn every_architecture_gets_its_loader() {
    let mut out = String::new();
    for number in [0, 6, 7, 9, 10, 11, 15, 16, 18, 19, 27] {
        let arch = Arch::from_number(number);
        let asking = if arch.is_http() { Asking::HttpRom } else { Asking::Rom };
        let decision =
            decide(&site(), &client(asking, Some(arch)), &view(Machine::New, Work::None));
        let _ = writeln!(out, "{number:2} {arch}: {decision}");
    }
    insta::assert_snapshot!(out);
}

#[test]
fn boards_with_known_trouble_get_another_loader() {
    let mut out = String::new();
    let mut line = |decision: BootDecision| writeln!(out, "{decision}").unwrap();
    let new = view(Machine::New, Work::None);
    let mut board = client(Asking::Rom, Some(Arch::Bios));
    board.mac = "ec:a8:6b:00:00:01".parse().unwrap();
    line(decide(&site(), &board, &new));
    board.arch = Some(Arch::EfiX64);
    line(decide(&site(), &board, &new));
    board.mac = "7c:fe:90:00:00:01".parse().unwrap();
    line(decide(&site(), &board, &new));
    board.arch = Some(Arch::Bios);
    line(decide(&site(), &board, &new));
    insta::assert_snapshot!(out);
}

#[test]
fn an_operators_choice_counts_if_it_can_be_served() {
    let mut out = String::new();
    let mut line = |decision: BootDecision| writeln!(out, "{decision}").unwrap();
    let mut chosen = view(Machine::New, Work::None);
    chosen.loader = Some("ipxe.pxe".into());
    let rom = client(Asking::Rom, None);
    line(decide(&site(), &rom, &chosen));
    chosen.loader = Some("special.kpxe".into());
    line(decide(&site(), &rom, &chosen));
    insta::assert_snapshot!(out);
}
