//! The tree of the base that ships into a squashfs image, nothing of it compressed before.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use overboot_pack::ScanOptions;
use overboot_pack::image::{Compression, Options, write_squashfs};

use crate::bench::measure::{Memory, Sample, measure};
use crate::bench::ours::Project;
use crate::bench::peers::{self, MKSQUASHFS};
use crate::bench::race::{Contender, Goal, Race};
use crate::bench::{Bench, Row};

pub(crate) const ROW: Row = Row {
    name: "squashfs",
    what: "squashfs of the base that ships, cold: zstd 19, blocks of 1 MiB, all processors",
    needs: &[MKSQUASHFS],
    make,
};

/// As `overboot build` packs a base, without its cache of blocks.
pub(crate) fn pack(tree: &Path, image: &Path) -> Result<()> {
    let scan = ScanOptions { latest_mtime: u32::MAX, ..ScanOptions::default() };
    let options = Options { compression: Compression::Zstd { level: 19 }, ..Options::default() };
    write_squashfs(tree, &scan, &options, fs_err::File::create(image)?, &mut |_| {})?;
    Ok(())
}

fn make(bench: &Bench) -> Result<Race<'_>> {
    let project = Project::shipped(bench, "squashfs", "")?;
    project.build(&["base/base"])?;
    let tree = project.tree("base")?;
    let ours = {
        let tree = tree.clone();
        move |_| {
            let image = bench.path("ours.squashfs");
            let mut pack = Command::new(std::env::current_exe()?);
            let sample = measure(pack.arg("pack").arg(&tree).arg(&image), Memory::Watched)?;
            Ok(Sample { size: Some(fs_err::metadata(&image)?.len()), ..sample })
        }
    };
    let peer = move |_| peers::mksquashfs(&tree, &bench.path("peer.squashfs"), Memory::Watched);
    Ok(Race {
        contenders: vec![
            Contender::new("overboot's writer", ours),
            Contender::new("mksquashfs", peer),
        ],
        goals: vec![
            Goal::Faster { ours: 0, peer: 1, times: 1.0 },
            Goal::NotLarger { ours: 0, peer: 1 },
            Goal::LessMemory { ours: 0, peer: 1, share: 1.0 / 3.0 },
        ],
    })
}
