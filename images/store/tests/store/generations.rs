//! Publishing and rolling back.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, SystemTime};

use overboot_store::{Error, Layer, Store, layout};

use super::{manifest, new};

fn built(store: &Store, content: &[u8]) -> overboot_digest::Digest {
    store.publish("set/discovery", &manifest(store, content)).unwrap().layer().digest
}

fn publish(store: &Store) -> u64 {
    store.publish_sets(&["discovery".to_owned()]).unwrap()[0].number
}

fn served(store: &Store) -> Option<overboot_digest::Digest> {
    store.served("discovery").unwrap().map(|artifact| artifact.layer().digest)
}

#[test]
fn what_was_published_is_served_until_something_else_is() {
    let (_dir, store) = new();
    assert_eq!(served(&store), None);
    let first = built(&store, b"first");
    assert_eq!(served(&store), Some(first), "never published: what was built");
    assert_eq!(publish(&store), 1);
    let second = built(&store, b"second");
    assert_eq!(served(&store), Some(first), "built, and not published");
    assert_eq!(store.unpublished().unwrap().len(), 1);
    assert_eq!(publish(&store), 2);
    assert_eq!(served(&store), Some(second));
    assert_eq!(publish(&store), 2, "the same again is no new generation");
    assert_eq!(store.unpublished().unwrap(), []);

    assert_eq!(store.roll_back("discovery", None).unwrap().number, 1);
    assert_eq!(served(&store), Some(first));
    let told = store.roll_back("discovery", None).unwrap_err();
    assert!(told.to_string().contains("oldest"), "{told}");
    assert_eq!(served(&store), Some(first), "what failed changed nothing");
    assert_eq!(store.unpublished().unwrap(), [], "nobody waits for what was rolled back");
    assert_eq!(store.rolled_back("discovery").unwrap().unwrap().number, 2);
    assert_eq!(store.roll_back("discovery", Some(2)).unwrap().number, 2);
    assert_eq!(served(&store), Some(second));
    let told = store.roll_back("discovery", Some(7)).unwrap_err();
    assert!(told.to_string().contains("only 1, 2"), "{told}");
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn all_sets_are_published_or_none() {
    let (_dir, store) = new();
    built(&store, b"first");
    let sets = ["discovery".to_owned(), "never-built".to_owned()];
    let error = store.publish_sets(&sets).unwrap_err();
    assert!(
        matches!(error, Error::NoGeneration { ref set, .. } if set == "never-built"),
        "{error}"
    );
    assert_eq!(store.generations().unwrap(), []);
    assert!(store.roll_back("discovery", None).is_err());
}

#[test]
fn of_old_generations_the_newest_and_the_served_one_stay() {
    let (_dir, store) = new();
    for content in [b"1", b"2", b"3", b"4", b"5"] {
        built(&store, content);
        publish(&store);
    }
    store.roll_back("discovery", Some(2)).unwrap();
    let numbers = |keep| -> Vec<u64> {
        store.old_generations(keep).unwrap().iter().map(|one| one.number).collect()
    };
    assert_eq!(numbers(2), [1], "5 was rolled back from: nobody goes back to it");
    assert_eq!(numbers(1), [1, 3]);
    assert_eq!(numbers(0), [1, 3, 4, 5]);
    assert_eq!(numbers(9), [0_u64; 0]);
    let collect = |keep| -> Vec<u64> {
        let old = store.old_generations(keep).unwrap();
        let old: Vec<String> = old.iter().map(|one| one.target()).collect();
        store.collect(&old, &HashSet::new(), SystemTime::now()).unwrap();
        store.generations().unwrap().iter().map(|one| one.number).collect()
    };
    assert_eq!(collect(1), [2, 4, 5]);
    assert_eq!(collect(0), [2]);
    built(&store, b"6");
    assert_eq!(publish(&store), 6, "a number is not given again");
}

#[test]
fn what_is_served_by_now_is_not_collected() {
    let (_dir, store) = new();
    for content in [b"1", b"2"] {
        built(&store, content);
        publish(&store);
    }
    let old: Vec<String> = store.old_generations(0).unwrap().iter().map(|g| g.target()).collect();
    assert_eq!(old, ["generation/discovery/1"]);
    // Somebody rolls back before what was looked up is removed.
    store.roll_back("discovery", Some(1)).unwrap();
    store.collect(&old, &HashSet::new(), SystemTime::now()).unwrap();
    assert_eq!(store.generations().unwrap().len(), 2);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_set_that_was_made_again_is_no_new_generation() {
    let (_dir, store) = new();
    built(&store, b"first");
    publish(&store);
    // The same set with another signature has another manifest.
    let mut again = manifest(&store, b"first");
    let signature = store.put_bytes(b"another signature").unwrap();
    again.layers.push(Layer::new("application/vnd.example.signature", signature));
    store.publish("set/discovery", &again).unwrap();
    assert_eq!(store.unpublished().unwrap(), []);
    assert_eq!(publish(&store), 1);
}

#[test]
fn a_rollback_leads_to_what_was_published_before_and_never_to_what_was_bad() {
    let (_dir, store) = new();
    let number = |to| store.roll_back("discovery", to).map(|one| one.number);
    let states = || -> Vec<(u64, bool, bool)> {
        let all = store.generations().unwrap();
        all.iter().map(|one| (one.number, one.served, one.bad)).collect()
    };
    for content in [b"a", b"b", b"c"] {
        built(&store, content);
        publish(&store);
    }
    assert_eq!(number(None).unwrap(), 2);
    built(&store, b"d");
    assert_eq!(publish(&store), 4);
    // By number 3 would be next, which was bad.
    assert_eq!(number(None).unwrap(), 2);
    assert_eq!(number(None).unwrap(), 1);
    let all_bad = [(1, true, false), (2, false, true), (3, false, true), (4, false, true)];
    assert_eq!(states(), all_bad);

    // What was bad is published again only as a generation of its own; two of the same are not both served.
    built(&store, b"b");
    assert_eq!(store.rolled_back("discovery").unwrap().unwrap().number, 2);
    assert_eq!(publish(&store), 5);
    assert_eq!(store.rolled_back("discovery").unwrap(), None, "somebody wanted it all the same");
    assert_eq!(
        states()[1..],
        [(2, false, true), (3, false, true), (4, false, true), (5, true, false)]
    );
    assert_eq!(number(None).unwrap(), 1);
    // Whoever names one takes its mark away, and going forward leaves no mark.
    assert_eq!(number(Some(3)).unwrap(), 3);
    assert_eq!(states()[0], (1, false, false));
    assert_eq!(states()[2], (3, true, false));

    // Nothing but bad ones before: it says so instead of serving one.
    for content in [b"e", b"f"] {
        built(&store, content);
        publish(&store);
    }
    for left in [6, 3, 1] {
        assert_eq!(number(None).unwrap(), left);
    }
    assert_eq!(number(Some(2)).unwrap(), 2);
    assert_eq!(number(None).unwrap(), 1);
    assert_eq!(number(Some(3)).unwrap(), 3);
    store
        .collect(&["generation/discovery/1".to_owned()], &HashSet::new(), SystemTime::now())
        .unwrap();
    let told = number(None).unwrap_err().to_string();
    assert!(told.contains("rolled back: 2;") && told.contains("--to"), "{told}");
    // Somebody has taken away what was served.
    let served = ["published/discovery".to_owned()];
    store.collect(&served, &HashSet::new(), SystemTime::now()).unwrap();
    let told = number(None).unwrap_err().to_string();
    assert!(told.contains("is served, to go back from: 2, 3, 4, 5, 6, 7;"), "{told}");
    assert_eq!(number(Some(3)).unwrap(), 3);
}

/// In the hour of a rollback nobody asks for a list of files.
#[test]
fn a_rollback_needs_what_machines_fetch_and_no_more() {
    let (_dir, store) = new();
    let blob = |words: &str| Layer::new(crate::TYPE, store.put_bytes(words.as_bytes()).unwrap());
    let base = manifest(&store, b"a base").with_layer(blob("what is in it"));
    let base = store.publish("base/base", &base).unwrap();
    let part = Layer::new(layout::PART, base.descriptor).annotated(layout::TARGET, "base/base");
    let set = manifest(&store, b"a set").with_layer(blob("a signature")).with_layer(part);
    let set = store.publish("set/discovery", &set.with_layer(blob("what is kept of it"))).unwrap();
    publish(&store);
    built(&store, b"another");
    publish(&store);
    let without = |digest: &overboot_digest::Digest| {
        let (file, aside) = (store.blob_path(digest), store.dir().join("aside"));
        fs::rename(&file, &aside).unwrap();
        let problems = store.verify().unwrap();
        assert!(!problems.is_empty());
        let rolled = store.roll_back("discovery", Some(1)).map(|one| one.number);
        fs::rename(&aside, &file).unwrap();
        store.roll_back("discovery", Some(2)).unwrap();
        rolled
    };
    for kept in [set.manifest.layers[3].digest, base.manifest.layers[1].digest] {
        assert_eq!(without(&kept).unwrap(), 1);
    }
    // The record of all of them.
    assert_eq!(without(&base.record().unwrap().digest).unwrap(), 1);
    for fetched in [set.layer(), &set.manifest.layers[1], base.layer()] {
        let error = without(&fetched.digest).unwrap_err();
        let Error::Blob { target, digest, .. } = error else { panic!("{error}") };
        assert_eq!((target.as_str(), digest), ("generation/discovery/1", fetched.digest));
    }
    // Nobody knows what is lacking of a part of which that is not known.
    assert!(without(&base.descriptor.digest).is_err());
}

#[test]
fn a_retired_set_is_served_no_more() {
    let (_dir, store) = new();
    assert!(store.retire("discovery", true).is_err(), "it was never published");
    for content in [b"1", b"2"] {
        built(&store, content);
        publish(&store);
    }
    let last = built(&store, b"3");
    assert_eq!(store.retire("discovery", false).unwrap().len(), 2);
    assert_eq!(served(&store), Some(last), "as it was built");
    assert_eq!(publish(&store), 3, "a number is not given again");
    store.retire("discovery", true).unwrap();
    assert_eq!(served(&store), None);
    assert_eq!(store.targets().unwrap(), [""; 0]);
    assert!(!store.collect(&[], &HashSet::new(), SystemTime::now()).unwrap().is_empty());
    built(&store, b"4");
    assert_eq!(publish(&store), 4, "though nothing was left of the set");
}

#[test]
fn what_lost_its_name_lately_is_known_for_a_while() {
    let (_dir, store) = new();
    let then = SystemTime::now() - Duration::from_secs(60);
    let known = || -> Vec<_> {
        store.former(then).unwrap().iter().map(|artifact| artifact.layer().digest).collect()
    };
    let first = built(&store, b"1");
    let second = built(&store, b"2");
    built(&store, b"2");
    assert_eq!(known(), [first], "the same again replaces nothing");
    publish(&store);
    let third = built(&store, b"3");
    assert_eq!(known(), [first, second], "also where it is published: it was given out before");
    publish(&store);
    let mut lost = known();
    lost.sort();
    assert_eq!(lost, {
        let mut both = [first, second];
        both.sort();
        both
    });
    store.retire("discovery", true).unwrap();
    assert_eq!(known().last(), Some(&third));
    assert!(store.former(SystemTime::now()).unwrap().is_empty(), "no grace");

    // What cannot be read any more is nobody's to boot, and a damaged note hinders no build.
    store.collect(&[], &HashSet::new(), then).unwrap();
    assert_eq!(known(), []);
    built(&store, b"4");
    fs::write(store.dir().join(".overboot-former.json"), "{").unwrap();
    let fourth = store.served("discovery").unwrap().unwrap().layer().digest;
    built(&store, b"5");
    assert_eq!(known(), [fourth]);
    store.collect(&[], &HashSet::new(), SystemTime::now() + Duration::from_secs(60)).unwrap();
    assert_eq!(fs::read(store.dir().join(".overboot-former.json")).unwrap(), b"[]");
}
