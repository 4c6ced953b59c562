//! libkmod's `.bin` index files: a radix tree of keys, each with values in the order of a priority.
//!
//! modprobe, udev and everything else on libkmod reads only these; the text files are for people (and for our init).
//! All integers are 32 bit, big endian: magic, version, offset of the root; then the nodes, children before parents.
//! A node is its prefix (zero-terminated, if any), first and last character of its children with an offset for each in
//! between (if any), and its values (count, then priority and zero-terminated text of each; if any). The high bits of an
//! offset say which of the three are there. The oracle for the bytes is depmod itself.

use std::collections::BTreeMap;

use crate::Error;

const MAGIC: u32 = 0xB007_F457;
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;
/// Offsets have 28 bits.
const LIMIT: usize = 0x0FFF_FFFF;

/// The tree while it is built.
pub(crate) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    prefix: Vec<u8>,
    children: BTreeMap<u8, usize>,
    values: Vec<(u32, String)>,
}

impl Trie {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds `value` under `key`. Among equal priorities the newest comes first, as depmod has it.
    pub(crate) fn insert(&mut self, key: &str, value: &str, priority: u32) {
        let mut rest = key.as_bytes();
        let mut at = 0;
        loop {
            let node = &self.nodes[at];
            let common = node.prefix.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common < node.prefix.len() {
                self.split(at, common);
            }
            let Some((first, after)) = rest[common..].split_first() else {
                let values = &mut self.nodes[at].values;
                let position = values.partition_point(|(other, _)| *other < priority);
                values.insert(position, (priority, value.to_owned()));
                return;
            };
            rest = after;
            at = match self.nodes[at].children.get(first) {
                Some(child) => *child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node { prefix: rest.to_vec(), ..Node::default() });
                    self.nodes[at].children.insert(*first, child);
                    child
                }
            };
        }
    }

    /// Cuts the prefix of node `at` after `length` bytes; what was below goes to a new child.
    fn split(&mut self, at: usize, length: usize) {
        let node = std::mem::take(&mut self.nodes[at]);
        let lower = Node { prefix: node.prefix[length + 1..].to_vec(), ..node };
        let child = self.nodes.len();
        self.nodes[at] = Node {
            prefix: node.prefix[..length].to_vec(),
            children: BTreeMap::from([(node.prefix[length], child)]),
            values: Vec::new(),
        };
        self.nodes.push(lower);
    }

    /// The bytes of the file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for word in [MAGIC, VERSION, 0] {
            out.extend(word.to_be_bytes());
        }
        let mut offsets = vec![0; self.nodes.len()];
        // Children before parents, without recursion: keys come from modules and may nest deeply.
        let mut stack = vec![(0, false)];
        while let Some((at, children_done)) = stack.pop() {
            if children_done {
                offsets[at] = self.write(at, &offsets, &mut out)?;
            } else {
                stack.push((at, true));
                stack.extend(self.nodes[at].children.values().rev().map(|child| (*child, false)));
            }
        }
        out[8..12].copy_from_slice(&offsets[0].to_be_bytes());
        Ok(out)
    }

    fn write(&self, at: usize, offsets: &[u32], out: &mut Vec<u8>) -> Result<u32, Error> {
        if out.len() > LIMIT {
            return Err(Error::TooMany { what: "bytes in a .bin index", limit: LIMIT });
        }
        let node = &self.nodes[at];
        let mut offset = out.len() as u32;
        if !node.prefix.is_empty() {
            offset |= HAS_PREFIX;
            out.extend(&node.prefix);
            out.push(0);
        }
        if let (Some((first, _)), Some((last, _))) =
            (node.children.first_key_value(), node.children.last_key_value())
        {
            offset |= HAS_CHILDREN;
            out.extend([*first, *last]);
            for letter in *first..=*last {
                let child = node.children.get(&letter).map_or(0, |child| offsets[*child]);
                out.extend(child.to_be_bytes());
            }
        }
        if !node.values.is_empty() {
            offset |= HAS_VALUES;
            out.extend((node.values.len() as u32).to_be_bytes());
            for (priority, value) in &node.values {
                out.extend(priority.to_be_bytes());
                out.extend(value.as_bytes());
                out.push(0);
            }
        }
        Ok(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys and values of an index file, sorted by key.
    fn dump(file: &[u8]) -> Vec<String> {
        fn word(file: &[u8], at: usize) -> u32 {
            u32::from_be_bytes(file[at..at + 4].try_into().unwrap())
        }
        fn text(file: &[u8], at: &mut usize) -> String {
            let end = *at + file[*at..].iter().position(|b| *b == 0).unwrap();
            let text = String::from_utf8(file[*at..end].to_vec()).unwrap();
            *at = end + 1;
            text
        }
        fn walk(file: &[u8], node: u32, key: &str, lines: &mut Vec<String>) {
            let mut at = (node as usize) & LIMIT;
            let mut key = key.to_owned();
            if node & HAS_PREFIX != 0 {
                key += &text(file, &mut at);
            }
            let mut children = Vec::new();
            if node & HAS_CHILDREN != 0 {
                let (first, last) = (file[at], file[at + 1]);
                at += 2;
                for letter in first..=last {
                    children.push((letter, word(file, at)));
                    at += 4;
                }
            }
            if node & HAS_VALUES != 0 {
                let count = word(file, at);
                at += 4;
                for _ in 0..count {
                    let priority = word(file, at);
                    at += 4;
                    lines.push(format!("{key} {} {priority}", text(file, &mut at)));
                }
            }
            for (letter, child) in children.into_iter().filter(|(_, child)| *child != 0) {
                walk(file, child, &format!("{key}{}", letter as char), lines);
            }
        }
        assert_eq!((word(file, 0), word(file, 4)), (MAGIC, VERSION));
        let mut lines = Vec::new();
        walk(file, word(file, 8), "", &mut lines);
        lines
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut trie = Trie::new();
        for (key, value, priority) in
            [("once", "c", 3), ("on", "a", 1), ("one", "b", 2), ("ask", "d", 0), ("on", "z", 0)]
        {
            trie.insert(key, value, priority);
        }
        let file = trie.to_bytes().unwrap();
        assert_eq!(dump(&file), ["ask d 0", "on z 0", "on a 1", "once c 3", "one b 2"]);
    }

    #[test]
    fn an_empty_index_has_a_root_without_anything() {
        let file = Trie::new().to_bytes().unwrap();
        assert_eq!(file.len(), 12);
        assert!(dump(&file).is_empty());
    }
}
