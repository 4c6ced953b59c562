//! The verdict: facts of an overlay against facts of a base.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::facts::{Base, Overlay, beneath};
use crate::look::{Kind, Look};
use crate::packages::broken;
use crate::reason::{Account, Reason, Verdict};
use crate::view::View;

/// What is to be done about an overlay, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What: the worst of what the reasons ask for.
    pub verdict: Verdict,
    /// All that speaks against it, with what each reason by itself asks for.
    pub reasons: Vec<(Verdict, Reason)>,
}

/// May the overlay stay as it is on this base? `renewed`: building it again would start from other packages or sources than it
/// was made from, so that what it lacks today is no conflict yet.
#[must_use]
pub fn judge(overlay: &Overlay, base: &Base, renewed: bool) -> Judgement {
    let news = speaks_against(overlay, base).into_iter();
    let news = news.filter(|reason| !overlay.known.contains(reason));
    let mut reasons: Vec<(Verdict, Reason)> =
        news.map(|reason| (asks_for(&reason, overlay, renewed), reason)).collect();
    // The worst first.
    reasons.sort_by(|one, two| two.0.cmp(&one.0).then_with(|| one.1.cmp(&two.1)));
    let verdict = reasons.first().map_or(Verdict::Valid, |(verdict, _)| *verdict);
    Judgement { verdict, reasons }
}

impl Judgement {
    /// Of an overlay about which nothing was written down.
    #[must_use]
    pub fn unknown() -> Self {
        Self { verdict: Verdict::Rebuild, reasons: vec![(Verdict::Rebuild, Reason::Unknown)] }
    }
}

fn asks_for(reason: &Reason, overlay: &Overlay, renewed: bool) -> Verdict {
    match reason {
        Reason::Unknown
        | Reason::Changed { .. }
        | Reason::Gone { .. }
        | Reason::Hidden { .. }
        | Reason::Deleted { .. }
        | Reason::Link { .. }
        | Reason::Older { .. }
        | Reason::Removed { .. } => Verdict::Rebuild,
        // From the same packages and sources come the same needs.
        Reason::Library { .. }
        | Reason::Version { .. }
        | Reason::Symbol { .. }
        | Reason::Interpreter { .. }
        | Reason::Relation { .. }
        | Reason::Against { .. }
            if renewed =>
        {
            Verdict::Rebuild
        }
        Reason::Library { .. }
        | Reason::Version { .. }
        | Reason::Symbol { .. }
        | Reason::Interpreter { .. }
        | Reason::Relation { .. }
        | Reason::Against { .. } => Verdict::Conflict,
        // Built again, a user gets the next free number, unless it is always to have this one.
        Reason::Taken { name, number, .. } | Reason::Renumbered { name, number, .. } => {
            if overlay.fixed.contains(name) || is_assigned(*number) {
                Verdict::Conflict
            } else {
                Verdict::Rebuild
            }
        }
    }
}

/// Is a number given to one name for all of Debian (Policy 9.2.2), and not to whoever comes first?
fn is_assigned(number: u32) -> bool {
    matches!(number, 0..100 | 60_000..65_000 | 65_534)
}

/// All that speaks against the two together, also what spoke against them from the beginning.
pub(crate) fn speaks_against(overlay: &Overlay, base: &Base) -> BTreeSet<Reason> {
    let view = View { base, overlay };
    let mut found = BTreeSet::new();
    files(view, &mut found);
    links(view, &mut found);
    programs(view, &mut found);
    packages(view, &mut found);
    let accounts = [
        (Account::User, &overlay.users, &base.users),
        (Account::Group, &overlay.groups, &base.groups),
    ];
    for (account, own, theirs) in accounts {
        numbers(account, own, theirs, &mut found);
    }
    found
}

/// Does it stand before what it was made to stand before, and hide nothing else?
fn files(view: View<'_>, found: &mut BTreeSet<Reason>) {
    let View { base, overlay } = view;
    for (path, placed) in &overlay.files {
        let now = base.files.get(path);
        if now == placed.was.as_ref() || now == Some(&placed.look) {
            continue;
        }
        let path = path.clone();
        match (&placed.was, now) {
            (Some(was), Some(now)) => {
                let what = was.difference(now).to_owned();
                found.insert(Reason::Changed { path, what });
            }
            (None, Some(_)) => {
                found.insert(Reason::Hidden { path });
            }
            // A folder on the way is there with the overlay itself.
            (Some(was), None) if !(was.is_folder() && placed.look.is_folder()) => {
                found.insert(Reason::Gone { path });
            }
            (_, None) => {}
        }
    }
    for path in overlay.deleted.iter().filter(|path| !base.files.contains_key(*path)) {
        found.insert(Reason::Deleted { path: path.clone() });
    }
    let behind = overlay.walls.iter().flat_map(|wall| beneath(&base.files, wall));
    for path in behind {
        // What the overlay has itself was looked at above.
        if !overlay.behind.contains(path) && !overlay.files.contains_key(path) {
            found.insert(Reason::Hidden { path: path.clone() });
        }
    }
}

/// Do its links lead to something?
fn links(view: View<'_>, found: &mut BTreeSet<Reason>) {
    for (path, placed) in &view.overlay.files {
        if let Look { kind: Kind::Link(target), .. } = &placed.look
            && view.resolve(path).is_none()
        {
            found.insert(Reason::Link { path: path.clone(), target: target.clone() });
        }
    }
}

/// Can its programs be loaded, and its scripts be run?
fn programs(view: View<'_>, found: &mut BTreeSet<Reason>) {
    for (path, program) in &view.overlay.programs {
        if let Some(interpreter) = &program.interpreter
            && !view.runs(interpreter)
        {
            found.insert(Reason::Interpreter {
                path: path.clone(),
                interpreter: interpreter.clone(),
            });
        }
        for name in &program.libraries {
            let library = view.library(name, program.machine, path, &program.folders);
            let Some(library) = library else {
                found.insert(Reason::Library { path: path.clone(), library: name.clone() });
                continue;
            };
            let versions = program.versions.get(name).into_iter().flatten();
            for version in versions.filter(|version| !library.versions.contains(*version)) {
                let (path, library, version) = (path.clone(), name.clone(), version.clone());
                found.insert(Reason::Version { path, library, version });
            }
            let symbols = program.symbols.get(name).into_iter().flatten();
            // A library that has versions by now, or too many symbols to list, may well have this one.
            for symbol in symbols {
                if !library.symbols.is_empty() && !library.symbols.contains(symbol) {
                    let (path, library, symbol) = (path.clone(), name.clone(), symbol.clone());
                    found.insert(Reason::Symbol { path, library, symbol });
                }
            }
        }
    }
    for (path, interpreter) in &view.overlay.scripts {
        if !view.runs(interpreter) {
            found.insert(Reason::Interpreter {
                path: path.clone(),
                interpreter: interpreter.clone(),
            });
        }
    }
}

/// Do the packages of both get along?
fn packages(view: View<'_>, found: &mut BTreeSet<Reason>) {
    let View { base, overlay } = view;
    for (key, own) in &overlay.packages {
        let Some(theirs) = base.packages.get(key) else { continue };
        if overboot_debian::version::compare(&own.version, &theirs.version).is_lt() {
            found.insert(Reason::Older {
                package: own.name.clone(),
                version: own.version.clone(),
                base: theirs.version.clone(),
            });
        }
    }
    for (key, version) in &overlay.removed {
        if let Some(theirs) = base.packages.get(key).filter(|theirs| theirs.version != *version) {
            found.insert(Reason::Removed {
                package: theirs.name.clone(),
                version: version.clone(),
                base: theirs.version.clone(),
            });
        }
    }
    let beneath = base.packages.iter();
    let beneath = beneath.filter(|(key, _)| {
        !overlay.packages.contains_key(*key) && !overlay.removed.contains_key(*key)
    });
    let together = broken(beneath.map(|(_, package)| package).chain(overlay.packages.values()));
    // What is wrong with the base alone is not the overlay's matter.
    let alone = broken(base.packages.values());
    found.extend(together.difference(&alone).cloned());
}

/// Does each number belong to one name, and each name to one number?
fn numbers(
    account: Account,
    own: &BTreeMap<String, u32>,
    theirs: &BTreeMap<String, u32>,
    found: &mut BTreeSet<Reason>,
) {
    for (name, number) in own {
        let (name, number) = (name.clone(), *number);
        match theirs.get(&name) {
            Some(base) if *base != number => {
                found.insert(Reason::Renumbered { account, name, number, base: *base });
            }
            Some(_) => {}
            None => {
                // Whom the overlay gives another number does not have this one any more.
                let taken = theirs.iter().find(|(other, theirs)| {
                    **theirs == number && own.get(*other).is_none_or(|own| *own == number)
                });
                if let Some((by, _)) = taken {
                    found.insert(Reason::Taken { account, name, number, by: by.clone() });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
