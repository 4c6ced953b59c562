//! Debian's minbase as a root tree.

use anyhow::Result;

use crate::bench::ours::Project;
use crate::bench::peers::{self, DEBOOTSTRAP, MMDEBSTRAP};
use crate::bench::race::{Contender, Goal, Race};
use crate::bench::{Bench, Row};

pub(crate) const ROW: Row = Row {
    name: "minbase",
    what: "minbase root tree from a warm package store; ours then packs it (lz4) and records what is in it",
    needs: &[MMDEBSTRAP, DEBOOTSTRAP],
    make,
};

fn make(bench: &Bench) -> Result<Race<'_>> {
    let recipe = "[base.minbase]\nvariant = \"minbase\"\ncompression = \"lz4\"\n";
    let project = Project::new(bench, "minbase", recipe)?;
    let ours = move |_| {
        project.forget()?;
        project.forget_blocks()?;
        project.build(&["base/minbase"])
    };
    let peer = |name: &'static str, make: fn(&Bench, &std::path::Path) -> Result<_>| {
        Contender::fetching(name, move |_| {
            bench.forget(&[name])?;
            make(bench, &bench.path(name))
        })
    };
    Ok(Race {
        contenders: vec![
            Contender::fetching("overboot build", ours),
            peer("mmdebstrap", peers::mmdebstrap),
            peer("debootstrap", peers::debootstrap),
        ],
        goals: vec![
            Goal::Sooner { ours: 0, peer: 1, times: 5.0 },
            Goal::Faster { ours: 0, peer: 1, times: 5.0 },
            Goal::Sooner { ours: 0, peer: 2, times: 8.0 },
            Goal::Faster { ours: 0, peer: 2, times: 8.0 },
        ],
    })
}
