//! Against Debian's docker-registry, with TLS and a login.

use std::fs;
use std::process::Command;

use overboot_registry::{Access, Credentials, Error, Event, Login, Repository};
use overboot_testkit::program::run;
use overboot_testkit::registry::{PASSWORD, Registry, USERNAME};
use overboot_testkit::require;

use crate::cut::Wire;
use crate::{Remote, Shelf, bytes, key, moved, options, public};

fn remote(registry: &Registry, name: &str) -> Remote {
    let mut options = options();
    options.ca = Some(registry.ca());
    options.credentials = login(PASSWORD);
    Remote { address: format!("{}/{name}", registry.host()).parse().unwrap(), options }
}

fn login(password: &str) -> Credentials {
    Credentials::Login(Login { username: USERNAME.to_owned(), password: password.to_owned() })
}

const ALL: [&str; 6] =
    ["base/base", "initrd/default", "kernel", "modules/default", "overlay/lab", "set/lab"];

#[test]
fn what_is_pushed_is_pulled_with_the_same_digests() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start(), key());
    let here = Shelf::with_set(&key);
    // Of no interest to anybody else.
    here.store.publish("latest", &here.artifact_of("kernel").manifest).unwrap();
    let remote = remote(&registry, "team/lab");
    let events = remote.push(&here, &[]).unwrap();
    let tags: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Pushed { tag, .. } => Some(tag.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        tags,
        ["base-base", "initrd-default", "kernel", "modules-default", "overlay-lab", "set-lab"]
    );
    assert!(moved(&events) > 20 << 20);
    assert_eq!(moved(&remote.push(&here, &[]).unwrap()), 0, "nothing is sent twice");

    // A set alone brings all that it names.
    let there = Shelf::new();
    let events = remote.pull(&there, &["set/lab"], &[public(&key)]).unwrap();
    assert_eq!(there.targets(), ALL);
    for target in ALL {
        let (ours, theirs) = (here.artifact_of(target), there.artifact_of(target));
        assert_eq!((ours.descriptor, ours.manifest), (theirs.descriptor, theirs.manifest));
        assert_eq!(theirs.origin.as_deref(), Some(remote.address.name().as_str()));
        assert_eq!(ours.origin, None);
    }
    assert!(matches!(events.last(), Some(Event::Pulled { target, .. }) if target == "set/lab"));
    assert_eq!(moved(&remote.pull(&there, &[], &[public(&key)]).unwrap()), 0, "it is all there");

    // What is pushed on from there is the same again.
    let other = self::remote(&registry, "other");
    other.push(&there, &["set/lab"]).unwrap();
    let third = Shelf::new();
    other.pull(&third, &[], &[public(&key)]).unwrap();
    assert_eq!(third.artifact_of("set/lab").descriptor, here.artifact_of("set/lab").descriptor);
}

#[test]
fn prefixes_keep_versions_apart() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start(), key());
    for (version, seed) in [("v1", 7), ("v2", 8)] {
        let here = Shelf::new();
        here.set("lab", &key, &bytes(1000, seed));
        remote(&registry, &format!("lab:{version}")).push(&here, &["set/lab"]).unwrap();
    }
    for (version, seed) in [("v2", 8), ("v1", 7)] {
        let there = Shelf::new();
        remote(&registry, &format!("lab:{version}")).pull(&there, &[], &[public(&key)]).unwrap();
        let path = there.store.blob_path(&there.artifact_of("base/base").layer().digest);
        assert_eq!(fs::read(path).unwrap(), bytes(1000, seed));
    }
    let there = Shelf::new();
    let nothing = remote(&registry, "lab").pull(&there, &[], &[public(&key)]).unwrap_err();
    assert!(matches!(nothing, Error::Nothing { .. }), "{nothing}");
    let missing = remote(&registry, "lab:v1").pull(&there, &["set/other"], &[public(&key)]);
    assert!(matches!(missing, Err(Error::NotFound { what, .. }) if what == "v1-set-other"));
    let refused = remote(&registry, "lab:set-x").push(&Shelf::with_set(&key), &[]).unwrap_err();
    assert!(matches!(refused, Error::Tag { .. }), "{refused}");
}

#[test]
fn only_whom_the_registry_knows_is_let_in() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start(), key());
    let here = Shelf::with_set(&key);
    let mut remote = remote(&registry, "lab");
    remote.options.credentials = login("wrong");
    let error = remote.push(&here, &["kernel"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} does not let the user pusher push to lab", registry.host())
    );
    assert!(!format!("{error:?}").contains("wrong"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    fs::write(&file, "{}").unwrap();
    remote.options.credentials = Credentials::File(file.clone());
    let error = remote.pull(&Shelf::new(), &[], &[public(&key)]).unwrap_err();
    assert!(
        error.to_string().contains("does not let anybody without a login pull from"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--password-stdin"));
    // As `podman login` writes it: "pusher:secret".
    let text =
        format!(r#"{{"auths": {{"{}": {{"auth": "cHVzaGVyOnNlY3JldA=="}}}}}}"#, registry.host());
    fs::write(&file, text).unwrap();
    remote.push(&here, &["kernel"]).unwrap();
}

#[test]
fn an_authority_that_nobody_named_is_not_believed() {
    if !require::program("docker-registry") {
        return;
    }
    let registry = Registry::start();
    let mut remote = remote(&registry, "lab");
    remote.options.ca = None;
    let error = Repository::open(&remote.address, Access::Pull, &remote.options).unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("--ca"));
    // Another authority is as good as none.
    let other = Registry::start();
    remote.options.ca = Some(other.ca());
    let error = Repository::open(&remote.address, Access::Pull, &remote.options).unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
    remote.options.ca = Some("/dev/null".into());
    let error = Repository::open(&remote.address, Access::Pull, &remote.options).unwrap_err();
    assert!(matches!(error, Error::Ca { .. }), "{error:?}");
}

#[test]
fn this_machines_own_registry_may_do_without_tls() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start_open(), key());
    let here = Shelf::with_set(&key);
    let remote =
        Remote { address: format!("{}/lab", registry.host()).parse().unwrap(), options: options() };
    remote.push(&here, &["set/lab"]).unwrap();
    remote.pull(&Shelf::new(), &[], &[public(&key)]).unwrap();
}

#[test]
fn a_changed_blob_is_refused_and_leaves_no_name() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start(), key());
    let here = Shelf::with_set(&key);
    let remote = remote(&registry, "lab");
    remote.push(&here, &[]).unwrap();
    let base = here.artifact_of("base/base").layer().digest;
    let file = registry.blob(&base.hex());
    let whole = fs::read(&file).unwrap();

    let mut changed = whole.clone();
    changed[10_000_000] ^= 1;
    fs::write(&file, &changed).unwrap();
    let there = Shelf::new();
    let error = remote.pull(&there, &["set/lab"], &[public(&key)]).unwrap_err();
    assert!(matches!(error, Error::WrongDigest { expected, .. } if expected == base), "{error:?}");
    assert!(error.to_string().contains("has other content than its digest says"), "{error}");
    assert_eq!(there.targets(), [""; 0]);
    assert!(!there.store.blob_path(&base).exists());

    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let error = remote.pull(&there, &["set/lab"], &[public(&key)]).unwrap_err();
    assert!(matches!(error, Error::WrongSize { .. }), "{error:?}");

    // A manifest that was changed on the registry's disk.
    fs::write(&file, &whole).unwrap();
    let manifest = registry.blob(&here.artifact_of("kernel").descriptor.digest.hex());
    let text = fs::read_to_string(&manifest).unwrap().replace("kernel", "kernal");
    fs::write(&manifest, text).unwrap();
    let error = remote.pull(&there, &["set/lab"], &[public(&key)]).unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. } | Error::Status { .. }), "{error:?}");
    assert_eq!(there.targets(), [""; 0]);
}

#[test]
fn a_set_of_nobody_we_trust_has_no_name() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start_open(), key());
    let remote =
        Remote { address: format!("{}/lab", registry.host()).parse().unwrap(), options: options() };
    remote.push(&Shelf::with_set(&key), &[]).unwrap();
    let there = Shelf::new();
    for keys in [&[][..], &[public(&self::key())]] {
        let error = remote.pull(&there, &["set/lab"], keys).unwrap_err();
        assert!(matches!(error, Error::NotAccepted { .. }), "{error:?}");
        assert!(error.hint().is_some());
        assert_eq!(there.targets(), [""; 0]);
    }
    let error = remote.pull(&there, &["base/base"], &[public(&key)]).unwrap_err();
    assert!(matches!(error, Error::Unsigned { .. }), "{error:?}");
    remote.pull_as(&there, &["base/base"], &[], true).unwrap();
    assert_eq!(there.targets(), ["base/base"]);
}

#[test]
fn what_breaks_off_goes_on_where_it_was() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start(), key());
    // Above the size that is sent at once, so that it goes in pieces.
    let here = Shelf::new();
    here.set("lab", &key, &bytes(40 << 20, 9));
    let through = |wire: &Wire| {
        let mut remote = remote(&registry, "lab");
        remote.address.host = format!("localhost:{}", wire.port());
        remote
    };
    let wire = Wire::to(registry.port(), 3, 12 << 20);
    through(&wire).push(&here, &[]).unwrap();
    assert_eq!(wire.left(), 0, "it broke as often as it was to");

    let wire = Wire::to(registry.port(), 5, 6 << 20);
    let there = Shelf::new();
    through(&wire).pull(&there, &["set/lab"], &[public(&key)]).unwrap();
    assert_eq!(wire.left(), 0);
    assert!(
        wire.carried() < 60 << 20,
        "what had arrived was not asked for again: {}",
        wire.carried()
    );
    assert_eq!(there.targets(), ALL);
}

#[test]
fn skopeo_mirrors_a_set_by_its_one_tag() {
    if !require::programs(&["docker-registry", "skopeo"]) {
        return;
    }
    let (registry, key) = (Registry::start_open(), key());
    let here = Shelf::with_set(&key);
    let remote = |name: &str| Remote {
        address: format!("{}/{name}", registry.host()).parse().unwrap(),
        options: options(),
    };
    remote("lab").push(&here, &["set/lab"]).unwrap();
    let place = |name: &str| format!("docker://{}/{name}:set-lab", registry.host());
    run(Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--all", "--preserve-digests"])
        .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([place("lab"), place("mirror")]));
    let there = Shelf::new();
    remote("mirror").pull(&there, &["set/lab"], &[public(&key)]).unwrap();
    assert_eq!(there.targets(), ALL);
}

#[test]
fn a_set_whose_parts_have_changed_since_is_not_pushed() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start_open(), key());
    let here = Shelf::with_set(&key);
    here.artifact("base/base", &[b"a newer one"]);
    let remote =
        Remote { address: format!("{}/lab", registry.host()).parse().unwrap(), options: options() };
    let error = remote.push(&here, &["set/lab"]).unwrap_err();
    assert!(matches!(error, Error::Stale { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("overboot build set/lab"));
    let error = remote.push(&here, &["base/other"]).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    // Damaged here: told so, not blamed on the registry.
    let kernel = here.store.blob_path(&here.artifact_of("kernel").layer().digest);
    fs::write(&kernel, b"a kernal").unwrap();
    let error = remote.push(&here, &["kernel"]).unwrap_err();
    assert!(error.to_string().contains("damaged in the store"), "{error}");
}

#[test]
fn a_later_pull_goes_on_where_an_earlier_one_has_ended() {
    if !require::program("docker-registry") {
        return;
    }
    let (registry, key) = (Registry::start(), key());
    let here = Shelf::with_set(&key);
    let mut remote = remote(&registry, "lab");
    remote.push(&here, &["set/lab"]).unwrap();
    let there = Shelf::new();
    let base = here.artifact_of("base/base").layer().digest;
    let port = registry.port();
    let through = |remote: &mut Remote, wire: &Wire| {
        remote.address.host = format!("localhost:{}", wire.port());
    };
    // One that breaks whenever much has come, until nobody has patience any more.
    let wire = Wire::to(port, usize::MAX, 12 << 20);
    through(&mut remote, &wire);
    remote.options.attempts = 1;
    let error = remote.pull(&there, &["set/lab"], &[public(&key)]).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
    assert!(!there.store.blob_path(&base).exists());
    // The next one, which opens the store anew.
    let wire = Wire::to(port, 0, 0);
    through(&mut remote, &wire);
    overboot_store::Store::open_or_create(there.store.dir()).unwrap();
    remote.pull(&there, &["set/lab"], &[public(&key)]).unwrap();
    assert!(wire.carried() < 12 << 20, "{}", wire.carried());
    assert_eq!(there.targets(), ALL);

    // What was left may be damaged: then it is fetched anew.
    let last = Shelf::new();
    let temporary = last.store.dir().join(".overboot-tmp");
    fs::write(temporary.join(format!("{}.partial", base.hex())), vec![1; 5 << 20]).unwrap();
    remote.pull(&last, &["set/lab"], &[public(&key)]).unwrap();
    assert_eq!(last.targets(), ALL);
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
}
