//! What a module says of itself: its `.modinfo` section, zero-terminated `key=value` strings.
//!
//! Source: the kernel's `include/linux/module.h` (`MODULE_ALIAS`, `MODULE_SOFTDEP`, `MODULE_FIRMWARE`, …) and
//! `scripts/mod/modpost.c`, which writes `name`, `depends` and `vermagic`.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::elf::Elf;
use crate::name;

/// The facts of one module that packing and loading need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// The name, normalised. Empty for modules older than Linux 4.13, which do not say it: the file's name then counts.
    pub name: String,
    /// The modules whose symbols it uses, normalised, in the module's order. Direct ones only.
    pub depends: Vec<String>,
    /// Its aliases, as written, without those that no modalias can be.
    pub aliases: Vec<String>,
    /// Its soft dependencies, each as written: `pre: a b`.
    pub softdeps: Vec<String>,
    /// Modules it may ask for by itself while it runs (since Linux 6.11): to be shipped with it, not loaded with it.
    pub weakdeps: Vec<String>,
    /// Firmware files it may ask for, relative to `/lib/firmware`.
    pub firmware: Vec<String>,
    /// The kernel it was built for: version and build options.
    pub vermagic: Option<String>,
    /// The symbols it exports, in the order of its symbol table.
    pub exports: Vec<String>,
}

impl ModuleInfo {
    /// What is kept of it from one build to the next is known by this. To be counted up when [`ModuleInfo::parse`] finds other things.
    pub const FORM: u32 = 1;

    /// Reads the module in `elf`: the whole file, decompressed.
    ///
    /// # Errors
    /// [`Error::Elf`] or [`Error::NoModinfo`] if it is no module, [`Error::Value`] if a name in it could not be written
    /// to an index file.
    pub fn parse(elf: &[u8]) -> Result<Self, Error> {
        let elf = Elf::parse(elf)?;
        let mut info = Self::from_section(elf.section(".modinfo").ok_or(Error::NoModinfo)?)?;
        for symbol in elf.symbols() {
            if let Some(export) = symbol.strip_prefix(b"__ksymtab_") {
                info.exports.push(word("exported symbol", &String::from_utf8_lossy(export))?);
            }
        }
        Ok(info)
    }

    /// Reads the bytes of a `.modinfo` section.
    fn from_section(section: &[u8]) -> Result<Self, Error> {
        let mut info = Self::default();
        for entry in section.split(|byte| *byte == 0) {
            let Some(equals) = entry.iter().position(|byte| *byte == b'=') else { continue };
            let value = String::from_utf8_lossy(&entry[equals + 1..]);
            match &entry[..equals] {
                b"name" => info.name = name::normalise(&word("name", &value)?).into_owned(),
                b"depends" => {
                    for depend in value.split(',').filter(|depend| !depend.is_empty()) {
                        info.depends.push(name::normalise(&word("depends", depend)?).into_owned());
                    }
                }
                b"alias" => info.aliases.push(word("alias", &value)?),
                b"softdep" => info.softdeps.push(line("softdep", &value)?),
                b"weakdep" => info
                    .weakdeps
                    .extend(line("weakdep", &value)?.split_ascii_whitespace().map(str::to_owned)),
                b"firmware" => info.firmware.push(line("firmware", &value)?),
                b"vermagic" => info.vermagic = Some(line("vermagic", &value)?),
                _ => {}
            }
        }
        Ok(info)
    }

    /// The kernel version that the module was built for: `vermagic` up to its first space.
    #[must_use]
    pub fn kernel_version(&self) -> Option<&str> {
        self.vermagic.as_deref()?.split(' ').next()
    }
}

fn word(key: &'static str, value: &str) -> Result<String, Error> {
    check(key, value, |c| c.is_whitespace() || c.is_control())
}

fn line(key: &'static str, value: &str) -> Result<String, Error> {
    check(key, value, char::is_control)
}

fn check(key: &'static str, value: &str, bad: impl Fn(char) -> bool) -> Result<String, Error> {
    if value.contains(bad) {
        return Err(Error::Value { key, value: value.chars().take(80).collect() });
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::tests::object;

    #[test]
    fn the_facts_are_read() {
        let file = object(
            b"license=GPL\0alias=pci:v1*\0alias=net-pf-1\0depends=a-b,c\0softdep=pre: x post: y\0\
              firmware=intel/ice.pkg\0name=my-mod\0vermagic=6.12.0 SMP mod_unload \0weakdep=w\0",
            &["f", "__ksymtab_shared", "__ksymtab_other"],
        );
        let info = ModuleInfo::parse(&file).unwrap();
        assert_eq!(info.name, "my_mod");
        assert_eq!(info.depends, ["a_b", "c"]);
        assert_eq!(info.aliases, ["pci:v1*", "net-pf-1"]);
        assert_eq!(info.softdeps, ["pre: x post: y"]);
        assert_eq!(info.weakdeps, ["w"]);
        assert_eq!(info.firmware, ["intel/ice.pkg"]);
        assert_eq!(info.kernel_version(), Some("6.12.0"));
        assert_eq!(info.exports, ["shared", "other"]);
    }

    #[test]
    fn what_would_break_an_index_file_is_refused() {
        let file = object(b"alias=a\nalias evil evil\0", &[]);
        assert!(matches!(ModuleInfo::parse(&file), Err(Error::Value { key: "alias", .. })));
        assert_eq!(
            ModuleInfo::parse(b"#!/bin/sh"),
            Err(Error::Elf { what: "shorter than an ELF header", length: 9 })
        );
        let object = object(b"", &[]);
        assert_eq!(ModuleInfo::parse(&object), Ok(ModuleInfo::default()));
    }
}
