//! The steps of a recipe, on a tree.

use overboot_recipe::{Provisioner, Sudo};
use overboot_rootfs::{Filters, Package, Root, install, provision};

use super::{ansible, kernel};
use crate::containers;
use crate::error::Error;
use crate::execute::Context;
use crate::plan::Target;
use crate::transactions::{Transaction, starts_from_packages, transactions};

/// Carries out all steps of an image, in order.
pub(super) fn all(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    steps: &[Provisioner],
    filters: &Filters,
) -> Result<(), Error> {
    for step in transactions(steps, starts_from_packages(context.recipe, target)).0 {
        one(context, target, root, step, filters).map_err(|error| match said(step) {
            Some(word) => error.placed(context.recipe, &word),
            None => error,
        })?;
    }
    Ok(())
}

/// What the recipe says of a step that is only said there; nothing where its errors have their places.
fn said(step: Transaction<'_>) -> Option<String> {
    match step {
        Transaction::Files(path) => Some(path.display().to_string()),
        Transaction::Slots(slots) => slots.values().next().map(|to| format!("/{}", to.display())),
        Transaction::Script(script) | Transaction::HostScript(script) => {
            Some(script.path.display().to_string())
        }
        Transaction::Ansible(step) => Some(step.play.path().display().to_string()),
        Transaction::Systemd(units) => {
            let named = [&units.enable, &units.disable, &units.mask].into_iter().flatten();
            named.chain(&units.default).next().cloned()
        }
        Transaction::Users(users) => users.first().map(|user| user.name.clone()),
        Transaction::Packages(_) | Transaction::Container(_) | Transaction::Modules(..) => None,
    }
}

fn one(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    step: Transaction<'_>,
    filters: &Filters,
) -> Result<(), Error> {
    let log = context.log(target);
    let epoch = context.lock.epoch;
    match step {
        Transaction::Packages(at) => {
            let locked = context.lock.steps(&target.to_string());
            let batches = locked.get(at).map(Vec::as_slice).unwrap_or_default();
            let batches: Vec<Vec<Package>> = batches
                .iter()
                .map(|batch| batch.iter().map(|package| context.package_file(package)).collect())
                .collect::<Result<_, Error>>()?;
            let threads = context.project.options().threads.get();
            install(root, &batches, filters, epoch, threads, &log)?;
        }
        Transaction::Files(path) => {
            log(&format!("files {}", path.display()));
            provision::files(root, &context.project.folder().join(path), epoch)?;
            context.unchanged(path)?;
        }
        Transaction::Slots(slots) => {
            for (name, to) in slots {
                let Some(slot) = context.recipe.slots.get(name) else { continue };
                log(&format!("{} to /{}", slot.file.display(), to.display()));
                provision::program(root, &context.project.folder().join(&slot.file), to, epoch)?;
                context.unchanged(&slot.file)?;
            }
        }
        Transaction::Script(script) => {
            log(&format!("script {}", script.path.display()));
            let path = context.project.folder().join(&script.path);
            let network = context.network(script.network);
            provision::script(root, &path, &script.env, network, epoch, &log)?;
            context.unchanged(&script.path)?;
        }
        Transaction::HostScript(script) => {
            log(&format!("host-script {}", script.path.display()));
            let path = context.project.folder().join(&script.path);
            provision::host_script(root, &path, &script.env, epoch, &log)?;
            context.unchanged(&script.path)?;
        }
        Transaction::Ansible(step) => ansible::run(context, target, root, step)?,
        Transaction::Systemd(units) => {
            log("systemd units");
            let units = provision::Units {
                enable: &units.enable,
                disable: &units.disable,
                mask: &units.mask,
                default: units.default.as_deref(),
            };
            provision::systemd(root, &units, epoch, &log)?;
        }
        Transaction::Container(image) => {
            log(&format!("container image {image}"));
            let scratch = format!("container-{}", target.to_string().replace('/', "-"));
            let scratch = context.project.scratch().join(scratch);
            containers::lay(context, image, root, &scratch, &log)?;
        }
        Transaction::Modules(include, to) => {
            log("kernel modules");
            kernel::provide(context, target, root, include, to)?;
        }
        Transaction::Users(users) => {
            for user in users {
                log(&format!("user {}", user.name));
                let user = provision::User {
                    name: &user.name,
                    uid: user.uid,
                    system: user.system,
                    shell: &user.shell,
                    groups: &user.groups,
                    sudo: user.sudo == Some(Sudo::Nopasswd),
                };
                provision::user(root, &user, epoch, &log)?;
            }
        }
    }
    Ok(())
}
