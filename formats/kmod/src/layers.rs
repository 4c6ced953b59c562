//! The modules of one kernel that lie in several layers of a root.
//!
//! Each layer has depmod's files about exactly what is in it, and of files with one name only the uppermost layer's is seen:
//! modprobe would find no module of the layers below. Here what the files of all layers say becomes one again, without a look
//! into any module.
//!
//! ```
//! use overboot_kmod::Layers;
//! let mut layers = Layers::default();
//! layers.add(|name| if name == "modules.dep" { b"kernel/a.ko:\n".to_vec() } else { Vec::new() })?;
//! layers.add(|name| if name == "modules.dep" { b"kernel/b.ko:\n".to_vec() } else { Vec::new() })?;
//! let index = layers.index(|_layer, path| path != "kernel/gone.ko")?;
//! assert_eq!(index.dep(), "kernel/a.ko:\nkernel/b.ko:\n");
//! # Ok::<(), overboot_kmod::Error>(())
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::index::{Builtin, Index, Installed};
use crate::{Error, ModuleInfo, name};

/// The files that are read, all in `lib/modules/VERSION`: text, since the `.bin` files say the same. The first is about what
/// is there; a layer without it has no modules.
pub const FILES: [&str; 8] = [
    "modules.dep",
    "modules.alias",
    "modules.builtin",
    "modules.builtin.modinfo",
    "modules.order",
    "modules.softdep",
    "modules.symbols",
    "modules.weakdep",
];

/// What the layers say, from the lowest.
#[derive(Debug, Default)]
pub struct Layers {
    count: usize,
    /// Each module by the layer that has it, from the lowest; those of one name together.
    modules: Vec<Vec<(usize, Installed)>>,
    places: HashMap<String, usize>,
    order: String,
    builtin: Builtin,
}

impl Layers {
    /// Puts a layer on top: `read` gives the content of one of [`FILES`], which may be empty. A module that a lower layer has too
    /// is then this one's.
    ///
    /// # Errors
    /// [`Error::Line`] for a line of `modules.dep` that depmod would not write.
    pub fn add(&mut self, mut read: impl FnMut(&'static str) -> Vec<u8>) -> Result<(), Error> {
        let mut text = |name| String::from_utf8_lossy(&read(name)).into_owned();
        let mut names = HashMap::new();
        let mut found = Vec::new();
        for (number, line) in text("modules.dep").lines().enumerate() {
            let bad = |what| Error::Line { file: "modules.dep", line: number + 1, what };
            let (path, needs) = line.split_once(':').ok_or_else(|| bad("want \"PATH: PATH…\""))?;
            let own = |path| name::of_path(path).ok_or_else(|| bad("a path is not a module's"));
            let name = own(path)?.into_owned();
            let depends: Result<Vec<String>, Error> =
                needs.split_ascii_whitespace().map(|path| Ok(own(path)?.into_owned())).collect();
            let info =
                ModuleInfo { name: name.clone(), depends: depends?, ..ModuleInfo::default() };
            // depmod has each once; of two the first counts.
            if let Entry::Vacant(vacant) = names.entry(name) {
                vacant.insert(found.len());
                found.push(Installed { path: path.to_owned(), info });
            }
        }
        // `WORD … MODULE` or `WORD MODULE …`: what a line says of a module of this layer. Of others nothing can be said.
        let mut of = |module: &str, say: &dyn Fn(&mut ModuleInfo)| {
            if let Some(at) = names.get(&*name::normalise(module)) {
                say(&mut found[*at].info);
            }
        };
        for line in text("modules.alias").lines() {
            if let Some((alias, module)) =
                after(line, "alias").and_then(|rest| rest.rsplit_once(' '))
            {
                of(module, &|info| info.aliases.push(alias.trim().to_owned()));
            }
        }
        for line in text("modules.symbols").lines() {
            let said = after(line, "alias").and_then(|rest| rest.strip_prefix("symbol:"));
            if let Some((symbol, module)) = said.and_then(|rest| rest.split_once(' ')) {
                of(module, &|info| info.exports.push(symbol.to_owned()));
            }
        }
        for line in text("modules.softdep").lines() {
            if let Some((module, soft)) =
                after(line, "softdep").and_then(|rest| rest.split_once(' '))
            {
                of(module, &|info| info.softdeps.push(soft.to_owned()));
            }
        }
        for line in text("modules.weakdep").lines() {
            if let Some((module, weak)) =
                after(line, "weakdep").and_then(|rest| rest.split_once(' '))
            {
                of(module, &|info| {
                    info.weakdeps.extend(weak.split_ascii_whitespace().map(str::to_owned));
                });
            }
        }
        self.order += &text("modules.order");
        let builtin = text("modules.builtin");
        if !builtin.is_empty() {
            self.builtin = Builtin::parse(&builtin, &read("modules.builtin.modinfo"));
        }
        for module in found {
            let place = *self.places.entry(module.info.name.clone()).or_insert(self.modules.len());
            if place == self.modules.len() {
                self.modules.push(Vec::new());
            }
            self.modules[place].push((self.count, module));
        }
        self.count += 1;
        Ok(())
    }

    /// One index of all modules that are `there`, which is asked with the number of the layer, from 0, and the path: a layer may take
    /// away what a lower one has, and may list what a lower one had when it was made. Of one name it is the uppermost that is there.
    ///
    /// # Errors
    /// [`Error::Cycle`], which no kernel's modules have.
    pub fn index(self, mut there: impl FnMut(usize, &str) -> bool) -> Result<Index, Error> {
        let uppermost = |same: Vec<(usize, Installed)>| {
            let mut from_above = same.into_iter().rev();
            from_above.find(|(layer, module)| there(*layer, &module.path)).map(|(_, module)| module)
        };
        let modules = self.modules.into_iter().filter_map(uppermost).collect();
        Index::build(modules, &self.order, self.builtin)
    }
}

/// What follows a line's first word, if it is `word`.
fn after<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    line.strip_prefix(word)?.strip_prefix(' ').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, depends: &[&str], alias: &str) -> Installed {
        let name = name::of_path(path).unwrap().into_owned();
        let info = ModuleInfo {
            depends: depends.iter().map(|&name| name.to_owned()).collect(),
            aliases: vec![alias.to_owned(), "devname:x".to_owned(), "char-major-10-7".to_owned()],
            softdeps: vec![format!("pre: {name}-first post: {name}-last")],
            weakdeps: vec!["weak".to_owned()],
            exports: vec![format!("{name}_do")],
            name,
            ..ModuleInfo::default()
        };
        Installed { path: path.to_owned(), info }
    }

    fn modules() -> [Installed; 4] {
        [
            module("kernel/a-b.ko", &["c", "d"], "pci:v1[a-f]-*"),
            module("kernel/c.ko", &["d"], "crypto-c"),
            module("kernel/d.ko", &[], "of:N*T*Cacme,x"),
            module("kernel/e.ko", &["d"], "fs-e"),
        ]
    }

    const ORDER: &str = "kernel/e.ko\nkernel/a-b.ko\nkernel/c.ko\nkernel/d.ko\n";

    fn index(modules: &[Installed]) -> Index {
        let builtin = Builtin::parse("kernel/fs/vfat.ko\n", b"vfat.alias=fs-vfat\0");
        Index::build(modules.to_vec(), ORDER, builtin).unwrap()
    }

    /// What a layer with these modules has as files.
    fn files(modules: &[Installed]) -> impl FnMut(&'static str) -> Vec<u8> {
        let mut files: HashMap<&str, Vec<u8>> =
            index(modules).files().unwrap().into_iter().collect();
        files.insert("modules.order", ORDER.into());
        files.insert("modules.builtin", b"kernel/fs/vfat.ko\n".to_vec());
        files.insert("modules.builtin.modinfo", b"vfat.alias=fs-vfat\0".to_vec());
        move |name| files[name].clone()
    }

    #[test]
    fn what_was_taken_apart_is_made_one_again() {
        let all = modules();
        let mut layers = Layers::default();
        // Each layer has what its modules need, so that some are there twice.
        layers.add(files(&all[2..])).unwrap();
        layers.add(files(&all[..3])).unwrap();
        assert_eq!(layers.index(|_, _| true).unwrap().files(), index(&all).files());
    }

    #[test]
    fn what_is_no_longer_there_is_not_found() {
        let all = modules();
        let mut layers = Layers::default();
        layers.add(files(&all)).unwrap();
        layers.add(files(&all[2..3])).unwrap();
        let left = layers.index(|_, path| path != "kernel/e.ko").unwrap();
        assert_eq!(left.files(), index(&all[..3]).files());
    }

    #[test]
    fn the_upper_layers_module_counts() {
        let mut layers = Layers::default();
        layers.add(files(&[module("kernel/a.ko.xz", &[], "old")])).unwrap();
        layers.add(files(&[module("updates/a.ko", &[], "new")])).unwrap();
        let index = layers.index(|_, _| true).unwrap();
        assert_eq!(index.dep(), "updates/a.ko:\n");
        assert!(index.alias().contains("alias new a\n") && !index.alias().contains("old"));
    }

    #[test]
    fn broken_lines_are_named_and_others_passed_over() {
        for (dep, line) in [("a.ko:\nb.ko\n", 2), ("x:\n", 1), ("a.ko: b\n", 1)] {
            let read = |name| if name == "modules.dep" { dep.into() } else { Vec::new() };
            let error = Layers::default().add(read).unwrap_err();
            assert!(error.to_string().starts_with(&format!("modules.dep line {line}")), "{error}");
        }
        let mut layers = Layers::default();
        let lines = "alias\nalias x\nalias x gone\nalias y b\nsoftdep a\nweakdep\nalias symbol:x\n";
        let read = |name| match name {
            "modules.dep" => b"a.ko: gone.ko\na.ko:\nb.ko:\nb.ko:\n".to_vec(),
            _ => [lines.as_bytes(), b"\xff\n"].concat(),
        };
        layers.add(read).unwrap();
        let index = layers.index(|_, _| true).unwrap();
        assert_eq!(index.dep(), "a.ko:\nb.ko:\n");
        assert!(index.alias().contains("alias y b\n"));
    }

    #[test]
    fn where_an_upper_module_was_taken_away_the_lower_one_is_found() {
        let mut layers = Layers::default();
        for (path, alias) in [("kernel/a.ko", "low"), ("updates/a.ko", "up"), ("extra/a.ko", "top")]
        {
            layers.add(files(&[module(path, &[], alias)])).unwrap();
        }
        let index = layers.index(|layer, path| layer < 2 && path != "updates/a.ko").unwrap();
        assert_eq!(index.dep(), "kernel/a.ko:\n");
        assert!(index.alias().contains("alias low a\n") && !index.alias().contains("up"));
    }
}
