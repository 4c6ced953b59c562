//! The smaller tables: owners and groups, fragments, extended attributes.

use std::collections::HashMap;

use super::metadata::{MetadataCompressor, MetadataWriter};
use super::tree::{Node, Tree};
use crate::error::{Error, printable};
use crate::format::{IDS_MAX, NONE, XATTR_PREFIXES};

/// Where a fragment is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment {
    pub(crate) start: u64,
    /// With [`BLOCK_RAW`](crate::format::BLOCK_RAW) where it is not compressed.
    pub(crate) size: u32,
}

/// The fragment table before compression.
pub(crate) fn fragments(fragments: &[Fragment]) -> Vec<u8> {
    let mut out = Vec::new();
    for fragment in fragments {
        out.extend(fragment.start.to_le_bytes());
        out.extend(fragment.size.to_le_bytes());
        out.extend(0u32.to_le_bytes());
    }
    out
}

/// Owners and groups; inodes hold their index here.
#[derive(Default)]
pub(crate) struct Ids {
    list: Vec<u32>,
    index: HashMap<u32, u16>,
}

impl Ids {
    /// The index of `id`, which is added where it is new.
    pub(crate) fn index(&mut self, id: u32) -> Result<u16, Error> {
        if let Some(index) = self.index.get(&id) {
            return Ok(*index);
        }
        let too_many =
            Error::TooMany { what: "different owners and groups", limit: IDS_MAX as u64 };
        if self.list.len() >= IDS_MAX {
            return Err(too_many);
        }
        let index = u16::try_from(self.list.len()).map_err(|_| too_many)?;
        self.list.push(id);
        self.index.insert(id, index);
        Ok(index)
    }

    pub(crate) fn count(&self) -> u16 {
        self.list.len() as u16
    }

    /// The table before compression.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.list.iter().flat_map(|id| id.to_le_bytes()).collect()
    }
}

/// Extended attributes. Nodes with the same ones share a set.
#[derive(Default)]
pub(crate) struct Xattrs {
    /// Names and values, as they stand in the image.
    pub(crate) pairs: Vec<u8>,
    /// The table of sets before compression.
    pub(crate) sets: Vec<u8>,
    /// For each node the index of its set, or [`NONE`].
    pub(crate) sets_of_nodes: Vec<u32>,
    count: u32,
}

impl Xattrs {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The head of the table of sets, for pairs that begin at `pairs`, and its index.
    pub(crate) fn table(&self, pairs: u64, index: &[u8]) -> Vec<u8> {
        let mut out = pairs.to_le_bytes().to_vec();
        out.extend(self.count.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(index);
        out
    }
}

/// Collects the attributes of all nodes.
pub(crate) fn xattrs(tree: &Tree, compressor: &mut MetadataCompressor) -> Result<Xattrs, Error> {
    let mut out = Xattrs::default();
    let mut writer = MetadataWriter::default();
    let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
    for (index, node) in tree.nodes.iter().enumerate() {
        if node.target != index || node.entry.xattrs.is_empty() {
            out.sets_of_nodes.push(NONE);
            continue;
        }
        let pairs = encode(node)?;
        let set = match known.get(&pairs) {
            Some(set) => *set,
            None => {
                let set = out.count;
                out.count += 1;
                out.sets.extend(writer.place()?.packed().to_le_bytes());
                out.sets.extend((node.entry.xattrs.len() as u32).to_le_bytes());
                out.sets.extend((pairs.len() as u32).to_le_bytes());
                writer.write(&pairs, compressor)?;
                known.insert(pairs, set);
                set
            }
        };
        out.sets_of_nodes.push(set);
    }
    out.pairs = writer.finish(compressor)?;
    Ok(out)
}

/// The names and values of one node, sorted by name.
fn encode(node: &Node) -> Result<Vec<u8>, Error> {
    let mut list: Vec<_> = node.entry.xattrs.iter().collect();
    list.sort();
    let mut out = Vec::new();
    for (at, (name, value)) in list.iter().enumerate() {
        let fail = |reason| Error::Xattr { path: node.path(), name: printable(name), reason };
        let (prefix, rest) = XATTR_PREFIXES
            .iter()
            .enumerate()
            .find_map(|(prefix, text)| Some((prefix as u16, name.strip_prefix(*text)?)))
            .ok_or_else(|| fail("its name begins with none of user., trusted. and security."))?;
        if rest.is_empty() || rest.contains(&0) || name.len() > 255 {
            return Err(fail("its name is empty, longer than 255 bytes or has a NUL byte in it"));
        }
        if value.len() > 65_536 {
            return Err(fail("its value is longer than 64 KiB, the most that Linux takes"));
        }
        if at > 0 && list[at - 1].0 == *name {
            return Err(fail("it is given twice"));
        }
        out.extend(prefix.to_le_bytes());
        out.extend((rest.len() as u16).to_le_bytes());
        out.extend_from_slice(rest);
        out.extend((value.len() as u32).to_le_bytes());
        out.extend_from_slice(value);
    }
    Ok(out)
}
