//! What is different between two states of a database.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::form::Form;

/// The records that a layer puts into a database, and those it takes away, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// New records, and changed ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub put: BTreeMap<String, String>,
    /// Removed ones.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<String>,
}

impl Delta {
    /// Does it change nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}

/// What makes `after` of `before`.
#[must_use]
pub fn difference(form: Form, before: &str, after: &str) -> Delta {
    let named = |text: &str| -> BTreeMap<String, String> {
        form.records(text).into_iter().map(|record| (form.name(&record), record)).collect()
    };
    let (before, after) = (named(before), named(after));
    let gone = before.keys().filter(|name| !after.contains_key(*name)).cloned().collect();
    let put = after.into_iter().filter(|(name, record)| before.get(name) != Some(record)).collect();
    Delta { put, gone }
}

/// The database `text` after a change: records that are there keep their place.
#[must_use]
pub fn apply(form: Form, text: &str, delta: &Delta) -> String {
    let mut records = form.records(text);
    records.retain(|record| !delta.gone.contains(&form.name(record)));
    let mut placed = BTreeSet::new();
    for record in &mut records {
        let name = form.name(record);
        if let Some(new) = delta.put.get(&name) {
            *record = form.united(record, new);
            placed.insert(name);
        }
    }
    let new = delta.put.iter().filter(|(name, _)| !placed.contains(*name));
    records.extend(new.map(|(_, record)| record.clone()));
    if form.is_sorted() {
        records.sort_by_key(|record| form.name(record));
    }
    form.text(&records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: Form = Form::Stanzas(&["Package", "Architecture"]);

    fn stanza(name: &str, version: &str) -> String {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
        )
    }

    #[test]
    fn an_overlays_packages_are_listed_with_any_base_beneath() {
        let base = stanza("bash", "1") + &stanza("libc6", "1");
        let overlaid = stanza("bash", "1") + &stanza("libc6", "1") + &stanza("lshw", "5");
        let delta = difference(STATUS, &base, &overlaid);
        assert_eq!(delta.put.len(), 1);
        let newer = stanza("bash", "2") + &stanza("libc6", "2") + &stanza("zlib1g", "1");
        let merged = apply(STATUS, &newer, &delta);
        let wanted = stanza("bash", "2")
            + &stanza("libc6", "2")
            + &stanza("lshw", "5")
            + &stanza("zlib1g", "1");
        assert_eq!(merged, wanted);
    }

    #[test]
    fn what_an_overlay_removed_stays_removed() {
        let delta = difference(STATUS, &(stanza("a", "1") + &stanza("b", "1")), &stanza("b", "2"));
        assert_eq!(
            apply(STATUS, &(stanza("a", "9") + &stanza("b", "1")), &delta),
            stanza("b", "2")
        );
    }

    #[test]
    fn members_of_a_group_add_up() {
        let base = "root:x:0:\nadm:x:4:one\n";
        let first = difference(Form::Groups, base, "root:x:0:\nadm:x:4:one,two\nlldpd:x:101:\n");
        let second = difference(Form::Groups, base, "root:x:0:\nadm:x:4:one,three\n");
        let merged = apply(Form::Groups, &apply(Form::Groups, base, &first), &second);
        assert_eq!(merged, "root:x:0:\nadm:x:4:one,two,three\nlldpd:x:101:\n");
    }

    #[test]
    fn diversions_and_overrides_and_triggers_merge() {
        let delta = difference(Form::Triples, "/a\n/a.x\np\n", "/a\n/a.x\np\n/b\n/b.x\n:\n");
        assert_eq!(apply(Form::Triples, "/c\n/c.x\nq\n", &delta), "/c\n/c.x\nq\n/b\n/b.x\n:\n");
        let lines = Form::Lines { before: 0 };
        let delta = difference(lines, "/usr/share/man man-db\n", "/usr/share/man man-db\n/x y\n");
        assert_eq!(
            apply(lines, "/usr/share/man man-db/noawait\n", &delta),
            "/usr/share/man man-db/noawait\n/x y\n"
        );
    }

    #[test]
    fn the_candidates_of_all_layers_add_up_and_the_last_word_on_the_mode_counts() {
        let form = Form::Alternatives;
        let choice = |path: &str, priority: u32| format!("{path}\n{priority}\n");
        let file = |mode: &str, choices: &[String]| format!("{mode}\n/e\n\n{}\n", choices.concat());
        let [ed, vim, nano] = [("/ed", 1), ("/vim", 3), ("/nano", 2)].map(|(p, n)| choice(p, n));
        let base = file("auto", std::slice::from_ref(&ed));
        let one = difference(form, &base, &file("manual", &[ed.clone(), vim.clone()]));
        let two = difference(form, &base, &file("auto", std::slice::from_ref(&nano)));
        assert_eq!(two.gone.iter().collect::<Vec<_>>(), ["/ed"]);
        assert!(!two.put.contains_key("mode"), "nothing was said of it");
        let both = apply(form, &apply(form, &base, &one), &two);
        assert_eq!(both, file("manual", &[nano.clone(), vim.clone()]));
        // Without it in the base, too, and then without it at all.
        let both = file("manual", &[nano.clone(), vim.clone()]);
        let alone = |mode: &str, choice: &String| {
            difference(form, "", &file(mode, std::slice::from_ref(choice)))
        };
        let (chosen, brought) = (alone("manual", &vim), alone("auto", &nano));
        for [first, second] in [[&chosen, &brought], [&brought, &chosen]] {
            assert_eq!(apply(form, &apply(form, "", first), second), both);
        }
        // Who gives a choice up says so.
        let back = difference(form, &both, &file("auto", &[nano, vim.clone()]));
        assert_eq!(back.gone.iter().collect::<Vec<_>>(), ["mode"]);
        assert!(apply(form, &both, &back).starts_with("auto\n"));
        assert_eq!(apply(form, "", &one), file("manual", &[vim]));
        let none = difference(form, &base, "");
        assert_eq!(apply(form, &base, &none), "");
    }

    fn account() -> impl Strategy<Value = String> {
        ("[a-d]{1,2}", 0u8..3, "[x,y]{0,3}")
            .prop_map(|(name, id, members)| format!("{name}:x:{id}:{members}"))
    }

    proptest! {
        /// On the state that it was made from, a change leads to the state that it was made for.
        #[test]
        fn difference_and_apply_are_each_others_reverse(
            before in proptest::collection::vec(account(), 0..8),
            after in proptest::collection::vec(account(), 0..8),
        ) {
            let form = Form::Accounts;
            let by_name = |lines: &[String]| -> BTreeMap<String, String> {
                lines.iter().map(|line| (form.name(line), line.clone())).collect()
            };
            let text = |lines: &[String]| by_name(lines).into_values().map(|line| line + "\n").collect::<String>();
            let (before, after) = (text(&before), text(&after));
            let there = apply(form, &before, &difference(form, &before, &after));
            prop_assert_eq!(by_name(&form.records(&there)), by_name(&form.records(&after)));
            prop_assert!(difference(form, &there, &after).is_empty());
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}(\n\\PC{0,20}){0,4}", other in "\\PC{0,60}\n") {
            for form in [STATUS, Form::Accounts, Form::Groups, Form::Lines { before: 3 }, Form::Triples, Form::Alternatives] {
                let _ = apply(form, &text, &difference(form, &other, &text));
            }
        }
    }
}
