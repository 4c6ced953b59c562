//! Publishing and rolling back.

use std::collections::HashSet;

use overboot_store::{Error, Store};

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
    assert_eq!(numbers(2), [1, 3]);
    assert_eq!(numbers(0), [1, 3, 4, 5]);
    assert_eq!(numbers(9), [0_u64; 0]);
    let old: Vec<String> = store.old_generations(2).unwrap().iter().map(|g| g.target()).collect();
    store.collect(&old, &HashSet::new()).unwrap();
    let left: Vec<u64> = store.generations().unwrap().iter().map(|one| one.number).collect();
    assert_eq!(left, [2, 4, 5]);
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
    store.collect(&old, &HashSet::new()).unwrap();
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
    again.layers.push(overboot_store::Layer::new("application/vnd.example.signature", signature));
    store.publish("set/discovery", &again).unwrap();
    assert_eq!(store.unpublished().unwrap(), []);
    assert_eq!(publish(&store), 1);
}
