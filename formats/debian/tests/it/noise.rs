//! No input makes a reader panic, and the order of versions is an order.

use overboot_debian::{ar, deb::Deb, deb822, relation::Relations, version};
use proptest::prelude::*;

proptest! {
    #[test]
    fn stanzas_of_noise(text in "([A-Za-z#:\\- \t\r\n.ä\u{0}]{0,8}\n?){0,12}") {
        for stanza in deb822::stanzas(&text).flatten() {
            prop_assert!(stanza.fields().len() > 0);
            for (name, value) in stanza.fields() {
                prop_assert_eq!(stanza.get(name), Some(value));
                prop_assert!(text.contains(value));
            }
        }
    }

    #[test]
    fn stanzas_come_back_as_written(
        fields in prop::collection::btree_map("[A-Z][a-z0-9-]{0,8}", "[!-~]([ -~]{0,12}[!-~])?(\n [!-~]{1,9}){0,3}", 1..6)
    ) {
        let text: String = fields.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
        let read = deb822::single(&text).unwrap();
        let read: Vec<_> = read.fields().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(read, fields.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn relations_of_noise(text in "[a-c:,|()<>=\\[\\]! 0-2~.+-]{0,40}") {
        if let Ok(relations) = text.parse::<Relations>() {
            let written = relations.to_string();
            prop_assert_eq!(written.parse::<Relations>().unwrap(), relations);
        }
    }

    #[test]
    fn versions_are_in_order(
        a in "[0-2]?:?[a0-2~.+-]{0,6}", b in "[0-2]?:?[a0-2~.+-]{0,6}", c in "[0-2]?:?[a0-2~.+-]{0,6}"
    ) {
        use version::compare;
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
            prop_assert!(compare(&a, &c).is_le());
        }
        let _ = a.parse::<version::Version>();
    }

    #[test]
    fn archives_of_noise(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut archive = ar::MAGIC.to_vec();
        archive.extend(&bytes);
        let _ = ar::members(&archive).map(Iterator::count);
        let _ = Deb::new(&bytes);
    }
}
