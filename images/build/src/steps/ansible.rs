//! Roles and playbooks on a tree.

use std::path::PathBuf;

use overboot_recipe::{Ansible, Placed, Play};
use overboot_rootfs::{Root, ansible};

use super::tree;
use crate::ansible::{ENTER, PYTHON};
use crate::error::Error;
use crate::execute::Context;
use crate::plan::Target;

/// Carries out a step.
pub(super) fn run(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    step: &Ansible,
) -> Result<(), Error> {
    let log = context.log(target);
    let path = step.play.path();
    log(&format!("ansible {}", path.display()));
    let python = python(context, target)?;
    // Ansible starts what enters the sandbox itself: this very program.
    let program = std::env::current_exe().map_err(Error::io("find", "/proc/self/exe"))?;
    let play = ansible::Play {
        project: context.project.folder(),
        path,
        role: matches!(step.play, Play::Role(_)),
        vars: &Placed::values(&step.vars),
        extra_vars: &step.extra_vars,
        reads: &Placed::values(&step.reads),
        network: context.network(step.network),
        limit: step.timeout,
    };
    let scratch =
        context.project.scratch().join(format!("ansible-{}", target.to_string().replace('/', "-")));
    let means = ansible::Means {
        python: &python,
        scratch: &scratch,
        enter: &[program.into(), ENTER.into()],
    };
    ansible::ansible(root, &play, &means, context.epoch(target), &log)?;
    overboot_rootfs::remove_tree(&scratch)?;
    for path in &step.reads {
        context.unchanged(path)?;
    }
    Ok(())
}

/// Is the Python that its modules run on there?
pub(super) fn has_python(context: &Context<'_>) -> bool {
    tree::is_kept(context, &tree::files_name(context, PYTHON))
}

/// The Python that its modules run on.
fn python(context: &Context<'_>, target: &Target) -> Result<PathBuf, Error> {
    tree::kept(context, &tree::files_name(context, PYTHON), |folder| {
        tree::extract(context, PYTHON, folder)?;
        ansible::prepare_python(folder, context.lock.epoch_of(PYTHON), &context.log(target))?;
        Ok(())
    })
}
