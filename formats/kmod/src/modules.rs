//! The index files read back, and the order in which to load.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::alias::AliasIndex;
use crate::softdep::{self, SoftDependency};
use crate::{Error, name};

/// What can be loaded, and what asks for it. Borrows the texts it was read from.
#[derive(Debug, Default)]
pub struct Modules<'a> {
    modules: Vec<Module<'a>>,
    by_name: HashMap<Cow<'a, str>, ModuleId>,
    aliases: AliasIndex<'a>,
    softdeps: HashMap<String, SoftDependency>,
    builtin: HashSet<Cow<'a, str>>,
}

/// A module of one [`Modules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(u32);

#[derive(Debug)]
struct Module<'a> {
    name: Cow<'a, str>,
    path: &'a str,
    /// All that it needs, what must be loaded first comes first.
    needs: Vec<ModuleId>,
}

/// Modules in an order in which they can be loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    steps: Vec<Step<'a>>,
}

/// The loading of one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'a> {
    /// Which module.
    pub id: ModuleId,
    /// Its normalised name, as in `/proc/modules`.
    pub name: &'a str,
    /// Its path, relative to `lib/modules/VERSION`.
    pub path: &'a str,
    /// The steps that must be over before, as positions in the plan; always smaller than this step's own. What is not
    /// named here may run at the same time.
    pub after: Vec<usize>,
    /// Reached only by a soft dependency: that it fails hinders nobody.
    pub optional: bool,
}

impl<'a> Modules<'a> {
    /// Reads the texts of `modules.dep`, `modules.alias`, `modules.softdep` and `modules.builtin`; each may be empty.
    ///
    /// # Errors
    /// [`Error::Line`] where a line is not of the form that depmod writes.
    pub fn parse(
        dep: &'a str,
        alias: &'a str,
        softdep: &'a str,
        builtin: &'a str,
    ) -> Result<Self, Error> {
        let mut this = Self { aliases: AliasIndex::parse(alias)?, ..Self::default() };
        for (number, line) in dep.lines().enumerate() {
            let bad = |what| Error::Line { file: "modules.dep", line: number + 1, what };
            let (path, _) = line.split_once(':').ok_or_else(|| bad("want \"PATH: PATH…\""))?;
            let name = name::of_path(path).ok_or_else(|| bad("the path is not a module's"))?;
            let limit = u32::MAX as usize;
            let id = u32::try_from(number)
                .map_err(|_| Error::TooMany { what: "modules in modules.dep", limit })?;
            this.by_name.insert(name.clone(), ModuleId(id));
            this.modules.push(Module { name, path, needs: Vec::new() });
        }
        for (number, line) in dep.lines().enumerate() {
            let Some((_, needs)) = line.split_once(':') else { continue };
            let mut ids = Vec::new();
            for path in needs.split_ascii_whitespace().rev() {
                let id = name::of_path(path).and_then(|name| this.by_name.get(&name)).copied();
                ids.push(id.ok_or(Error::Line {
                    file: "modules.dep",
                    line: number + 1,
                    what: "a dependency has no line of its own",
                })?);
            }
            this.modules[number].needs = ids;
        }
        for (name, soft) in softdep::lines(softdep) {
            this.softdeps.entry(name).or_default().extend(soft);
        }
        this.builtin = builtin.lines().filter_map(name::of_path).collect();
        Ok(this)
    }

    /// The modules for a device's modalias, or for a module's name or alias (`crypto-crc32c`), in the order of
    /// preference. Empty if none is known or it is built in.
    #[must_use]
    pub fn find(&self, modalias: &str) -> Vec<ModuleId> {
        let name = name::normalise(modalias);
        if let Some(id) = self.by_name.get(&name) {
            return vec![*id];
        }
        if self.builtin.contains(&name) {
            return Vec::new();
        }
        let matches = self.aliases.matches(modalias);
        let mut ids = Vec::with_capacity(matches.len());
        for name in matches {
            if let Some(id) = self.by_name.get(&name::normalise(name))
                && !ids.contains(id)
            {
                ids.push(*id);
            }
        }
        ids
    }

    /// The module called `name`, with `-` and `_` alike.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<ModuleId> {
        self.by_name.get(&name::normalise(name)).copied()
    }

    /// Whether the module called `name` is part of the kernel itself.
    #[must_use]
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&name::normalise(name))
    }

    /// The normalised name of a module.
    #[must_use]
    pub fn name(&self, id: ModuleId) -> &str {
        self.get(id).map_or("", |module| &module.name)
    }

    /// The path of a module, relative to `lib/modules/VERSION`.
    #[must_use]
    pub fn path(&self, id: ModuleId) -> &'a str {
        self.get(id).map_or("", |module| module.path)
    }

    /// How many modules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Whether there is no module.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// Everything to load for `wanted`, each module once: after what it needs and what it softly wants before it, and
    /// before what it softly wants after it. A circle of soft dependencies is cut where it closes.
    #[must_use]
    pub fn plan(&self, wanted: impl IntoIterator<Item = ModuleId>) -> Plan<'_> {
        Planner::new(self).run(wanted)
    }

    fn get(&self, id: ModuleId) -> Option<&Module<'a>> {
        self.modules.get(id.0 as usize)
    }
}

impl<'a> Plan<'a> {
    /// The steps, in an order in which they can be done one by one.
    #[must_use]
    pub fn steps(&self) -> &[Step<'a>] {
        &self.steps
    }
}

/// A depth-first walk with its own stack, since the texts decide how deep it goes.
struct Planner<'m, 'a> {
    modules: &'m Modules<'a>,
    entered: Vec<bool>,
    position: Vec<Option<usize>>,
    required: Vec<bool>,
    /// For a module wanted after another one: that one's position.
    behind: HashMap<ModuleId, usize>,
    steps: Vec<Step<'m>>,
}

enum Work {
    Enter(ModuleId),
    Emit(ModuleId, Vec<ModuleId>),
}

impl<'m, 'a> Planner<'m, 'a> {
    fn new(modules: &'m Modules<'a>) -> Self {
        let count = modules.modules.len();
        Self {
            modules,
            entered: vec![false; count],
            position: vec![None; count],
            required: vec![false; count],
            behind: HashMap::new(),
            steps: Vec::new(),
        }
    }

    fn run(mut self, wanted: impl IntoIterator<Item = ModuleId>) -> Plan<'m> {
        let wanted: Vec<ModuleId> =
            wanted.into_iter().filter(|id| self.modules.get(*id).is_some()).collect();
        for id in &wanted {
            self.required[id.0 as usize] = true;
            for need in &self.modules.modules[id.0 as usize].needs {
                self.required[need.0 as usize] = true;
            }
        }
        for id in wanted {
            let mut stack = vec![Work::Enter(id)];
            while let Some(work) = stack.pop() {
                match work {
                    Work::Enter(id) => self.enter(id, &mut stack),
                    Work::Emit(id, before) => self.emit(id, &before, &mut stack),
                }
            }
        }
        Plan { steps: self.steps }
    }

    fn enter(&mut self, id: ModuleId, stack: &mut Vec<Work>) {
        if std::mem::replace(&mut self.entered[id.0 as usize], true) {
            return;
        }
        let module = &self.modules.modules[id.0 as usize];
        let mut before = self.soft(&module.name, |soft| &soft.pre);
        before.extend(&module.needs);
        let enter: Vec<Work> = before.iter().rev().copied().map(Work::Enter).collect();
        stack.push(Work::Emit(id, before));
        stack.extend(enter);
    }

    fn emit(&mut self, id: ModuleId, before: &[ModuleId], stack: &mut Vec<Work>) {
        let module = &self.modules.modules[id.0 as usize];
        let position = self.steps.len();
        let mut after: Vec<usize> =
            before.iter().filter_map(|id| self.position[id.0 as usize]).collect();
        after.extend(self.behind.get(&id));
        after.sort_unstable();
        after.dedup();
        self.steps.push(Step {
            id,
            name: &module.name,
            path: module.path,
            after,
            optional: !self.required[id.0 as usize],
        });
        self.position[id.0 as usize] = Some(position);
        for post in self.soft(&module.name, |soft| &soft.post).into_iter().rev() {
            self.behind.entry(post).or_insert(position);
            stack.push(Work::Enter(post));
        }
    }

    fn soft(&self, name: &str, list: impl Fn(&SoftDependency) -> &Vec<String>) -> Vec<ModuleId> {
        let Some(soft) = self.modules.softdeps.get(name) else { return Vec::new() };
        list(soft).iter().flat_map(|wish| self.modules.find(wish)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "k/mlx5_ib.ko: k/mlx5_core.ko k/ib-core.ko k/tls.ko\nk/mlx5_core.ko: k/tls.ko\n\
        k/ib-core.ko:\nk/tls.ko:\nk/crc32c_intel.ko:\nk/ext4.ko: k/jbd2.ko\nk/jbd2.ko:\nk/ipmi.ko:\nk/devintf.ko: k/ipmi.ko\n";
    const ALIAS: &str = "alias crypto-crc32c crc32c_intel\nalias fs-ext4 ext4\nalias pci:v1* mlx5_ib\nalias x gone\n";
    const SOFT: &str = "softdep ext4 pre: crypto-crc32c\nsoftdep jbd2 pre: crypto-crc32c nothing\nsoftdep ipmi post: devintf\n";

    fn modules() -> Modules<'static> {
        Modules::parse(DEP, ALIAS, SOFT, "kernel/fs/fuse.ko\n").unwrap()
    }

    fn names(plan: &Plan<'_>) -> Vec<String> {
        plan.steps().iter().map(|step| step.name.to_owned()).collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_softly_wanted_too() {
        let modules = modules();
        let plan = modules.plan(modules.find("pci:v1d2"));
        assert_eq!(names(&plan), ["tls", "ib_core", "mlx5_core", "mlx5_ib"]);
        assert_eq!(plan.steps()[2].after, [0]);
        assert_eq!(plan.steps()[3].after, [0, 1, 2]);
        let plan = modules.plan(modules.find("fs-ext4"));
        assert_eq!(names(&plan), ["crc32c_intel", "jbd2", "ext4"]);
        let optional: Vec<bool> = plan.steps().iter().map(|step| step.optional).collect();
        assert_eq!(optional, [true, false, false]);
    }

    #[test]
    fn post_comes_after_and_a_circle_is_cut() {
        let modules = modules();
        let plan = modules.plan(modules.by_name("ipmi"));
        assert_eq!(names(&plan), ["ipmi", "devintf"]);
        assert_eq!(plan.steps()[1].after, [0]);
        let circle =
            Modules::parse("a.ko:\nb.ko:\n", "", "softdep a pre: b\nsoftdep b pre: a\n", "")
                .unwrap();
        assert_eq!(names(&circle.plan(circle.by_name("a"))), ["b", "a"]);
        let hard = Modules::parse("a.ko: b.ko\nb.ko: a.ko\n", "", "", "").unwrap();
        assert_eq!(names(&hard.plan(hard.by_name("a"))), ["b", "a"]);
    }

    #[test]
    fn finding() {
        let modules = modules();
        assert_eq!(modules.name(modules.find("ib-core")[0]), "ib_core");
        assert!(modules.find("fuse").is_empty() && modules.is_builtin("fuse"));
        assert!(modules.find("x").is_empty(), "the alias names a module that is not there");
        assert!(modules.by_name("gone").is_none());
        assert_eq!(modules.path(modules.find("tls")[0]), "k/tls.ko");
    }

    #[test]
    fn broken_lines_are_named() {
        for (dep, line) in [("a.ko:\nb.ko\n", 2), ("x:\n", 1), ("a.ko: b.ko\n", 1)] {
            let error = Modules::parse(dep, "", "", "").unwrap_err();
            assert!(error.to_string().starts_with(&format!("modules.dep line {line}")), "{error}");
        }
    }

    #[test]
    fn a_long_chain_does_not_overflow_the_stack() {
        let count = 50_000;
        let mut dep = String::new();
        for number in 0..count {
            dep += &format!("m{number}.ko: m{}.ko\n", (number + 1) % count);
        }
        let modules = Modules::parse(&dep, "", "", "").unwrap();
        assert_eq!(modules.plan(modules.by_name("m0")).steps().len(), count);
    }
}
