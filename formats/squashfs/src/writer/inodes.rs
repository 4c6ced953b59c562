//! The inode and directory tables.

use super::data::StoredFile;
use super::metadata::{MetadataCompressor, MetadataWriter, Place};
use super::tables::Ids;
use super::tree::{Node, Tree};
use crate::entry::Kind;
use crate::error::Error;
use crate::format::{
    HEADER_NAMES_MAX, InodeHeader, LISTING_EXTRA, METADATA_SIZE, NONE, device, inode,
};

/// Both tables as they stand in the image, and where the root's inode is.
pub(crate) struct Listed {
    pub(crate) inodes: Vec<u8>,
    pub(crate) directories: Vec<u8>,
    pub(crate) root: u64,
}

/// A directory's listing, once it is written.
#[derive(Default)]
struct Listing {
    place: Place,
    length: u32,
    index: Vec<IndexEntry>,
}

/// Where in a long listing a name is at.
struct IndexEntry {
    /// Offset of the header in the listing.
    offset: u32,
    /// Position of the metadata block that it begins in.
    block: u32,
    name: Vec<u8>,
}

/// Writes the inodes of all nodes and the listings of all directories.
pub(crate) fn build(
    tree: &Tree,
    files: &[StoredFile],
    xattrs: &[u32],
    ids: &mut Ids,
    compressor: &mut MetadataCompressor,
) -> Result<Listed, Error> {
    let mut inodes = MetadataWriter::default();
    let mut directories = MetadataWriter::default();
    let mut places: Vec<Option<Place>> = vec![None; tree.nodes.len()];
    let mut listings: Vec<Listing> = Vec::new();
    listings.resize_with(tree.nodes.len(), Listing::default);
    let mut bytes = Vec::new();
    let mut write = |index: usize, listing: &Listing, ids: &mut Ids, compressor: &mut _| {
        bytes.clear();
        encode(tree, index, &files[index], listing, xattrs[index], ids, &mut bytes)?;
        let place = inodes.place()?;
        inodes.write(&bytes, compressor)?;
        Ok::<Place, Error>(place)
    };
    // Backwards, what is in a directory comes before the directory itself. Its inodes are written
    // together, so that its listing needs few headers and `ls -l` few blocks.
    for (index, node) in tree.nodes.iter().enumerate().rev() {
        if !node.is_directory() {
            continue;
        }
        for child in &node.children {
            let target = tree.nodes[*child].target;
            if places[target].is_none() {
                places[target] = Some(write(target, &listings[target], ids, compressor)?);
            }
        }
        listings[index] = list(tree, node, &places, &mut directories, compressor)?;
    }
    let root = write(0, &listings[0], ids, compressor)?.packed();
    Ok(Listed {
        inodes: inodes.finish(compressor)?,
        directories: directories.finish(compressor)?,
        root,
    })
}

/// Writes the listing of one directory: runs of names, each after a header with what they share.
fn list(
    tree: &Tree,
    directory: &Node,
    places: &[Option<Place>],
    out: &mut MetadataWriter,
    compressor: &mut MetadataCompressor,
) -> Result<Listing, Error> {
    let start = out.place()?;
    let mut listing = Listing { place: start, length: 0, index: Vec::new() };
    let mut indexed_block = start.block;
    let names: Vec<(&Node, Place)> = directory
        .children
        .iter()
        .filter_map(|child| {
            let node = &tree.nodes[*child];
            Some((node, places[node.target]?))
        })
        .collect();
    let mut rest = &names[..];
    while let Some((first, first_place)) = rest.first() {
        let together = |(node, place): &&(&Node, Place)| {
            place.block == first_place.block && delta(first.number, node.number).is_some()
        };
        let count = rest.iter().take(HEADER_NAMES_MAX).take_while(together).count();
        let (run, after) = rest.split_at(count);
        rest = after;

        let place = out.place()?;
        if place.block != indexed_block {
            indexed_block = place.block;
            let name = first.name().to_vec();
            listing.index.push(IndexEntry { offset: listing.length, block: place.block, name });
        }
        let mut bytes = Vec::new();
        bytes.extend((count as u32 - 1).to_le_bytes());
        bytes.extend(first_place.block.to_le_bytes());
        bytes.extend(first.number.to_le_bytes());
        for (node, place) in run {
            let name = node.name();
            bytes.extend(place.offset.to_le_bytes());
            bytes.extend(delta(first.number, node.number).unwrap_or_default().to_le_bytes());
            bytes.extend(kind(&tree.nodes[node.target].entry.kind).to_le_bytes());
            bytes.extend((name.len() as u16 - 1).to_le_bytes());
            bytes.extend_from_slice(name);
        }
        listing.length = u32::try_from(bytes.len())
            .ok()
            .and_then(|length| listing.length.checked_add(length))
            .filter(|length| *length < u32::MAX - LISTING_EXTRA)
            .ok_or(Error::TooMany { what: "bytes of names in one directory", limit: 1 << 32 })?;
        out.write(&bytes, compressor)?;
    }
    // A block boundary falls every 8 KiB; the index is 16 bits long.
    listing.index.truncate(usize::from(u16::MAX));
    Ok(listing)
}

/// The difference of inode numbers, where a directory entry can hold it.
fn delta(first: u32, number: u32) -> Option<i16> {
    i16::try_from(i64::from(number) - i64::from(first)).ok()
}

/// The inode type, in its plain form.
const fn kind(kind: &Kind) -> u16 {
    match kind {
        Kind::Directory => inode::DIRECTORY,
        // Hard links are written as what they link to.
        Kind::File(_) | Kind::HardLink(_) => inode::FILE,
        Kind::Symlink(_) => inode::SYMLINK,
        Kind::CharDevice(..) => inode::CHAR_DEVICE,
        Kind::BlockDevice(..) => inode::BLOCK_DEVICE,
        Kind::Fifo => inode::FIFO,
        Kind::Socket => inode::SOCKET,
    }
}

/// Encodes one inode, in the plain form where that holds everything.
fn encode(
    tree: &Tree,
    index: usize,
    file: &StoredFile,
    listing: &Listing,
    xattr: u32,
    ids: &mut Ids,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let node = &tree.nodes[index];
    let kind = kind(&node.entry.kind);
    let length = listing.length + LISTING_EXTRA;
    let extended = xattr != NONE
        || match node.entry.kind {
            Kind::Directory => {
                length > u32::from(u16::MAX) || listing.length as usize > METADATA_SIZE
            }
            Kind::File(_) => {
                let large = u64::from(u32::MAX);
                node.links > 1 || file.sparse > 0 || file.size > large || file.start > large
            }
            _ => false,
        };
    InodeHeader {
        kind: if extended { kind + inode::EXTENDED } else { kind },
        mode: node.entry.mode & 0o7777,
        uid: ids.index(node.entry.uid)?,
        gid: ids.index(node.entry.gid)?,
        mtime: node.entry.mtime,
        number: node.number,
    }
    .put(out);
    match &node.entry.kind {
        Kind::Directory => {
            // The root's parent is a number that no inode has.
            let parent = if index == 0 { tree.inodes + 1 } else { tree.nodes[node.parent].number };
            if extended {
                put32(out, [node.links, length, listing.place.block, parent]);
                out.extend((listing.index.len() as u16).to_le_bytes());
                out.extend(listing.place.offset.to_le_bytes());
                put32(out, [xattr]);
                for entry in &listing.index {
                    put32(out, [entry.offset, entry.block, entry.name.len() as u32 - 1]);
                    out.extend_from_slice(&entry.name);
                }
            } else {
                put32(out, [listing.place.block, node.links]);
                out.extend((length as u16).to_le_bytes());
                out.extend(listing.place.offset.to_le_bytes());
                put32(out, [parent]);
            }
        }
        Kind::File(_) => {
            let (fragment, offset) = file.tail.unwrap_or((NONE, 0));
            if extended {
                for value in [file.start, file.size, file.sparse] {
                    out.extend(value.to_le_bytes());
                }
                put32(out, [node.links, fragment, offset, xattr]);
            } else {
                put32(out, [file.start as u32, fragment, offset, file.size as u32]);
            }
            for block in &file.blocks {
                put32(out, [*block]);
            }
        }
        Kind::Symlink(target) => {
            put32(out, [node.links, target.len() as u32]);
            out.extend_from_slice(target);
        }
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            put32(out, [node.links, device(*major, *minor)]);
        }
        Kind::Fifo | Kind::Socket | Kind::HardLink(_) => put32(out, [node.links]),
    }
    if extended && !matches!(node.entry.kind, Kind::Directory | Kind::File(_)) {
        put32(out, [xattr]);
    }
    Ok(())
}

fn put32<const N: usize>(out: &mut Vec<u8>, values: [u32; N]) {
    for value in values {
        out.extend(value.to_le_bytes());
    }
}
