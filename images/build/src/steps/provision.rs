//! The steps of a recipe, on a tree.

use overboot_recipe::{LockedPackage, LockedStage, Place, Placed, Provisioner, Sudo, Systemd};
use overboot_rootfs::provision::Verb;
use overboot_rootfs::{Filters, Package, Root, install, provision};

use super::{ansible, kernel, needs};
use crate::error::Error;
use crate::execute::Context;
use crate::plan::{Target, steps_of};
use crate::transactions::{Packages, Transaction, starts_from_packages, transactions};
use crate::{containers, debs};

/// Carries out all steps of an image, in order.
pub(super) fn all(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    steps: &[Provisioner],
    filters: &Filters,
) -> Result<(), Error> {
    let (steps, wanted) = transactions(steps, starts_from_packages(context.recipe, target));
    for step in steps {
        one(context, target, root, (step, &wanted), filters)?;
    }
    Ok(())
}

/// Installs the packages of one stage of an image that starts from some; [`all`] goes on from the last one.
pub(super) fn stage(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    (before, stage): (Option<LockedStage>, LockedStage),
    filters: &Filters,
) -> Result<(), Error> {
    let from = before.map_or(0, |before| before.batches);
    let batches = context.lock.first_step(&target.to_string(), from..stage.batches);
    let (_, wanted) = transactions(steps_of(context.recipe, target), true);
    packages(context, target, root, (&batches, stage.epoch), wanted.first(), filters)
}

fn packages(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    (batches, epoch): (&[Vec<&LockedPackage>], u64),
    wanted: Option<&Packages>,
    filters: &Filters,
) -> Result<(), Error> {
    let batches: Vec<Vec<Package>> = batches
        .iter()
        .map(|batch| batch.iter().map(|package| context.package_file(package)).collect())
        .collect::<Result<_, Error>>()?;
    let threads = context.project.options().threads.get();
    let installed = install(root, &batches, filters, epoch, threads, &context.log(target));
    installed.map_err(|error| {
        let place = place_of(context, target, wanted, &error.packages());
        Error::from(error).placed(context.recipe, place)
    })
}

fn one(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    (step, wanted): (Transaction<'_>, &[Packages]),
    filters: &Filters,
) -> Result<(), Error> {
    let log = context.log(target);
    let epoch = context.epoch(target);
    let at = |place: Place| move |error: Error| error.placed(context.recipe, place);
    match step {
        Transaction::Packages(number) => {
            let locked = context.lock.steps(&target.to_string());
            let batches = locked.get(number).map(Vec::as_slice).unwrap_or_default();
            let begins = number == 0 && starts_from_packages(context.recipe, target);
            let stage = context.lock.stages_of(&target.to_string()).last();
            let begun = stage.filter(|_| begins).map_or(0, |stage| stage.batches);
            let batches = batches.get(begun..).unwrap_or_default();
            packages(context, target, root, (batches, epoch), wanted.get(number), filters)?;
        }
        Transaction::Files(path) => {
            log(&format!("files {}", path.display()));
            let source = context.project.folder().join(&**path);
            let laid = provision::files(root, &source, epoch).map_err(Error::from);
            laid.map_err(at(path.place))?;
            context.unchanged(path)?;
        }
        Transaction::Slots(slots) => {
            for (name, to) in slots {
                let Some(slot) = context.recipe.slots.get(name) else { continue };
                log(&format!("{} to /{}", slot.file.display(), to.display()));
                let source = context.project.folder().join(&*slot.file);
                let put = provision::program(root, &source, to, epoch).map_err(Error::from);
                put.map_err(at(to.place))?;
                context.unchanged(&slot.file)?;
            }
        }
        Transaction::Script(script) => {
            log(&format!("script {}", script.path.display()));
            let path = context.project.folder().join(&*script.path);
            let network = context.network(script.network);
            let ran =
                provision::script(root, &path, &script.env, network, script.timeout, epoch, &log);
            ran.map_err(Error::from).map_err(at(script.path.place))?;
            context.unchanged(&script.path)?;
        }
        Transaction::HostScript(script) => {
            log(&format!("host-script {}", script.path.display()));
            let path = context.project.folder().join(&*script.path);
            let ran = provision::host_script(root, &path, &script.env, script.timeout, epoch, &log);
            ran.map_err(Error::from).map_err(at(script.path.place))?;
            context.unchanged(&script.path)?;
        }
        Transaction::Ansible(step) => {
            let ran = ansible::run(context, target, root, step);
            ran.map_err(at(step.play.path().place))?;
        }
        Transaction::Systemd(units) => {
            log("systemd units");
            for (verb, unit) in in_order(units) {
                needs::unit(context, target, root, verb, unit)?;
                let done = provision::systemd(root, verb, unit, epoch, &log);
                done.map_err(Error::from).map_err(at(unit.place))?;
            }
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
                needs::user(context, root, user)?;
                let place = user.name.place;
                let user = provision::User {
                    name: &user.name,
                    uid: user.uid.map(|uid| uid.value),
                    system: user.system,
                    shell: &user.shell,
                    groups: &Placed::values(&user.groups),
                    sudo: user.sudo == Some(Sudo::Nopasswd),
                };
                let made = provision::user(root, &user, epoch, &log);
                made.map_err(Error::from).map_err(at(place))?;
            }
        }
    }
    Ok(())
}

/// Where the recipe says what a transaction, which failed over one of these packages, was for.
fn place_of(
    context: &Context<'_>,
    target: &Target,
    wanted: Option<&Packages>,
    packages: &[&str],
) -> Place {
    let recipe = context.recipe;
    let names = wanted.into_iter().flat_map(|wanted| &wanted.names);
    let names = names.map(|entry| (entry.split('=').next().unwrap_or_default(), entry.place));
    let debs = wanted.into_iter().flat_map(|wanted| &wanted.debs);
    let debs = debs.map(|deb| {
        let whence = debs::whence(recipe, deb);
        let mut locked = context.lock.packages.iter();
        let locked = locked.find(|package| Some(&package.whence) == whence.as_ref());
        (locked.map_or("", |package| package.name.as_str()), deb.place)
    });
    let asked: Vec<(&str, Place)> = names.chain(debs).collect();
    let about = packages.iter().find_map(|name| asked.iter().find(|(asked, _)| asked == name));
    let image = match target {
        Target::Base(name) => recipe.bases.get(name).map(|base| base.place),
        Target::Overlay(name) => recipe.overlays.get(name).map(|overlay| overlay.place),
        _ => None,
    };
    about.or(asked.first()).map(|(_, place)| *place).or(image).unwrap_or_default()
}

/// What is done about units, one after the other: so each has its own error.
fn in_order(units: &Systemd) -> impl Iterator<Item = (Verb, &Placed<String>)> {
    let all = |verb, names| std::iter::repeat(verb).zip(names);
    let (enable, disable) = (all(Verb::Enable, &units.enable), all(Verb::Disable, &units.disable));
    let default = units.default.iter().map(|unit| (Verb::SetDefault, unit));
    enable.chain(disable).chain(all(Verb::Mask, &units.mask)).chain(default)
}
