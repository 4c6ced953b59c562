//! Many modules to the files that `depmod` writes about them.
//!
//! Dependencies come from each module's `depends=`, which modpost derives from the same symbols that depmod looks at.
//! `modules.symbols` comes from the exports. Files that hold nothing are written all the same, as depmod does.

mod order;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use crate::trie::Trie;
use crate::{Error, ModuleInfo, name};

/// A module and where it lies: `path` is relative to `lib/modules/VERSION`, such as `kernel/fs/ext4/ext4.ko`.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Where it lies. The file's name gives the module's name.
    pub path: String,
    /// What it says of itself.
    pub info: ModuleInfo,
}

/// What the kernel has built in: `modules.builtin` and `modules.builtin.modinfo`.
#[derive(Debug, Clone, Default)]
pub struct Builtin {
    /// Paths, as listed, with the names.
    modules: Vec<(String, String)>,
    aliases: Vec<(String, String)>,
}

/// A module that needs one which is neither among the others nor built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The module that cannot be loaded.
    pub module: String,
    /// What it needs.
    pub dependency: String,
}

/// The modules of one kernel with their dependencies resolved.
#[derive(Debug)]
pub struct Index {
    modules: Vec<Module>,
    by_name: HashMap<String, usize>,
    builtin: Builtin,
    missing: Vec<Missing>,
}

#[derive(Debug)]
struct Module {
    name: String,
    installed: Installed,
    /// All that it needs, directly or not, in modules.dep's order: what must be loaded first comes last.
    needs: Vec<usize>,
}

impl Builtin {
    /// Reads `modules.builtin` (a path a line) and `modules.builtin.modinfo` (`module.key=value`, zero-terminated; may be
    /// empty, as before Linux 5.2).
    #[must_use]
    pub fn parse(list: &str, modinfo: &[u8]) -> Self {
        let modules = list
            .lines()
            .filter_map(|path| Some((path.to_owned(), name::of_path(path)?.into_owned())))
            .collect();
        let aliases = modinfo
            .split(|byte| *byte == 0)
            .filter_map(|entry| std::str::from_utf8(entry).ok())
            .filter_map(|entry| entry.split_once('='))
            .filter_map(|(key, value)| Some((key.strip_suffix(".alias")?, value)))
            .filter(|(_, value)| value.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(|(module, value)| (name::normalise(module).into_owned(), value.to_owned()))
            .collect();
        Self { modules, aliases }
    }

    /// Whether the module `name` (normalised) is built in.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.modules.iter().any(|(_, builtin)| builtin == name)
    }

    /// The paths that these modules would have, as `modules.builtin` lists them.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(|(path, _)| path.as_str())
    }
}

impl Index {
    /// Sorts `modules` by `order`, the text of `modules.order`, which says who is preferred where several modules claim a
    /// device (modules that it does not name come last, by path), and resolves what they need.
    ///
    /// # Errors
    /// [`Error::Duplicate`] for two modules of one name, [`Error::Cycle`] for modules that need each other.
    pub fn build(modules: Vec<Installed>, order: &str, builtin: Builtin) -> Result<Self, Error> {
        let rank: HashMap<&str, usize> = order
            .lines()
            .enumerate()
            .map(|(rank, path)| (name::uncompressed(path), rank))
            .collect();
        let mut modules: Vec<Module> = modules
            .into_iter()
            .filter_map(|installed| {
                let name = name::of_path(&installed.path)?.into_owned();
                Some(Module { name, installed, needs: Vec::new() })
            })
            .collect();
        modules.sort_by(|a, b| {
            let rank = |module: &Module| {
                rank.get(name::uncompressed(&module.installed.path)).copied().unwrap_or(usize::MAX)
            };
            rank(a).cmp(&rank(b)).then_with(|| a.installed.path.cmp(&b.installed.path))
        });
        let mut by_name = HashMap::with_capacity(modules.len());
        for (index, module) in modules.iter().enumerate() {
            if let Some(other) = by_name.insert(module.name.clone(), index) {
                return Err(Error::Duplicate {
                    name: module.name.clone(),
                    first: modules[other].installed.path.clone(),
                    second: module.installed.path.clone(),
                });
            }
        }
        let built_in: HashSet<&str> =
            builtin.modules.iter().map(|(_, name)| name.as_str()).collect();
        let mut missing = Vec::new();
        let mut direct = Vec::with_capacity(modules.len());
        for module in &modules {
            let mut needs = Vec::new();
            for dependency in &module.installed.info.depends {
                match by_name.get(dependency) {
                    Some(index) if !needs.contains(index) => needs.push(*index),
                    None if !built_in.contains(dependency.as_str()) => missing.push(Missing {
                        module: module.name.clone(),
                        dependency: dependency.clone(),
                    }),
                    Some(_) | None => {}
                }
            }
            direct.push(needs);
        }
        let all = order::closures(&direct).map_err(|cycle| Error::Cycle {
            names: cycle.into_iter().map(|index| modules[index].name.clone()).collect(),
        })?;
        for (module, needs) in modules.iter_mut().zip(all) {
            module.needs = needs;
        }
        Ok(Self { modules, by_name, builtin, missing })
    }

    /// The modules that cannot be loaded because something they need is not there.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// All modules with their normalised names, in the order of `modules.order`.
    pub fn modules(&self) -> impl Iterator<Item = (&str, &Installed)> {
        self.modules.iter().map(|module| (module.name.as_str(), &module.installed))
    }

    /// The module called `name`, with `-` and `_` alike.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Installed> {
        self.by_name.get(&*name::normalise(name)).map(|index| &self.modules[*index].installed)
    }

    /// What the kernel has built in.
    #[must_use]
    pub fn builtin(&self) -> &Builtin {
        &self.builtin
    }

    /// The names of all that `wanted` needs, directly or not, and of `wanted` themselves, sorted; with `soft`, soft and weak
    /// dependencies too, followed through aliases. Names that are no module here are left out.
    #[must_use]
    pub fn closure<'a>(
        &'a self,
        wanted: impl IntoIterator<Item = &'a str>,
        soft: bool,
    ) -> Vec<&'a str> {
        let alias_text = if soft { self.alias() } else { String::new() };
        let aliases = crate::AliasIndex::parse(&alias_text).unwrap_or_default();
        let mut seen = vec![false; self.modules.len()];
        let mut todo: Vec<usize> = wanted
            .into_iter()
            .filter_map(|name| self.by_name.get(&*name::normalise(name)))
            .copied()
            .collect();
        while let Some(index) = todo.pop() {
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            let module = &self.modules[index];
            todo.extend(&module.needs);
            if soft {
                for wish in self.wishes(module) {
                    match self.by_name.get(&*name::normalise(&wish)) {
                        Some(index) => todo.push(*index),
                        None => todo.extend(
                            aliases
                                .matches(&wish)
                                .iter()
                                .filter_map(|name| self.by_name.get(*name))
                                .copied(),
                        ),
                    }
                }
            }
        }
        let mut names: Vec<&str> = seen
            .iter()
            .zip(&self.modules)
            .filter_map(|(seen, module)| seen.then_some(module.name.as_str()))
            .collect();
        names.sort_unstable();
        names
    }

    fn wishes(&self, module: &Module) -> Vec<String> {
        let mut wishes = module.installed.info.weakdeps.clone();
        for text in &module.installed.info.softdeps {
            let soft = crate::SoftDependency::parse(text);
            wishes.extend(soft.pre);
            wishes.extend(soft.post);
        }
        wishes
    }

    /// `modules.order`, of these modules alone: their paths, the preferred first.
    #[must_use]
    pub fn order(&self) -> String {
        self.modules.iter().flat_map(|module| [module.installed.path.as_str(), "\n"]).collect()
    }

    /// `modules.dep`: `path: path path`, what must be loaded first comes last.
    #[must_use]
    pub fn dep(&self) -> String {
        let mut text = String::new();
        for index in 0..self.modules.len() {
            text += &self.dep_line(index);
            text.push('\n');
        }
        text
    }

    fn dep_line(&self, index: usize) -> String {
        let module = &self.modules[index];
        let mut line = format!("{}:", module.installed.path);
        for need in &module.needs {
            line.push(' ');
            line += &self.modules[*need].installed.path;
        }
        line
    }

    /// `modules.alias`: `alias PATTERN MODULE`.
    #[must_use]
    pub fn alias(&self) -> String {
        let mut text = "# Aliases extracted from modules themselves.\n".to_owned();
        for module in &self.modules {
            for alias in &module.installed.info.aliases {
                let _ = writeln!(text, "alias {alias} {}", module.name);
            }
        }
        text
    }

    /// `modules.softdep`: `softdep MODULE pre: … post: …`.
    #[must_use]
    pub fn softdep(&self) -> String {
        let mut text = "# Soft dependencies extracted from modules themselves.\n".to_owned();
        for module in &self.modules {
            for soft in &module.installed.info.softdeps {
                let _ = writeln!(text, "softdep {} {soft}", module.name);
            }
        }
        text
    }

    /// `modules.weakdep`: `weakdep MODULE NAME…` (kmod 33 and later).
    #[must_use]
    pub fn weakdep(&self) -> String {
        let mut text = "# Weak dependencies extracted from modules themselves.\n".to_owned();
        for module in &self.modules {
            for weak in &module.installed.info.weakdeps {
                let _ = writeln!(text, "weakdep {} {weak}", module.name);
            }
        }
        text
    }

    /// `modules.symbols`: `alias symbol:NAME MODULE`, for the kernel's `symbol_request()`.
    #[must_use]
    pub fn symbols(&self) -> String {
        let mut text = "# Aliases for symbols, used by symbol_request().\n".to_owned();
        for (symbol, index) in self.exported() {
            let _ = writeln!(text, "alias symbol:{symbol} {}", self.modules[index].name);
        }
        text
    }

    /// Each exported symbol with the module that has it; the first module wins.
    fn exported(&self) -> BTreeMap<&str, usize> {
        let mut exported = BTreeMap::new();
        for (index, module) in self.modules.iter().enumerate() {
            for symbol in &module.installed.info.exports {
                exported.entry(symbol.as_str()).or_insert(index);
            }
        }
        exported
    }

    /// `modules.devname`: `MODULE DEVICE cMAJOR:MINOR`, the device nodes whose opening loads a module.
    #[must_use]
    pub fn devname(&self) -> String {
        let mut text = "# Device nodes to trigger on-demand module loading.\n".to_owned();
        for module in &self.modules {
            let device =
                module.installed.info.aliases.iter().find_map(|a| a.strip_prefix("devname:"));
            let number =
                module.installed.info.aliases.iter().find_map(|alias| device_number(alias));
            if let (Some(device), Some(number)) = (device, number) {
                let _ = writeln!(text, "{} {device} {number}", module.name);
            }
        }
        text
    }

    /// All that depmod would write, by file name, sorted. `modules.order`, `modules.builtin` and
    /// `modules.builtin.modinfo` are the kernel's own files and not here.
    ///
    /// # Errors
    /// [`Error::TooMany`] if an index grows past what libkmod's format can address (256 MiB).
    pub fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        let mut dep = Trie::new();
        let mut alias = Trie::new();
        for (index, module) in self.modules.iter().enumerate() {
            dep.insert(&module.name, &self.dep_line(index), index as u32);
            for text in &module.installed.info.aliases {
                alias.insert(&normalised(text), &module.name, index as u32);
            }
        }
        let mut symbols = Trie::new();
        for (symbol, index) in self.exported() {
            symbols.insert(&format!("symbol:{symbol}"), &self.modules[index].name, index as u32);
        }
        let mut builtin = Trie::new();
        for (_, name) in &self.builtin.modules {
            builtin.insert(name, "", 0);
        }
        let mut builtin_alias = Trie::new();
        for (module, text) in &self.builtin.aliases {
            builtin_alias.insert(&normalised(text), module, 0);
        }
        Ok(vec![
            ("modules.alias", self.alias().into()),
            ("modules.alias.bin", alias.to_bytes()?),
            ("modules.builtin.alias.bin", builtin_alias.to_bytes()?),
            ("modules.builtin.bin", builtin.to_bytes()?),
            ("modules.dep", self.dep().into()),
            ("modules.dep.bin", dep.to_bytes()?),
            ("modules.devname", self.devname().into()),
            ("modules.softdep", self.softdep().into()),
            ("modules.symbols", self.symbols().into()),
            ("modules.symbols.bin", symbols.to_bytes()?),
            ("modules.weakdep", self.weakdep().into()),
        ])
    }
}

/// `char-major-10-200` is `c10:200`, `block-major-7-*` is nothing: only whole numbers name a node.
fn device_number(alias: &str) -> Option<String> {
    let (kind, rest) = match alias.strip_prefix("char-major-") {
        Some(rest) => ('c', rest),
        None => ('b', alias.strip_prefix("block-major-")?),
    };
    let (major, minor) = rest.split_once('-')?;
    let major: u32 = major.parse().ok()?;
    let minor: u32 = minor.parse().ok()?;
    Some(format!("{kind}{major}:{minor}"))
}

/// `alias` with `-` as `_` outside of brackets: how libkmod spells the keys of its tree.
fn normalised(alias: &str) -> String {
    let mut inside = false;
    alias
        .chars()
        .map(|letter| {
            match letter {
                '[' => inside = true,
                ']' => inside = false,
                '-' if !inside => return '_',
                _ => {}
            }
            letter
        })
        .collect()
}

#[cfg(test)]
mod tests;
