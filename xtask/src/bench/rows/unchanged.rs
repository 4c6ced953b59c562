//! A build of the recipe that ships where there is nothing to do.

use anyhow::Result;

use crate::bench::ours::Project;
use crate::bench::race::{Contender, Goal, Race};
use crate::bench::{Bench, Row};

pub(crate) const ROW: Row =
    Row { name: "unchanged", what: "the recipe that ships, nothing changed", needs: &[], make };

fn make(bench: &Bench) -> Result<Race<'_>> {
    let project = Project::shipped(bench, "unchanged", "")?;
    project.build(&[])?;
    Ok(Race {
        contenders: vec![Contender::new("overboot build", move |_| project.build(&[]))],
        goals: vec![Goal::Seconds { ours: 0, at_most: 0.1 }],
    })
}
