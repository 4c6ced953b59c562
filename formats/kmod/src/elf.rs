//! The little of ELF that a kernel module needs: sections by name, symbol names.
//!
//! Source: *Object files* in the System V ABI, and the ELF-64 object file format. Both classes and both byte orders,
//! so that an image for another machine can be packed here.

use crate::Error;

/// Bytes of an ELF file with its section table checked to lie inside.
pub(crate) struct Elf<'a> {
    bytes: &'a [u8],
    wide: bool,
    little: bool,
    sections: Vec<Section>,
    names: Section,
}

#[derive(Clone, Copy, Default)]
struct Section {
    name: u32,
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

/// `SHT_SYMTAB`
const SYMBOL_TABLE: u32 = 2;
/// `SHT_NOBITS`: claims a size, but has no bytes in the file.
const NO_BITS: u32 = 8;
/// `SHN_XINDEX`: the number did not fit and stands in section 0.
const EXTENDED_INDEX: u64 = 0xffff;

impl<'a> Elf<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let bad = |what| Error::Elf { what, length: bytes.len() };
        let ident = bytes.get(..16).ok_or(bad("shorter than an ELF header"))?;
        if ident.get(..4) != Some(b"\x7fELF") {
            return Err(bad("no ELF magic"));
        }
        let wide = match ident[4] {
            1 => false,
            2 => true,
            _ => return Err(bad("neither 32 nor 64 bit")),
        };
        let little = match ident[5] {
            1 => true,
            2 => false,
            _ => return Err(bad("neither little nor big endian")),
        };
        let mut elf = Self { bytes, wide, little, sections: Vec::new(), names: Section::default() };
        let short = || bad("shorter than an ELF header");
        let (table, entry, count, names) = if wide {
            (elf.number(0x28, 8), elf.number(0x3a, 2), elf.number(0x3c, 2), elf.number(0x3e, 2))
        } else {
            (elf.number(0x20, 4), elf.number(0x2e, 2), elf.number(0x30, 2), elf.number(0x32, 2))
        };
        let table = table.ok_or_else(short)?;
        let entry = entry.ok_or_else(short)?;
        let mut count = count.ok_or_else(short)?;
        let mut names = names.ok_or_else(short)?;
        let least = if wide { 64 } else { 40 };
        if table == 0 || entry < least {
            return Err(bad("no section table"));
        }
        let outside = || bad("the section table lies outside of the file");
        let first = elf.header(table).ok_or_else(outside)?;
        if count == 0 {
            count = first.size;
        }
        if names == EXTENDED_INDEX {
            names = u64::from(first.link);
        }
        // Every header must lie inside the file, so the file's length bounds the number of them.
        let end = count.checked_mul(entry).and_then(|size| table.checked_add(size));
        if end.is_none_or(|end| end > bytes.len() as u64) {
            return Err(outside());
        }
        elf.sections = (0..count)
            .map(|index| elf.header(table + index * entry).ok_or_else(outside))
            .collect::<Result<_, _>>()?;
        elf.names = usize::try_from(names)
            .ok()
            .and_then(|names| elf.sections.get(names))
            .copied()
            .ok_or_else(|| bad("no section names"))?;
        Ok(elf)
    }

    /// The bytes of the first section called `name`, if there is one and it lies inside the file.
    pub(crate) fn section(&self, name: &str) -> Option<&'a [u8]> {
        let names = self.content(&self.names)?;
        let section = self
            .sections
            .iter()
            .find(|section| string_at(names, section.name) == Some(name.as_bytes()))?;
        self.content(section)
    }

    /// The names of all symbols in the symbol table; empty if there is none.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = &'a [u8]> {
        let table = self.sections.iter().find(|section| section.kind == SYMBOL_TABLE);
        let strings = table
            .and_then(|table| self.sections.get(table.link as usize))
            .and_then(|strings| self.content(strings))
            .unwrap_or_default();
        let symbols = table.and_then(|table| self.content(table)).unwrap_or_default();
        let little = self.little;
        symbols.chunks_exact(if self.wide { 24 } else { 16 }).filter_map(move |symbol| {
            string_at(strings, integer(symbol.get(..4)?, little) as u32).filter(|n| !n.is_empty())
        })
    }

    fn content(&self, section: &Section) -> Option<&'a [u8]> {
        if section.kind == NO_BITS {
            return None;
        }
        let start = usize::try_from(section.offset).ok()?;
        let end = start.checked_add(usize::try_from(section.size).ok()?)?;
        self.bytes.get(start..end)
    }

    fn header(&self, at: u64) -> Option<Section> {
        let number = |offset: u64, size| self.number(at.checked_add(offset)?, size);
        let (offset, size, link) = if self.wide { (0x18, 0x20, 0x28) } else { (0x10, 0x14, 0x18) };
        let word = if self.wide { 8 } else { 4 };
        Some(Section {
            name: number(0, 4)? as u32,
            kind: number(4, 4)? as u32,
            offset: number(offset, word)?,
            size: number(size, word)?,
            link: number(link, 4)? as u32,
        })
    }

    fn number(&self, at: u64, size: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        self.bytes.get(at..at.checked_add(size)?).map(|bytes| integer(bytes, self.little))
    }
}

/// At most eight bytes as a number.
fn integer(bytes: &[u8], little: bool) -> u64 {
    let join = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
}

fn string_at(strings: &[u8], at: u32) -> Option<&[u8]> {
    strings.get(at as usize..)?.split(|byte| *byte == 0).next()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A minimal 64-bit little-endian object with `.modinfo` and a symbol table.
    pub(crate) fn object(modinfo: &[u8], symbols: &[&str]) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0.symtab\0.strtab\0";
        let mut strings = vec![0];
        let mut table = vec![0; 24];
        for symbol in symbols {
            table.extend((strings.len() as u32).to_le_bytes());
            table.extend([0; 20]);
            strings.extend(symbol.as_bytes());
            strings.push(0);
        }
        let mut file = vec![0; 64];
        let mut headers = vec![0; 64];
        for (name, kind, content, link) in [
            (1u32, 1u32, modinfo, 0u32),
            (10, 3, &names[..], 0),
            (20, SYMBOL_TABLE, &table, 4),
            (28, 3, &strings, 0),
        ] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(file.len() as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(content.len() as u64).to_le_bytes());
            header[0x28..0x2c].copy_from_slice(&link.to_le_bytes());
            headers.extend(header);
            file.extend(content);
        }
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let at = file.len() as u64;
        file[0x28..0x30].copy_from_slice(&at.to_le_bytes());
        file[0x3a..0x3c].copy_from_slice(&64u16.to_le_bytes());
        file[0x3c..0x3e].copy_from_slice(&5u16.to_le_bytes());
        file[0x3e..0x40].copy_from_slice(&2u16.to_le_bytes());
        file.extend(headers);
        file
    }

    #[test]
    fn sections_and_symbols_are_found() {
        let file = object(b"name=x\0", &["__ksymtab_f", "g"]);
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(elf.section(".modinfo"), Some(&b"name=x\0"[..]));
        assert_eq!(elf.section(".nothing"), None);
        assert_eq!(elf.symbols().collect::<Vec<_>>(), [&b"__ksymtab_f"[..], b"g"]);
    }

    #[test]
    fn no_cut_or_changed_byte_makes_it_panic() {
        let file = object(b"name=x\0depends=a,b\0", &["__ksymtab_f"]);
        for length in 0..file.len() {
            assert!(Elf::parse(&file[..length]).is_err(), "cut to {length}");
        }
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = file.clone();
                changed[at] = value;
                if let Ok(elf) = Elf::parse(&changed) {
                    let _ = elf.section(".modinfo");
                    let _ = elf.symbols().count();
                }
            }
        }
    }
}
