//! Who has to do with root trees, and must be root for that, or what comes nearest to it.

use overboot_build::Project;

use super::project;
use crate::{Command, Global};

/// Is it a command that makes trees, or one that may have to remove some which are there or to see whether they are whole? Root, or
/// the root of a namespace, is all one to it; whatever else a command does, an ordinary user does as such.
pub(crate) fn are_meant(command: &Command, global: &Global) -> bool {
    match command {
        Command::Build(_) => true,
        Command::Verify(args) => args.makes_trees() || are_there(global),
        Command::Lock(_)
        | Command::Plan(_)
        | Command::Publish(_)
        | Command::Rollback(_)
        | Command::Pull(_)
        | Command::Gc(_) => are_there(global),
        Command::Init(_)
        | Command::Check(_)
        | Command::Try(_)
        | Command::Serve(_)
        | Command::Export(_)
        | Command::Inspect(_)
        | Command::Diff(_)
        | Command::Sbom(_)
        | Command::Push(_)
        | Command::Schema(_)
        | Command::Sandbox(_) => false,
    }
}

fn are_there(global: &Global) -> bool {
    project::folder(global).is_ok_and(|folder| Project::has_trees(&folder))
}
