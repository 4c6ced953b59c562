//! What the tree must have for a step, looked up before its own tool is run: which would say less, and not where.

use overboot_recipe::{Place, Placed, User, near};
use overboot_rootfs::provision::{self, Verb};
use overboot_rootfs::{Accounts, Root};

use crate::error::Error;
use crate::event::Event;
use crate::execute::Context;
use crate::plan::Target;

/// Can the user be made: is the name free, is the number, and are all groups there?
pub(super) fn user(context: &Context<'_>, root: &Root, user: &User) -> Result<(), Error> {
    let wrong = |place: Place, message: String, help: String| {
        Err(Error::told(format!("{}{message}", context.recipe.at(place)), help))
    };
    tool(context, root, "useradd", "passwd", user.name.place)?;
    let accounts = Accounts::of(root)?;
    let name = &user.name;
    if accounts.known_user(name).is_some() {
        let message = format!("the image has a user \"{name}\" already");
        return wrong(name.place, message, "leave it out, or give it another name".to_owned());
    }
    if accounts.known_group(name).is_some() {
        let message =
            format!("the image has a group \"{name}\", and each user gets one of its own name");
        let help = format!("give the user another name, or run `useradd --gid {name}` in a script");
        return wrong(name.place, message, help);
    }
    if let Some(uid) = &user.uid
        && let Some(other) = accounts.user_of(**uid)
    {
        let message = format!("{uid} is the number of the user \"{other}\" in the image");
        let help = "write another one, or leave out `uid`".to_owned();
        return wrong(uid.place, message, help);
    }
    for group in &user.groups {
        if accounts.known_group(group).is_some() {
            continue;
        }
        let groups = accounts.groups();
        let close = near(group, groups.iter().copied());
        let known = if close.is_empty() { groups } else { close };
        let message = format!("the image has no group \"{group}\"");
        let help = format!("make it in a step before, or write one of: {}", known.join(", "));
        return wrong(group.place, message, help);
    }
    Ok(())
}

/// Is there such a unit? One that is never to be started may come later, with another overlay or from a generator: nothing is
/// wrong with its not being there, but the name may be.
pub(super) fn unit(
    context: &Context<'_>,
    target: &Target,
    root: &Root,
    verb: Verb,
    unit: &Placed<String>,
) -> Result<(), Error> {
    tool(context, root, "systemctl", "systemd", unit.place)?;
    let units = provision::units(root)?;
    if units.contains(unit.as_str()) || units.contains(&template(unit)) {
        return Ok(());
    }
    let message = format!("{}the image has no unit \"{unit}\"", context.recipe.at(unit.place));
    let close = near(unit, units.iter().map(String::as_str)).join(", ");
    if verb == Verb::Mask {
        let meant = if close.is_empty() { close } else { format!("; did you mean {close}?") };
        let line = format!("{message} that could be masked{meant}");
        (context.progress)(Event::Warned { target: target.to_string(), line });
        return Ok(());
    }
    let help = match close.as_str() {
        "" => "install what brings it in a step before, or leave it out".to_owned(),
        close => format!("install what brings it in a step before, or write one of: {close}"),
    };
    Err(Error::told(message, help))
}

/// The unit that `name@instance.kind` is an instance of (systemd.unit(5)).
fn template(unit: &str) -> String {
    let whole = || Some((unit.split_once('@')?.0, unit.rsplit_once('.')?.1));
    whole().map(|(name, kind)| format!("{name}@.{kind}")).unwrap_or_default()
}

/// Is the program there that does it?
fn tool(
    context: &Context<'_>,
    root: &Root,
    program: &str,
    package: &str,
    place: Place,
) -> Result<(), Error> {
    if provision::has_program(root, program) {
        return Ok(());
    }
    let place = context.recipe.at(place);
    Err(Error::told(
        format!("{place}the image has no {program}, which does this"),
        format!("install the package {package} in a step before"),
    ))
}
