//! The step that Ansible carries out: what it runs, and everything that it may read.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Spanned;

use super::Check;
use crate::manifest;
use crate::place::Placed;
use crate::provisioner::{Ansible, Play};

/// What Ansible looks for beside a playbook (ansible-docs, *Sample Ansible setup* and *Adding modules and plugins locally*).
const BESIDE_A_PLAYBOOK: [&str; 21] = [
    "action_plugins",
    "callback_plugins",
    "collections",
    "defaults",
    "files",
    "filter_plugins",
    "group_vars",
    "handlers",
    "host_vars",
    "library",
    "lookup_plugins",
    "meta",
    "module_utils",
    "playbooks",
    "plugins",
    "roles",
    "tasks",
    "templates",
    "test_plugins",
    "vars",
    "vars_plugins",
];

impl Check<'_> {
    /// The step at `span` of the recipe.
    pub(super) fn ansible(
        &mut self,
        given: &manifest::Ansible,
        (network, timeout): (bool, u32),
        span: Range<usize>,
    ) -> Option<Ansible> {
        let (play, mut reads) = match (&given.role, &given.playbook) {
            (Some(role), None) => {
                let path = self.role(role);
                (Play::Role(path.clone()), vec![path])
            }
            (None, Some(playbook)) => {
                let path = self.file(playbook, false);
                let reads = self.around(&path);
                (Play::Playbook(path), reads)
            }
            _ => {
                let message = "an `ansible` step runs one role or one playbook".to_owned();
                let help = "write ansible = { role = \"roles/overlay/NAME\" } or ansible = { playbook = \"NAME.yml\" }";
                self.wrong(span, message, help);
                return None;
            }
        };
        let vars: Vec<Placed<PathBuf>> =
            given.vars.iter().map(|one| self.file(one, false)).collect();
        reads.extend(vars.iter().cloned());
        for further in &given.reads {
            reads.push(self.file_or_folder(further));
        }
        let mut extra_vars = std::collections::BTreeMap::new();
        for (name, value) in &given.extra_vars {
            let name = self.variable_name(name);
            extra_vars.insert(name, self.value(value.as_ref(), &value.span()));
        }
        Some(Ansible { play, vars, extra_vars, reads: outermost(reads), network, timeout })
    }

    /// The folder of a role.
    fn role(&mut self, given: &Spanned<String>) -> Placed<PathBuf> {
        let path = self.text(given).map(PathBuf::from);
        if !self.inside(given, &path) {
            return path;
        }
        // on-imagebuilder was given the file of a role's tasks.
        let tasks = path.parent().filter(|tasks| tasks.ends_with("tasks")).and_then(Path::parent);
        if let (Some(role), true) = (tasks, self.folder.join(&*path).is_file()) {
            let message = format!("\"{}\" is a file of a role", path.display());
            self.wrong(given.span(), message, format!("write \"{}\"", role.display()));
            return path;
        }
        let tasks = self.folder.join(&*path).join("tasks");
        let begins = ["main.yml", "main.yaml"].iter().any(|name| tasks.join(name).is_file());
        if self.there(given, &path, true) && !begins {
            self.wrong(
                given.span(),
                format!("\"{}\" is no role: it has no tasks/main.yml", path.display()),
                format!("make {}", tasks.join("main.yml").display()),
            );
        }
        path
    }

    /// What a playbook may read without being told: all of the folder that it is in, or where that is the project itself, which
    /// holds much else, the folders in it that mean something to Ansible.
    fn around(&self, playbook: &Placed<PathBuf>) -> Vec<Placed<PathBuf>> {
        match playbook.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => {
                vec![Placed { value: folder.to_owned(), place: playbook.place }]
            }
            _ => {
                let folders = BESIDE_A_PLAYBOOK.iter().map(PathBuf::from);
                let there = folders.filter(|path| self.folder.join(path).is_dir());
                let there = there.map(|value| Placed { value, place: playbook.place });
                there.chain([playbook.clone()]).collect()
            }
        }
    }

    fn file_or_folder(&mut self, given: &Spanned<String>) -> Placed<PathBuf> {
        let path = self.text(given).map(PathBuf::from);
        let full = self.folder.join(&*path);
        if self.inside(given, &path) && !full.exists() {
            let message = format!("there is no \"{}\" in the project", path.display());
            self.wrong(given.span(), message, format!("make {}", full.display()));
        }
        path
    }

    /// A value as Ansible reads it, with variables of the recipe replaced in its texts.
    fn value(&mut self, value: &toml::Value, span: &Range<usize>) -> Value {
        match value {
            toml::Value::String(text) => {
                Value::String(self.text(&Spanned::new(span.clone(), text.clone())).value)
            }
            toml::Value::Array(values) => {
                values.iter().map(|value| self.value(value, span)).collect()
            }
            toml::Value::Table(table) => {
                let entry = |(name, value): (&String, &toml::Value)| {
                    (name.clone(), self.value(value, span))
                };
                Value::Object(table.iter().map(entry).collect())
            }
            toml::Value::Integer(number) => Value::from(*number),
            toml::Value::Float(number) => {
                // Ansible is told in JSON, which has neither.
                if !number.is_finite() {
                    let message = format!("{number} is no value of a variable");
                    self.wrong(span.clone(), message, "write a number, or a text in quotes");
                }
                Value::from(*number)
            }
            toml::Value::Boolean(truth) => Value::Bool(*truth),
            toml::Value::Datetime(time) => Value::String(time.to_string()),
        }
    }
}

/// The paths without those that are inside of another one.
fn outermost(mut paths: Vec<Placed<PathBuf>>) -> Vec<Placed<PathBuf>> {
    paths.sort();
    let mut kept: Vec<Placed<PathBuf>> = Vec::new();
    for path in paths {
        if !kept.last().is_some_and(|last| path.starts_with(&**last)) {
            kept.push(path);
        }
    }
    kept
}
