//! Package caches: another's (a real apt-cacher-ng between us and the real archive), and our own when there is no network at all.

use std::fs;
use std::process::Command;

use overboot_archive::mirror::host_mirror;
use overboot_digest::Digest;
use overboot_testkit::apt_cache::{self, AptCache, Reach};
use overboot_testkit::archive::Fault;
use overboot_testkit::{ports, require};

use crate::project::{Project, failed, folder, succeeded};
use crate::small::{self, Small};

/// A project of which little is built, so that it is soon done; but all of it is locked.
const TARGET: &str = "ipxe";

/// Has packages come through `proxy`.
fn through(project: &Project, proxy: &str) {
    let recipe = fs::read_to_string(project.folder.join("overboot.toml")).unwrap();
    let line = "# proxy = \"http://cache.example:3142\"       # an apt-cacher-ng\n";
    assert!(recipe.contains(line));
    project.write_recipe(&recipe.replace(line, &format!("proxy = \"{proxy}\"\n")));
}

/// The first build fills apt-cacher-ng; another machine's, which has nothing yet, is served by it alone.
#[test]
fn a_second_machine_builds_out_of_apt_cacher_ng() {
    if !apt_cache::possible() {
        return;
    }
    let mirror = host_mirror("debian").unwrap_or_default();
    if !require::met(!mirror.starts_with("https:"), "needs a mirror that can be cached: http://") {
        return;
    }
    let mut cache = AptCache::start();
    let folder = folder();
    let first = Project::init(folder.path().join("first"), folder.path().join("first-cache"));
    through(&first, &cache.url());
    first.succeed(&["build", TARGET]);
    let fetched: Vec<_> = cache.log().into_iter().filter(|line| line.fetched).collect();
    for part in ["InRelease", "/by-hash/SHA256/", "pool/main/i/ipxe/"] {
        assert!(fetched.iter().any(|line| line.path.contains(part)), "{part}: {fetched:#?}");
    }

    // From now on it asks nobody, so what comes is what it has.
    cache.restart(Reach::Itself);
    let second = Project::init(folder.path().join("second"), folder.path().join("second-cache"));
    through(&second, &cache.url());
    second.succeed(&["build", TARGET]);
    let log = cache.log();
    assert!(log.iter().all(|line| !line.fetched), "{log:#?}");
    for line in fetched.iter().filter(|line| line.path.contains("/pool/")) {
        assert!(log.iter().any(|hit| hit.path == line.path), "{line:?}: {log:#?}");
    }
    let lock = |project: &Project| fs::read(project.folder.join("overboot.lock")).unwrap();
    assert_eq!(lock(&second), lock(&first));
    assert_eq!(second.images()[TARGET], first.images()[TARGET]);
}

#[test]
fn a_dead_proxy_is_named() {
    let folder = folder();
    let project = Project::init(folder.path().join("project"), folder.path().join("cache"));
    let nobody = format!("127.0.0.1:{}", ports::tcp());
    through(&project, &format!("http://{nobody}"));
    let said = project.fail(&["build", TARGET]);
    let named = format!("no connection to the proxy {nobody}");
    for word in [&*named, "refused", "help: ", "right mirror or proxy", "--offline"] {
        assert!(said.contains(word), "\"{word}\" is not said:\n{said}");
    }
    assert!(!project.folder.join("overboot.lock").exists());
}

/// A network namespace in which not even loopback is up: who asks anybody for anything fails.
#[test]
fn with_full_caches_everything_is_made_without_a_network() {
    if !(small::possible() && require::program("unshare")) {
        return;
    }
    let small = Small::new();
    let path = small.project.folder.join("overboot.toml");
    // A package file from elsewhere is one of the packages.
    let url = format!("{}/pool/main/h/hammer/hammer_2.0_amd64.deb", small.server.uri());
    let sha256 = Digest::of(small::hammer().build()).hex();
    let debs = format!(
        "\n[overlay.elsewhere]\nbase = \"base\"\n[[overlay.elsewhere.provision]]\ndebs = [{{ url = \"{url}\", sha256 = \"{sha256}\" }}]\n"
    );
    let recipe = fs::read_to_string(&path).unwrap() + &debs;
    small.project.write_recipe(&recipe);
    small.project.succeed(&["build"]);
    let images = small.project.images();
    for made in ["store", ".overboot"] {
        fs::remove_dir_all(small.project.folder.join(made)).unwrap();
    }
    let _ = small.server.take_requests();

    // The namespace is what it is taken for.
    let outside = apart(&small.project, &["lock", "--update"]).output().unwrap();
    assert!(failed(&outside).contains("no connection to 127.0.0.1"));

    let plan = apart(&small.project, &["--offline", "plan"]).output().unwrap();
    assert!(succeeded(&plan).contains("base/base"));
    succeeded(&apart(&small.project, &["--offline", "build"]).output().unwrap());
    assert_eq!(small.project.images(), images);

    // Indexes are kept as well: also another recipe is locked without a network.
    small
        .project
        .write_recipe(&recipe.replace("packages = [\"hammer\"]", "packages = [\"greeter\"]"));
    succeeded(&apart(&small.project, &["--offline", "build", "overlay/tools"]).output().unwrap());
    assert_eq!(small.server.take_requests(), []);

    // Without the one package file that is missing, it is named, and what to do.
    small.project.write_recipe(&recipe);
    let package = small.project.cache.join("packages/sha256").join(format!("{sha256}.deb"));
    fs::remove_file(package).unwrap();
    fs::remove_dir_all(small.project.folder.join("store")).unwrap();
    let missing = apart(&small.project, &["--offline", "build"]).output().unwrap();
    let said = failed(&missing);
    for word in [
        "hammer_2.0_amd64.deb",
        "is not in the cache at",
        "(offline)",
        "help: Run once without --offline",
    ] {
        assert!(said.contains(word), "\"{word}\" is not said:\n{said}");
    }
    // With a network, where it should be is for the recipe to say.
    small.server.fail("pool/main/h/hammer/hammer_2.0_amd64.deb", 1, &Fault::Status(404));
    let said = small.project.fail(&["build", "overlay/elsewhere"]);
    let line = recipe.lines().count();
    for word in [
        &format!("overboot.toml:{line}:"),
        "hammer_2.0_amd64.deb does not exist",
        "help: correct `url`",
    ] {
        assert!(said.contains(word), "\"{word}\" is not said:\n{said}");
    }
    // And with nothing at all.
    fs::remove_dir_all(&small.project.cache).unwrap();
    fs::remove_file(small.project.folder.join("overboot.lock")).unwrap();
    let empty = apart(&small.project, &["--offline", "build"]).output().unwrap();
    let said = failed(&empty);
    for word in
        ["InRelease", "is not in the cache at", "(offline)", "help: Run once without --offline"]
    {
        assert!(said.contains(word), "\"{word}\" is not said:\n{said}");
    }
}

/// `overboot WORDS…` in a network namespace without links.
fn apart(project: &Project, words: &[&str]) -> Command {
    let inside = project.overboot(words);
    let mut command = Command::new("unshare");
    command.arg("--net").arg(inside.get_program()).args(inside.get_args());
    command.env("NO_COLOR", "1").env_remove("OVERBOOT_CACHE");
    command
}
