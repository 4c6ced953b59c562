//! A root that boots and takes ssh, as a directory.

use anyhow::Result;

use crate::bench::ours::Project;
use crate::bench::peers::{self, DEBOOTSTRAP, MKOSI, NSPAWN};
use crate::bench::race::{Contender, Goal, Race};
use crate::bench::{Bench, Row};

pub(crate) const ROW: Row = Row {
    name: "systemd",
    what: "a root with systemd, udev and openssh-server from a warm package store; ours then packs it (lz4) and records what is in it",
    needs: &[MKOSI, DEBOOTSTRAP, NSPAWN],
    make,
};

/// The three, and what mkosi 14 adds to them by itself, so that both have the same.
const PACKAGES: [&str; 8] = [
    "systemd",
    "udev",
    "openssh-server",
    "systemd-sysv",
    "systemd-resolved",
    "dbus",
    "libpam-systemd",
    "ca-certificates",
];

fn make(bench: &Bench) -> Result<Race<'_>> {
    let recipe = format!(
        "[base.systemd]\nvariant = \"minbase\"\ncompression = \"lz4\"\n\n\
         [[base.systemd.provision]]\npackages = {PACKAGES:?}\n"
    );
    let project = Project::new(bench, "systemd", &recipe)?;
    let ours = move |_| {
        project.forget()?;
        project.forget_blocks()?;
        project.build(&["base/systemd"])
    };
    Ok(Race {
        contenders: vec![
            Contender::fetching("overboot build", ours),
            Contender::fetching("mkosi", move |_| peers::mkosi(bench, &PACKAGES)),
        ],
        goals: vec![
            Goal::Sooner { ours: 0, peer: 1, times: 8.0 },
            Goal::Faster { ours: 0, peer: 1, times: 8.0 },
        ],
    })
}
