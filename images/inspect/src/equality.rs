//! Are two images the same to the bit, and if not, what is not?

use overboot_digest::Digest;
use overboot_record::Record;
use serde::Serialize;

use crate::{Difference, Error, Image, compare};

/// How equal two images are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Equality {
    /// What both are.
    pub target: String,
    /// Are they the same?
    pub same: bool,
    /// The digests of the images themselves.
    pub images: [Digest; 2],
    /// What is not the same, in sentences.
    pub why: Vec<String>,
    /// What is not the same inside.
    pub differences: Vec<Difference>,
}

/// Compares two images by the digests of all that they are made of. The signature of a boot set is another one each time; what
/// was signed counts.
///
/// # Errors
/// What is kept of one cannot be read.
pub fn equality(a: &Image, b: &Image) -> Result<Equality, Error> {
    let both = [a, b];
    let images = both.map(|image| image.artifact.layer().digest);
    let set = a.kind() == "set";
    let digests = |image: &Image| -> Vec<Digest> {
        let layers = image.layers().map(|layer| layer.digest);
        if set { layers.take(1).collect() } else { layers.collect() }
    };
    let mut why = Vec::new();
    if let (Some(a), Some(b)) = (&a.record, &b.record) {
        why.extend(records(a, b));
    } else if a.record.is_some() != b.record.is_some() {
        why.push("only one of them tells what it was made from".to_owned());
    }
    if digests(a) != digests(b) {
        why.push(format!("the image is {}, and the other {}", images[0], images[1]));
    } else if !why.is_empty() {
        why.push("the image itself is the same, bit for bit".to_owned());
    }
    if a.contents_digest != b.contents_digest {
        why.push("what is told to be in it is not the same".to_owned());
    }
    // Packed otherwise, with the same in it: then there is nothing to list.
    let unequal = !why.is_empty();
    let listed = both.iter().all(|image| image.contents.is_some() || set);
    let differences =
        if unequal && listed { compare(a, b).unwrap_or_default() } else { Vec::new() };
    Ok(Equality { target: a.target().to_owned(), same: !unequal, images, why, differences })
}

/// What differs between what two images were made from.
fn records(a: &Record, b: &Record) -> Vec<String> {
    let mut why = Vec::new();
    let names: std::collections::BTreeSet<&String> =
        a.inputs.keys().chain(b.inputs.keys()).collect();
    for name in names {
        let (was, is) = (a.inputs.get(name), b.inputs.get(name));
        if was != is {
            let shown = |value: Option<&String>| value.map_or("nothing", String::as_str).to_owned();
            why.push(format!(
                "it was made from another {name}: {}, and here is {}",
                shown(was),
                shown(is)
            ));
        }
    }
    let rest = |record: &Record| Record { inputs: Default::default(), ..record.clone() };
    if why.is_empty() && rest(a) != rest(b) {
        why.push("its record is not the same".to_owned());
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_that_differ_are_named() {
        let record = |epoch: &str, entries| Record {
            beneath: None,
            target: "base/base".into(),
            key: Digest::of(epoch),
            inputs: [("epoch".to_owned(), epoch.to_owned())].into(),
            packages: Vec::new(),
            entries,
            unpacked: 0,
            facts: Default::default(),
        };
        assert_eq!(records(&record("1", 1), &record("1", 1)), [""; 0]);
        let why = records(&record("1", 1), &record("2", 1));
        assert_eq!(why, ["it was made from another epoch: 1, and here is 2"]);
        assert_eq!(records(&record("1", 1), &record("1", 2)).len(), 1);
    }
}
