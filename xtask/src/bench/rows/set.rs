//! All that the recipe that ships makes: kernel, modules, initrd, base, discovery, boot sets.

use std::rc::Rc;

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

/// Compressed blocks of an earlier build.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocks {
    None,
    AsBefore,
}

fn make(bench: &Bench) -> Result<Race<'_>> {
    let project = Project::shipped(bench, "set", "")?;
    let built = Project::sizes(&project.build(&[])?.said);
    let sizes = SIZES.map(|(target, at_most)| {
        let size = built.iter().find(|(built, _)| built == target);
        let size = size.with_context(|| format!("the recipe that ships makes no {target}"))?.1;
        Ok(Goal::Size { what: target.to_owned(), bytes: size, at_most })
    });
    let recipe = project.folder().to_owned();
    let project = Rc::new(project);
    let ours = |blocks: Blocks| {
        let project = Rc::clone(&project);
        move |_| {
            project.forget()?;
            if blocks == Blocks::None {
                project.forget_blocks()?;
            }
            Ok(project.run(&["build"], Memory::Watched)?.unmarked())
        }
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
            Contender::new("overboot build", ours(Blocks::None)),
            // The one before has left them.
            Contender::new("overboot build, compressed blocks from before", ours(Blocks::AsBefore)),
            Contender::fetching("on-imagebuilder's steps", peer),
        ],
        goals,
    })
}
