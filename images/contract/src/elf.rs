//! What a program or a library needs to be loaded, and what it gives to others (ELF, and the GNU symbol versions of the Linux
//! Standard Base, *symbol versioning*).
//!
//! Files come from anybody. What is read of one is bounded in number and length; what makes no sense is no ELF file of
//! interest, and never an error: the loader would refuse it just so on every base.

use std::collections::{BTreeMap, BTreeSet};

use object::elf;
use object::read::StringTable;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, SectionIndex};
use serde::{Deserialize, Serialize};

/// The first bytes of every ELF file.
pub const MAGIC: &[u8] = b"\x7fELF";

/// The most names that are read of one file, in each of its tables.
const MOST: usize = 1 << 17;
/// The most bytes that all names of a file may have together.
const MOST_BYTES: usize = 16 << 20;
/// A library without versions that offers more symbols than this is taken to offer any.
const MOST_OFFERED: usize = 8 << 10;

/// What a library gives to those that are linked with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// For which machine, so that a library of another one is passed over, as the loader does.
    pub machine: u32,
    /// The versions of symbols that it defines.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub versions: BTreeSet<String>,
    /// The symbols of a library without versions; nothing where it has versions, or too many symbols to keep.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub symbols: BTreeSet<String>,
}

/// What a program, or a library as the user of others, needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// For which machine.
    pub machine: u32,
    /// Who loads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// Where its libraries are looked for besides the usual places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// The libraries that it is linked with, in the order in which they are searched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<String>,
    /// The versions of symbols that it needs of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, BTreeSet<String>>,
    /// The symbols without a version that it needs, by the library that had them when this was written down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub symbols: BTreeMap<String, BTreeSet<String>>,
}

/// What a file is in both respects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elf {
    /// What it gives; nothing for what can only be started.
    pub library: Option<Library>,
    /// What it needs.
    pub program: Program,
    /// The symbols without a version that it needs, wherever they come from.
    pub symbols: BTreeSet<String>,
}

/// Reads an ELF file; nothing for what is none, is no program or library that is linked when it starts, or is damaged.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Elf> {
    match bytes.get(4)? {
        1 => read_class::<elf::FileHeader32<Endianness>>(bytes),
        2 => read_class::<elf::FileHeader64<Endianness>>(bytes),
        _ => None,
    }
}

/// Names as they are taken from a file's tables, until they are too many or too long.
struct Names<'data> {
    strings: StringTable<'data>,
    left: usize,
    bytes_left: usize,
}

impl<'data> Names<'data> {
    fn new(strings: StringTable<'data>) -> Self {
        Self { strings, left: MOST, bytes_left: MOST_BYTES }
    }

    /// One more row of a table; nothing when there were too many.
    fn row(&mut self) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        Some(())
    }

    fn at(&mut self, offset: u32) -> Option<String> {
        let name = self.strings.get(offset).ok()?;
        self.bytes_left = self.bytes_left.checked_sub(name.len())?;
        Some(String::from_utf8_lossy(name).into_owned())
    }
}

fn read_class<Header: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Elf> {
    let header = Header::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return None;
    }
    let machine = u32::from(header.e_machine(endian).0) << 1 | u32::from(header.is_class_64());
    let mut program = Program { machine, ..Program::default() };
    for segment in header.program_headers(endian, bytes).ok()?.iter().take(MOST) {
        if let Ok(Some(path)) = segment.interpreter(endian, bytes) {
            // execve(2) takes no longer path.
            let path = path.get(..path.len().min(4096))?;
            program.interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let sections = header.sections(endian, bytes).ok()?;
    let (dynamics, link) = sections.dynamic(endian, bytes).ok()??;
    let strings = |link: SectionIndex| sections.strings(endian, bytes, link).ok();
    let mut names = Names::new(strings(link)?);
    let mut soname = None;
    for entry in dynamics.iter().take_while(|entry| entry.d_tag(endian) != elf::DT_NULL) {
        names.row()?;
        let value: u64 = entry.d_val(endian).into();
        let mut name = || names.at(u32::try_from(value).ok()?);
        match entry.d_tag(endian) {
            elf::DT_NEEDED => program.libraries.push(name()?),
            elf::DT_SONAME => soname = Some(name()?),
            elf::DT_RPATH | elf::DT_RUNPATH => {
                program.folders = name()?.split(':').map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    let mut library = Library { machine, ..Library::default() };
    if let Some((mut definitions, link)) = sections.gnu_verdef(endian, bytes).ok()? {
        let mut names = Names::new(strings(link)?);
        while let Some((definition, mut parts)) = definitions.next().ok()? {
            names.row()?;
            // The base definition names the file itself.
            if !definition.vd_flags.get(endian).contains(elf::VER_FLG_BASE)
                && let Some(first) = parts.next().ok()?
            {
                library.versions.insert(names.at(first.vda_name.get(endian))?);
            }
        }
    }
    if let Some((mut needs, link)) = sections.gnu_verneed(endian, bytes).ok()? {
        let mut names = Names::new(strings(link)?);
        while let Some((need, mut versions)) = needs.next().ok()? {
            names.row()?;
            let of = program.versions.entry(names.at(need.vn_file.get(endian))?).or_default();
            while let Some(version) = versions.next().ok()? {
                names.row()?;
                if !version.vna_flags.get(endian).contains(elf::VER_FLG_WEAK) {
                    of.insert(names.at(version.vna_name.get(endian))?);
                }
            }
        }
    }
    let mut symbols = BTreeSet::new();
    let versions =
        sections.gnu_versym(endian, bytes).ok()?.map_or(&[][..], |(versions, _)| versions);
    let table = sections.iter().enumerate().find(|(_, s)| s.sh_type(endian) == elf::SHT_DYNSYM);
    if let Some((_, section)) = table {
        let rows: &[Header::Sym] = section.data_as_array(endian, bytes).ok()?;
        let mut names = Names::new(strings(SectionIndex(section.sh_link(endian) as usize))?);
        for (at, symbol) in rows.iter().enumerate().skip(1).take(MOST) {
            let versioned = versions.get(at).is_some_and(|version| {
                let version = version.0.get(endian);
                !version.is_local() && !version.is_global()
            });
            if symbol.is_local() || versioned {
                continue;
            }
            let offered = !symbol.is_undefined(endian);
            if offered && library.versions.is_empty() {
                library.symbols.insert(names.at(symbol.st_name(endian))?);
            } else if !offered && !symbol.is_weak() {
                symbols.insert(names.at(symbol.st_name(endian))?);
            }
        }
    }
    if library.symbols.len() > MOST_OFFERED {
        library.symbols.clear();
    }
    // A plug-in has no soname and may be linked with by its file's name all the same; a program may not.
    let gives = soname.is_some() || program.interpreter.is_none();
    Some(Elf { library: gives.then_some(library), program, symbols })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use overboot_testkit::program::run;
    use overboot_testkit::require;
    use proptest::prelude::*;

    use super::*;

    /// A program of this machine that is linked with the C library: this test.
    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_program_tells_what_it_needs() {
        let elf = read(&own()).unwrap();
        assert!(elf.program.interpreter.unwrap().contains("ld-linux"));
        assert!(elf.program.libraries.contains(&"libc.so.6".to_owned()));
        assert!(elf.program.versions["libc.so.6"].iter().any(|v| v.starts_with("GLIBC_2.")));
        assert_eq!(elf.library, None);
    }

    #[test]
    fn a_library_tells_what_it_gives() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6")).unwrap();
        let elf = read(&std::fs::read(path).unwrap()).unwrap();
        let library = elf.library.unwrap();
        assert!(library.versions.contains("GLIBC_2.34"));
        assert_eq!(library.symbols, BTreeSet::new(), "all of its symbols have versions");
        assert_eq!(library.machine, elf.program.machine);
    }

    /// What binutils reads of the same files.
    #[test]
    fn readelf_says_the_same() {
        if !require::program("readelf") {
            return;
        }
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let files: BTreeSet<&str> =
            maps.split_whitespace().filter(|word| word.starts_with('/')).collect();
        let mut seen = 0;
        for path in files {
            let Some(elf) = std::fs::read(path).ok().and_then(|bytes| read(&bytes)) else {
                continue;
            };
            let said = run(Command::new("readelf").args(["-dVW", path]).env("LC_ALL", "C"));
            let mut needed = Vec::new();
            let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            let mut defined = BTreeSet::new();
            let mut of = None;
            for line in said.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                let after = |word: &str| {
                    let at = words.iter().position(|other| *other == word)?;
                    words.get(at + 1).map(|name| (*name).to_owned())
                };
                if words.get(1) == Some(&"(NEEDED)") {
                    needed.push(words[4].trim_matches(['[', ']']).to_owned());
                } else if line.contains("File: ") {
                    of = after("File:");
                } else if let (true, Some(name)) = (line.contains("Index: "), after("Name:")) {
                    if !line.contains("Flags: BASE") {
                        defined.insert(name);
                    }
                } else if let (Some(of), Some(name)) = (&of, after("Name:")) {
                    versions.entry(of.clone()).or_default().insert(name);
                }
            }
            assert_eq!(elf.program.libraries, needed, "{path}");
            assert_eq!(elf.program.versions, versions, "{path}");
            if let Some(library) = elf.library {
                assert_eq!(library.versions, defined, "{path}");
            }
            seen += 1;
        }
        assert!(seen >= 3, "this program, the C library and the loader");
    }

    #[test]
    fn what_is_none_is_none() {
        for bytes in [&b""[..], MAGIC, b"\x7fELF\x02\x01\x01", b"#!/bin/sh\n", &[0; 64]] {
            assert_eq!(read(bytes), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is written anywhere into a real file, and wherever it ends: no panic, and an answer at once.
        #[test]
        fn damaged_files_do_no_harm(
            places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..200),
            head in proptest::collection::vec((0_usize..1024, any::<u8>()), 0..8),
            end in any::<prop::sample::Index>(),
            cut: bool,
        ) {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let path = maps.split_whitespace().find(|word| word.contains("/libgcc_s"));
            let path = path.or(maps.split_whitespace().find(|word| word.ends_with("/libc.so.6")));
            let mut bytes = std::fs::read(path.unwrap()).unwrap();
            // Most of what is read lies at both ends: headers, tables, names.
            let length = bytes.len();
            for (place, value) in places {
                let place = place.index(length.min(1 << 16));
                bytes[place] = value;
                bytes[length - 1 - place] = value;
            }
            for (place, value) in head {
                bytes[place] = value;
            }
            bytes[..5].copy_from_slice(b"\x7fELF\x02");
            if cut {
                bytes.truncate(end.index(length));
            }
            let _ = read(&bytes);
        }
    }
}
