//! Registries that mean harm, and those that are only slow to understand.

use std::sync::atomic::{AtomicUsize, Ordering};

use overboot_digest::Digest;
use overboot_registry::{Access, Credentials, Error, Login, Repository};

use crate::fake::{Answer, Fake};
use crate::{Shelf, bytes, key, public};

fn reason(error: &Error) -> String {
    match error {
        Error::Parts { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// A registry to which a set was pushed.
fn filled(key: &minisign::KeyPair) -> Fake {
    let fake = Fake::honest();
    let here = Shelf::new();
    here.set("lab", key, &bytes(100_000, 3));
    fake.remote().push(&here, &["set/lab"]).unwrap();
    fake
}

#[test]
fn the_parts_are_those_that_were_signed() {
    let key = key();
    let fake = filled(&key);
    let honest = fake.document("set-lab");
    let there = Shelf::new();
    let refused = |document: &serde_json::Value| {
        fake.tag("set-lab", document.to_string().as_bytes());
        let error = fake.remote().pull(&there, &["set/lab"], &[public(&key)]).unwrap_err();
        assert_eq!(there.store.targets().unwrap(), [""; 0], "{error:?}");
        error
    };

    let mut less = honest.clone();
    less["manifests"].as_array_mut().unwrap().pop();
    assert!(reason(&refused(&less)).starts_with("its overlay/lab (sha256:"));

    let mut more = honest.clone();
    let mut extra = more["manifests"][1].clone();
    extra["annotations"]["vnd.overboot.target"] = "base/other".into();
    more["manifests"].as_array_mut().unwrap().push(extra.clone());
    // A kernel in the place of a base: it says of itself that it is one.
    assert!(matches!(refused(&more), Error::Document { .. }));

    // A part that is signed, and another one's record beside it is not read as what it is not.
    let mut swapped = honest.clone();
    swapped["manifests"][1]["annotations"]["vnd.overboot.target"] = "ipxe".into();
    assert!(matches!(refused(&swapped), Error::Document { .. }));

    // The set of another name, as it was signed.
    let mut renamed = honest.clone();
    renamed["manifests"][0]["annotations"]["vnd.overboot.target"] = "set/other".into();
    assert!(matches!(refused(&renamed), Error::Document { .. }));
    let nothing = serde_json::json!({"schemaVersion": 2, "manifests": []});
    assert!(reason(&refused(&nothing)).contains("first part is not the set"));

    let kernel = honest["manifests"][1]["digest"].as_str().unwrap();
    let kernel = fake.document(kernel);
    assert!(reason(&refused(&kernel)).contains("single image and no set"));
    let many = vec![honest["manifests"][1].clone(); 200];
    let many = serde_json::json!({"schemaVersion": 2, "manifests": many});
    assert!(reason(&refused(&many)).contains("200 parts"));

    fake.tag("set-lab", honest.to_string().as_bytes());
    fake.remote().pull(&there, &[], &[public(&key)]).unwrap();
}

#[test]
fn an_unnamed_part_and_a_set_under_another_name_are_refused() {
    let key = key();
    let fake = filled(&key);
    let honest = fake.document("set-lab");
    let there = Shelf::new();
    // Manifests without our annotation, so that only what was signed stands against them.
    let bare = |digest: &serde_json::Value| {
        let mut document = fake.document(digest.as_str().unwrap());
        document.as_object_mut().unwrap().remove("annotations");
        let text = document.to_string();
        fake.tag("bare", text.as_bytes());
        (Digest::of(&text).to_string(), text.len())
    };
    let mut index = honest.clone();
    for entry in index["manifests"].as_array_mut().unwrap() {
        let (digest, size) = bare(&entry["digest"]);
        (entry["digest"], entry["size"]) = (digest.into(), size.into());
    }
    let mut more = index.clone();
    let mut extra = more["manifests"][1].clone();
    extra["annotations"]["vnd.overboot.target"] = "base/other".into();
    more["manifests"].as_array_mut().unwrap().push(extra);
    fake.tag("set-lab", more.to_string().as_bytes());
    let error = fake.remote().pull(&there, &["set/lab"], &[public(&key)]).unwrap_err();
    assert_eq!(reason(&error), "base/other comes with it, and it does not name that");

    let mut renamed = index.clone();
    renamed["manifests"][0]["annotations"]["vnd.overboot.target"] = "set/other".into();
    fake.tag("set-other", renamed.to_string().as_bytes());
    let error = fake.remote().pull(&there, &["set/other"], &[public(&key)]).unwrap_err();
    assert_eq!(reason(&error), "the set that was signed is called lab");
    assert_eq!(there.store.targets().unwrap(), [""; 0]);

    fake.tag("set-lab", index.to_string().as_bytes());
    fake.remote().pull(&there, &["set/lab"], &[public(&key)]).unwrap();
}

#[test]
fn lengths_that_are_wrong_are_found() {
    let key = key();
    let there = Shelf::new();
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(Spoil, &str); 3] = [
        (|bytes| bytes.push(0), "with another length"),
        (|bytes| bytes.truncate(99_999), "with another length"),
        (|bytes| bytes[50] ^= 1, "has other content"),
    ];
    for (spoil, why) in cases {
        let fake = filled(&key);
        let base = Digest::of(bytes(100_000, 3));
        spoil(&mut fake.content().get_mut(&format!("/v2/lab/blobs/{base}")).unwrap().1);
        let error = fake.remote().pull(&there, &[], &[public(&key)]).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(!there.store.blob_path(&base).exists());
    }
    // One that says nothing of the length, and does not stop.
    let fake = Fake::start(|request, _| {
        request.path.contains("/manifests/").then(|| {
            let body = vec![b' '; 5 << 20];
            Answer::new(200, body).with("Content-Type", "application/vnd.oci.image.index.v1+json")
        })
    });
    let error = fake.remote().pull(&there, &["set/lab"], &[public(&key)]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    let fake = Fake::start(|request, _| {
        request.path.contains("/tags/").then(|| {
            let tags = vec!["set-x"; 30_000];
            Answer::new(200, serde_json::json!({ "tags": tags }).to_string())
                .with("Link", "</v2/lab/tags/list?again>; rel=\"next\"")
        })
    });
    let error = fake.remote().pull(&there, &[], &[public(&key)]).unwrap_err();
    assert!(error.to_string().contains("tags without end"), "{error}");
    assert_eq!(there.targets(), [""; 0]);
}

/// A repository is rarely one project's alone, and its tags are anybody's.
#[test]
fn what_is_somebody_elses_is_passed_over_and_told() {
    let key = key();
    let fake = filled(&key);
    let blob = serde_json::json!({"mediaType": "x", "digest": Digest::of(""), "size": 0});
    let image = serde_json::json!({"schemaVersion": 2, "config": blob, "layers": [blob]});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [blob]});
    let mut chart = index.clone();
    chart["artifactType"] = "application/vnd.example.chart".into();
    for (tag, document, kind) in [
        ("latest", image.to_string(), "application/vnd.oci.image.manifest.v1+json"),
        ("base-alpine", image.to_string(), "application/vnd.docker.distribution.manifest.v2+json"),
        ("set-image", image.to_string(), "application/vnd.oci.image.manifest.v1+json"),
        ("set-index", chart.to_string(), "application/vnd.oci.image.index.v1+json"),
        (
            "set-list",
            index.to_string(),
            "application/vnd.docker.distribution.manifest.list.v2+json",
        ),
        ("set-text", "text".to_owned(), "text/plain"),
    ] {
        let content = (kind.to_owned(), document.into_bytes());
        fake.content().insert(format!("/v2/lab/manifests/{tag}"), content);
    }
    let skipped = |unsigned: bool| {
        let there = Shelf::new();
        let events = fake.remote().pull_as(&there, &[], &[public(&key)], unsigned).unwrap();
        assert!(there.targets().contains(&"set/lab".to_owned()));
        let tags = |event| match event {
            overboot_registry::Event::Skipped { tags, reason } => Some((tags.join(" "), reason)),
            _ => None,
        };
        events.into_iter().filter_map(tags).collect::<Vec<_>>()
    };
    let told = skipped(false);
    let tags: Vec<_> = told.iter().map(|(tags, _)| tags.as_str()).collect();
    assert_eq!(tags, ["latest", "set-image", "set-index", "set-list", "set-text"]);
    assert_eq!(told[1].1, "it is no boot set of overboot's");
    let told = skipped(true);
    assert_eq!(told[1], ("base-alpine".to_owned(), "it is no image of overboot's".to_owned()));
    // What was asked for by its name is an error.
    let there = Shelf::new();
    let error = fake.remote().pull(&there, &["set/image"], &[public(&key)]).unwrap_err();
    assert!(reason(&error).contains("single image and no set"));
    fake.content().remove("/v2/lab/manifests/set-lab");
    let error = fake.remote().pull(&there, &[], &[public(&key)]).unwrap_err();
    assert!(matches!(error, Error::Nothing { .. }), "{error:?}");
}

/// Nobody would look for a set that was passed over.
#[test]
fn a_boot_set_that_is_damaged_is_not_taken_for_somebody_elses() {
    let key = key();
    let fake = filled(&key);
    let honest = fake.document("set-lab");
    let (fresh, before) = (Shelf::new(), Shelf::new());
    let pull = |there: &Shelf| fake.remote().pull(there, &[], &[public(&key)]);
    pull(&before).unwrap();
    let here = Shelf::new();
    here.set("other", &key, &bytes(1000, 5));
    fake.remote().push(&here, &["set/other"]).unwrap();

    // Without its type it is known by its signature, or by that it has none.
    let mut untyped = honest.clone();
    untyped.as_object_mut().unwrap().remove("artifactType");
    fake.tag("set-lab", untyped.to_string().as_bytes());
    pull(&fresh).unwrap();
    assert!(fresh.targets().contains(&"set/lab".to_owned()));
    let mut cut = untyped.to_string();
    cut.truncate(100);
    untyped["manifests"].as_array_mut().unwrap().remove(0);
    for (broken, why) in [
        (untyped.to_string(), "its first part is not the set"),
        (cut, "it cannot be read"),
        (String::new(), "it cannot be read"),
    ] {
        fake.tag("set-lab", broken.as_bytes());
        let error = pull(&Shelf::new()).unwrap_err();
        assert!(reason(&error).contains(why), "{error}");
    }

    // What could be somebody else's is none where it was ours before.
    let text = ("text/plain".to_owned(), b"text".to_vec());
    fake.content().insert("/v2/lab/manifests/set-lab".to_owned(), text);
    let there = Shelf::new();
    pull(&there).unwrap();
    assert!(there.targets().contains(&"set/other".to_owned()));
    let error = pull(&before).unwrap_err();
    assert!(matches!(&error, Error::Replaced { target, .. } if target == "set/lab"), "{error:?}");
    // What was made here has that name by its own right.
    before.set("lab", &key, &bytes(1000, 7));
    pull(&before).unwrap();
}

/// A piece of a blob of which nothing has arrived is sent again, and not all that has arrived before it.
#[test]
fn an_upload_goes_on_where_the_registry_is() {
    let (pieces, arrived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fake = Fake::start(move |request, _| {
        let path = request.path.as_str();
        match request.method.as_str() {
            "PATCH" if (1..3).contains(&pieces.fetch_add(1, Ordering::SeqCst)) => {
                Some(Answer::new(503, ""))
            }
            "PATCH" => {
                arrived.fetch_add(request.body.len(), Ordering::SeqCst);
                None
            }
            "GET" if path.starts_with("/upload/") => {
                let range = format!("0-{}", arrived.load(Ordering::SeqCst) - 1);
                Some(Answer::new(204, "").with("Location", path).with("Range", range))
            }
            _ => None,
        }
    });
    let here = Shelf::new();
    here.artifact("base/base", &[&bytes(40 << 20, 9)]);
    fake.remote().push(&here, &["base/base"]).unwrap();
    let requests = fake.requests();
    let ranges: Vec<_> = requests
        .iter()
        .filter(|request| request.method == "PATCH")
        .map(|request| request.headers["content-range"].split('-').next().unwrap())
        .collect();
    let (one, two) = ((16 << 20).to_string(), (32 << 20).to_string());
    assert_eq!(ranges, ["0", &one, &one, &one, &two]);
    let there = Shelf::new();
    fake.remote().pull_as(&there, &["base/base"], &[], true).unwrap();
    assert_eq!(there.targets(), ["base/base"]);
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_told() {
    let count = AtomicUsize::new(0);
    let fake = Fake::start(move |request, _| {
        let blob = request.method == "GET" && request.path.contains("/blobs/");
        let first = blob && count.fetch_add(1, Ordering::SeqCst) < 3;
        first.then(|| Answer::new(503, ""))
    });
    let (key, there) = (key(), Shelf::new());
    let here = Shelf::new();
    here.set("lab", &key, &bytes(1000, 3));
    fake.remote().push(&here, &["set/lab"]).unwrap();
    fake.remote().pull(&there, &[], &[public(&key)]).unwrap();

    let fake = Fake::start(|request, _| {
        request.path.contains("/blobs/uploads/").then(|| {
            let text = "{\"errors\":[{\"code\":\"TOOMANY\",\"message\":\"\\u001b[31mno\\u0007\"}]}";
            Answer::new(418, text)
        })
    });
    let error = fake.remote().push(&here, &["kernel"]).unwrap_err();
    assert!(error.to_string().ends_with("with status 418: [31mno (TOOMANY)"), "{error}");
    let fake = Fake::start(|_, _| Some(Answer::new(404, "<html>")));
    let error = fake.remote().push(&here, &["kernel"]).unwrap_err();
    assert!(matches!(error, Error::NotARegistry { .. }), "{error:?}");
}

fn login() -> Credentials {
    Credentials::Login(Login { username: "me".to_owned(), password: "secret".to_owned() })
}

/// `me:secret`.
const BASIC: &str = "Basic bWU6c2VjcmV0";

#[test]
fn tokens_are_asked_for_and_renewed() {
    let issued = AtomicUsize::new(0);
    let fake = Fake::start(move |request, port| {
        if request.path.starts_with("/token?") {
            if request.headers.get("authorization").map(String::as_str) != Some(BASIC) {
                return Some(Answer::new(401, ""));
            }
            let number = issued.fetch_add(1, Ordering::SeqCst);
            let wanted =
                "/token?scope=repository%3Alab%3Apull%2Cpush&client_id=overboot&service=fake";
            assert!(request.path == wanted, "{}", request.path);
            return Some(Answer::new(200, format!("{{\"token\": \"t{number}\"}}")));
        }
        // Each is good for a while, as long as nobody has another.
        let good = format!("Bearer t{}", issued.load(Ordering::SeqCst).wrapping_sub(1));
        let expired =
            request.path.ends_with("manifests/kernel") && issued.load(Ordering::SeqCst) == 1;
        if request.headers.get("authorization") == Some(&good) && !expired {
            return None;
        }
        let challenge = format!(
            "Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"fake\",scope=\"repository:user/image:pull\""
        );
        Some(Answer::new(401, "").with("WWW-Authenticate", challenge))
    });
    let here = Shelf::with_set(&key());
    let mut remote = fake.remote();
    remote.options.credentials = login();
    remote.push(&here, &["kernel"]).unwrap();
    let asked = fake.requests().iter().filter(|r| r.path.starts_with("/token")).count();
    assert_eq!(asked, 2, "once, and once when it had expired");
    let wrong = Login { username: "me".to_owned(), password: "wrong".to_owned() };
    remote.options.credentials = Credentials::Login(wrong);
    let error = remote.push(&here, &["kernel"]).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

#[test]
fn a_login_goes_nowhere_else() {
    let (key, storage) = (key(), Fake::honest());
    let here = Shelf::new();
    here.set("lab", &key, &bytes(1000, 3));
    storage.remote().push(&here, &["set/lab"]).unwrap();
    let elsewhere = storage.port();
    let fake = Fake::start(move |request, _| {
        if request.headers.get("authorization").map(String::as_str) != Some(BASIC) {
            return Some(Answer::new(401, "").with("WWW-Authenticate", "Basic realm=x"));
        }
        let moved = request.path != "/v2/" && !request.path.contains("/tags/");
        let to = format!("http://127.0.0.1:{elsewhere}{}", request.path);
        moved.then(|| Answer::new(307, "").with("Location", to))
    });
    let mut remote = fake.remote();
    remote.options.credentials = login();
    let there = Shelf::new();
    let before = storage.requests().len();
    remote.pull(&there, &["set/lab"], &[public(&key)]).unwrap();
    let asked = storage.requests().split_off(before);
    assert!(asked.len() > 5);
    assert!(asked.iter().all(|request| !request.headers.contains_key("authorization")));

    // Round and round, and to where nothing is asked.
    for to in ["/v2/", "ftp://127.0.0.1/x", "http://me:x@127.0.0.1/", "//x", ""] {
        let fake = Fake::start(move |_, _| Some(Answer::new(302, "").with("Location", to)));
        let remote = fake.remote();
        let error = Repository::open(&remote.address, Access::Pull, &remote.options).unwrap_err();
        assert!(matches!(error, Error::Document { .. }), "{to}: {error:?}");
    }
}
