//! What steps of Ansible need besides the recipe: a Python for its modules, from the archive as everything is, and the Ansible
//! of this machine.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use overboot_recipe::{Placed, Provisioner, Recipe};
use overboot_rootfs::Sandbox;

use crate::error::Error;
use crate::execute::Context;
use crate::plan::Plan;
use crate::steps::provisions;

/// The lock's name for the packages of that Python.
pub(crate) const PYTHON: &str = "python";

/// The subcommand by which the program that builds lets Ansible into the sandbox: it calls [`enter`] with what follows.
pub const ENTER: &str = "sandbox";

/// Is there a step of Ansible's among them?
pub(crate) fn is_used(steps: &[Provisioner]) -> bool {
    steps.iter().any(|step| matches!(step, Provisioner::Ansible(_)))
}

/// The packages of that Python: itself, and what the module `apt` asks about packages; each with the place of the first step that
/// needs them. Nothing where none does.
pub(crate) fn packages(recipe: &Recipe) -> Option<Vec<Placed<String>>> {
    let bases = recipe.bases.values().flat_map(|base| &base.provision);
    let mut all = bases.chain(recipe.overlays.values().flat_map(|overlay| &overlay.provision));
    let place = all.find_map(|step| match step {
        Provisioner::Ansible(ansible) => Some(ansible.play.path().place),
        _ => None,
    })?;
    Some(["python3", "python3-apt"].map(|name| Placed { value: name.to_owned(), place }).to_vec())
}

/// Can this machine carry out the steps of Ansible's in a plan?
pub(crate) fn check(context: &Context<'_>, plan: &Plan) -> Result<(), Error> {
    let running = plan.steps.iter().filter(|step| step.runs());
    let mut provisions = running.flat_map(|step| provisions(context, &step.target));
    if provisions.any(|(_, steps)| is_used(steps)) {
        overboot_rootfs::ansible::ready()?;
    }
    Ok(())
}

/// The versions of this machine's Ansible, if it has one.
pub(crate) fn version() -> Result<Option<String>, Error> {
    match overboot_rootfs::ansible::version() {
        Ok(version) => Ok(Some(version)),
        Err(overboot_rootfs::Error::NoAnsible { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Becomes a program in a sandbox: `words` are the file that describes it, what Ansible takes for its root, the program, and
/// its arguments. Returns only when it cannot.
#[must_use]
pub fn enter(words: &[OsString]) -> Error {
    let [described, _root, program, arguments @ ..] = words else {
        return Error::told(
            "a sandbox needs its description, a root and a program",
            "this is for overboot itself to use",
        );
    };
    let path = Path::new(described);
    let bytes = match fs_err::read(path) {
        Ok(bytes) => bytes,
        Err(source) => return Error::io("read", path)(source),
    };
    match serde_json::from_slice::<Sandbox>(&bytes) {
        Ok(sandbox) => sandbox.become_program(OsStr::new(program), arguments).into(),
        Err(error) => Error::io("read", path)(error.into()),
    }
}
