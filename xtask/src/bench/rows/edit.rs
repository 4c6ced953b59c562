//! One file of an overlay changed, and everything built: the way to the new boot set.

use std::rc::Rc;

use anyhow::Result;

use crate::bench::ours::Project;
use crate::bench::race::{Contender, Goal, Race};
use crate::bench::{Bench, Row};

pub(crate) const ROW: Row = Row {
    name: "edit",
    what: "one file of an overlay changed, in the recipe that ships, to the new boot set",
    needs: &[],
    make,
};

/// To discovery, whose packages come before, a folder of files; and an overlay that is such a folder.
const RECIPE: &str = r#"
[[overlay.discovery.provision]]
files = "overlays/discovery"

[overlay.site]
base = "base"

[[overlay.site.provision]]
files = "overlays/site"
"#;

fn make(bench: &Bench) -> Result<Race<'_>> {
    let project = Rc::new(Project::shipped(bench, "edit", RECIPE)?);
    for overlay in ["discovery", "site"] {
        let folder = project.folder().join("overlays").join(overlay).join("etc");
        fs_err::create_dir_all(&folder)?;
        for number in 0..20 {
            fs_err::write(folder.join(format!("setting-{number}")), format!("{number}\n"))?;
        }
    }
    project.build(&[])?;
    let edit = |overlay: &'static str| {
        let project = Rc::clone(&project);
        move |round| {
            let file = project.folder().join("overlays").join(overlay).join("etc/setting-7");
            fs_err::write(file, format!("changed in round {round}\n"))?;
            Ok(project.build(&[])?.unmarked())
        }
    };
    Ok(Race {
        contenders: vec![
            Contender::new("an overlay of files", edit("site")),
            Contender::new("discovery, after its packages", edit("discovery")),
        ],
        goals: vec![
            Goal::Seconds { ours: 0, at_most: 1.0 },
            Goal::Seconds { ours: 1, at_most: 1.0 },
        ],
    })
}
