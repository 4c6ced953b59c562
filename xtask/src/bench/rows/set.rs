//! All that the recipe that ships makes: kernel, modules, initrd, base, discovery, boot sets.

use anyhow::{Context, Result};

use crate::bench::measure::Memory;
use crate::bench::ours::Project;
use crate::bench::peers::{self, CPIO, DEBOOTSTRAP, DEPMOD, MKSQUASHFS};
use crate::bench::race::{Contender, Goal, Race};
use crate::bench::{Bench, Row};

pub(crate) const ROW: Row = Row {
    name: "set",
    what: "base, discovery, modules and initrd of the recipe that ships, from a warm package store; ours also signed boot sets",
    needs: &[DEBOOTSTRAP, MKSQUASHFS, CPIO, DEPMOD],
    make,
};

/// What its images may have on a boot server, in bytes.
const SIZES: [(&str, u64); 4] = [
    ("base/base", 45_000_000),
    ("overlay/discovery", 5_000_000),
    ("initrd/default", 12_000_000),
    ("modules/default", 35_000_000),
];

fn make(bench: &Bench) -> Result<Race<'_>> {
    let project = Project::shipped(bench, "set", "")?;
    let built = Project::sizes(&project.build(&[])?.said);
    let sizes = SIZES.map(|(target, at_most)| {
        let size = built.iter().find(|(built, _)| built == target);
        let size = size.with_context(|| format!("the recipe that ships makes no {target}"))?.1;
        Ok(Goal::Size { what: target.to_owned(), bytes: size, at_most })
    });
    let warm = Project::shipped(bench, "set-warm", "")?;
    let recipe = project.folder().to_owned();
    let ours = move |_| {
        project.forget()?;
        project.forget_blocks()?;
        Ok(project.run(&["build"], Memory::Watched)?.unmarked())
    };
    // Right after the other, which has left its blocks.
    let ours_warm = move |_| {
        warm.forget()?;
        Ok(warm.run(&["build"], Memory::Watched)?.unmarked())
    };
    let peer = move |_| peers::on_imagebuilder(bench, &recipe);
    let mut goals = vec![
        Goal::Faster { ours: 0, peer: 2, times: 10.0 },
        Goal::Faster { ours: 1, peer: 2, times: 10.0 },
        Goal::Memory { ours: 0, at_most: 400_000_000 },
    ];
    goals.extend(sizes.into_iter().collect::<Result<Vec<_>>>()?);
    Ok(Race {
        contenders: vec![
            Contender::new("overboot build", ours),
            Contender::new("overboot build, compressed blocks from before", ours_warm),
            Contender::new("on-imagebuilder's steps", peer),
        ],
        goals,
    })
}
