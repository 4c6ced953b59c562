//! Small archives, each with one difficulty.

use super::*;
use crate::Source;
use crate::universe::Origin;

/// A universe from lines `name version | Field: value | Field: value`.
fn universe(lines: &str) -> Universe {
    let mut universe = Universe::new("amd64");
    let mut text = String::new();
    for (number, line) in lines.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let mut parts = line.split(';').map(str::trim);
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        text.push_str(&format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: {name}\nSize: 1\n\
             SHA256: {number:064x}\n"
        ));
        parts.for_each(|field| text.push_str(&format!("{field}\n")));
        text.push('\n');
    }
    let source = Source::new("http://example.org/debian", "trixie", "main");
    universe.add(&text, Origin { source, priority: Origin::USUAL }).unwrap();
    universe
}

fn ask(install: &str) -> Request {
    let install = install.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    Request { install: install.map(str::to_owned).collect(), ..Request::default() }
}

fn solve(universe: &Universe, request: &Request) -> String {
    match resolve(universe, request) {
        Ok(packages) => {
            let shown = packages.iter().map(|p| format!("{} {}", p.name, p.version));
            shown.collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("{error}"),
    }
}

fn base(installed: &str) -> Vec<Installed> {
    let pairs = installed.split(',').map(|pair| pair.trim().split_once(' ').unwrap());
    pairs
        .map(|(name, version)| Installed { name: name.into(), version: version.parse().unwrap() })
        .collect()
}

#[test]
fn the_first_alternative_and_real_packages_are_preferred() {
    let universe = universe(
        "app 1; Depends: first | second, mail
         first 1
         second 1
         exim 1; Provides: mail; Priority: optional
         mail 1
         postfix 1; Provides: mail; Priority: important",
    );
    assert_eq!(solve(&universe, &ask("app")), "app 1, first 1, mail 1");
    // What is wanted anyway satisfies the alternative.
    assert_eq!(solve(&universe, &ask("app, second")), "app 1, mail 1, second 1");
    let request = Request { exclude: vec!["first".into(), "mail".into()], ..ask("app") };
    assert_eq!(solve(&universe, &request), "app 1, postfix 1, second 1");
}

#[test]
fn what_cannot_be_had_is_passed_over() {
    let universe = universe(
        "app 1; Depends: broken | fine
         broken 1; Depends: nowhere
         fine 1",
    );
    assert_eq!(solve(&universe, &ask("app")), "app 1, fine 1");
    assert_eq!(solve(&universe, &ask("broken | fine")), "fine 1");
}

#[test]
fn the_newest_version_unless_another_is_asked_for() {
    let universe = universe(
        "lib 1
         lib 2
         app 1; Depends: lib (<< 2)",
    );
    assert_eq!(solve(&universe, &ask("lib")), "lib 2");
    assert_eq!(solve(&universe, &ask("lib=1")), "lib 1");
    assert_eq!(solve(&universe, &ask("lib (= 1), app")), "app 1, lib 1");
    assert_eq!(
        solve(&universe, &ask("lib (>= 3)")),
        "no version of the package satisfies \"lib (>= 3)\"; there is 2 (trixie), 1 (trixie)"
    );
    // apt too takes no version but the candidate on its own account.
    assert_eq!(
        solve(&universe, &ask("app")),
        "these packages cannot be together:\
         \n  app is asked for\
         \n  app 1 needs lib (<< 2), but the suites have lib 2"
    );
}

#[test]
fn provided_versions_count() {
    let universe = universe(
        "app 1; Depends: api (>= 2)
         old 1; Provides: api (= 1)
         bare 1; Provides: api
         new 1; Provides: api (= 2)",
    );
    assert_eq!(solve(&universe, &ask("app")), "app 1, new 1");
}

#[test]
fn names_that_are_not_packages_are_refused() {
    let universe = universe(
        "exim 1; Provides: mail
         postfix 1; Provides: mail, smtp
         openssh-server 1",
    );
    assert_eq!(
        solve(&universe, &ask("mail")),
        "\"mail\" is not a package but stands for others: exim, postfix"
    );
    let error = resolve(&universe, &ask("openssh-sever")).unwrap_err();
    assert_eq!(error.to_string(), "there is no package \"openssh-sever\" in the chosen suites");
    assert_eq!(error.hint().unwrap(), "Did you mean openssh-server?");
    assert!(matches!(resolve(&universe, &ask("a b")), Err(ResolveError::Syntax { .. })));
    assert!(matches!(resolve(&universe, &ask("|")), Err(ResolveError::Syntax { .. })));
    let request = Request { exclude: vec!["exim".into()], ..ask("exim") };
    assert!(matches!(resolve(&universe, &request), Err(ResolveError::Excluded { .. })));
    // As one of several alternatives a virtual name is fine.
    assert_eq!(solve(&universe, &ask("nothing | smtp")), "postfix 1");
    assert!(matches!(
        resolve(&universe, &ask("nothing | nobody")),
        Err(ResolveError::UnknownPackage { .. })
    ));
}

#[test]
fn conflicts_are_explained() {
    let universe = universe(
        "exim 1; Provides: mail; Conflicts: mail; Depends: exim-config
         exim-config 1
         postfix 1; Provides: mail; Conflicts: mail
         suite 1; Depends: postfix
         plugin 1; Breaks: exim (<< 2)",
    );
    assert_eq!(solve(&universe, &ask("exim")), "exim 1, exim-config 1");
    assert_eq!(
        solve(&universe, &ask("exim, suite")),
        "these packages cannot be together:\
         \n  exim is asked for\
         \n  suite is asked for\
         \n  exim 1 conflicts with mail, which postfix 1 provides\
         \n  suite 1 needs postfix"
    );
    assert!(
        solve(&universe, &ask("exim, plugin"))
            .ends_with("plugin 1 breaks exim (<< 2), and there is exim 1")
    );
}

#[test]
fn a_contradiction_tells_which_entries_it_is_about() {
    let universe = universe(
        "one 1
         two 1; Conflicts: one (>= 1)
         app 1; Depends: lib
         lib 1; Depends: deep
         deep 1",
    );
    let about = |install: &str, exclude: &[&str]| {
        let exclude = exclude.iter().map(|name| (*name).to_owned()).collect();
        match resolve(&universe, &Request { exclude, ..ask(install) }) {
            Err(ResolveError::Unsatisfiable { about, .. }) => about,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(about("app, two=1, one (>= 1)", &[]), ["two=1", "one (>= 1)"]);
    assert_eq!(about("one, app", &["nothing", "deep"]), ["app", "deep"]);
}

#[test]
fn a_missing_dependency_is_explained() {
    let universe = universe(
        "app 1; Depends: lib
         lib 1; Depends: gone | absent (>= 1), nonsense
         bad 1; Depends: (",
    );
    let text = solve(&universe, &ask("app"));
    assert!(text.contains("app 1 needs lib\n"), "{text}");
    assert!(text.contains("no package in the suites is or provides"), "{text}");
    let text = solve(&universe, &ask("bad"));
    assert!(text.contains("bad 1 cannot be taken: its relations cannot be read"), "{text}");
    let request = Request { exclude: vec!["lib".into()], ..ask("app") };
    assert!(solve(&universe, &request).ends_with("app 1 needs lib, but lib is excluded"));
}

#[test]
fn recommended_packages_come_where_they_can() {
    let universe = universe(
        "app 1; Recommends: nice, rival, gone | other; Conflicts: rival
         nice 1; Recommends: more
         more 1
         rival 1
         other 1",
    );
    assert_eq!(solve(&universe, &ask("app")), "app 1");
    let request = Request { recommends: true, ..ask("app") };
    assert_eq!(solve(&universe, &request), "app 1, more 1, nice 1, other 1");
}

#[test]
fn the_base_stays_as_it_is() {
    let universe = universe(
        "libc 2; Provides: libc-abi (= 2)
         tool 1; Depends: libc (>= 1), shell
         new-tool 1; Depends: libc (>= 2)
         abi 1; Depends: libc-abi (= 1)
         dash 1; Provides: shell
         bash 1; Provides: shell
         hater 1; Conflicts: bash",
    );
    let on_base = |install| Request { base: base("libc 1, bash 1"), ..ask(install) };
    assert_eq!(solve(&universe, &on_base("tool")), "tool 1");
    assert_eq!(solve(&universe, &on_base("libc")), "");
    // What the base's package provides in its own version is what the older one provided.
    assert_eq!(solve(&universe, &on_base("abi")), "abi 1");
    let text = solve(&universe, &on_base("new-tool"));
    assert!(
        text.contains(
            "new-tool 1 needs libc (>= 2), but libc is installed in version 1 and stays as it is"
        ),
        "{text}"
    );
    let text = solve(&universe, &on_base("hater"));
    assert!(text.contains("hater 1 conflicts with bash 1 (installed)"), "{text}");
}

#[test]
fn variants_grow() {
    let universe = universe(
        "dpkg 1; Essential: yes; Priority: required; Depends: libc
         libc 1; Priority: optional
         apt 1; Priority: important
         mount 1; Priority: required
         nano 1; Priority: important
         man 1; Priority: standard",
    );
    let sizes = Variant::ALL.map(|variant| {
        resolve(&universe, &Request { variant, ..Request::default() }).unwrap().len()
    });
    assert_eq!(sizes, [0, 2, 3, 4, 5, 6]);
    let variant = Variant::Minbase;
    let request = Request { variant, exclude: vec!["mount".into()], ..Request::default() };
    assert_eq!(solve(&universe, &request), "apt 1, dpkg 1, libc 1");
}

#[test]
fn what_a_variant_has_is_for_the_main_archive_to_say() {
    let mut universe = universe(
        "dpkg 1; Essential: yes; Priority: required
         apt 1
         tool 1
         mount 1; Priority: required",
    );
    let source = Source::new("http://example.com/other", "stable", "main").of_archive("other");
    let other = |name: &str, version: &str, more: &str| {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: {name}\nSize: 1\n\
             SHA256: {:064x}\n{more}\n",
            99
        )
    };
    let text = [
        other("agent", "1", "Essential: yes\nPriority: required\n"),
        other("tool", "2", "Essential: yes\nPriority: required\n"),
        // In which version it comes is another question.
        other("mount", "2", ""),
    ];
    universe.add(&text.concat(), Origin { source, priority: Origin::USUAL }).unwrap();
    for (variant, wanted) in [
        (Variant::Essential, "dpkg 1"),
        (Variant::Apt, "apt 1, dpkg 1"),
        (Variant::Minbase, "apt 1, dpkg 1, mount 2"),
        (Variant::Standard, "apt 1, dpkg 1, mount 2"),
    ] {
        assert_eq!(solve(&universe, &Request { variant, ..Request::default() }), wanted);
    }
    assert_eq!(solve(&universe, &ask("agent, tool")), "agent 1, tool 2");
}

#[test]
fn a_version_that_is_named_is_taken_whatever_pins_say() {
    let mut universe = universe("tool 1");
    let source = Source::new("http://example.com/other", "stable", "main").of_archive("other");
    let other = |version: &str, number: u32| {
        format!(
            "Package: tool\nVersion: {version}\nArchitecture: amd64\nFilename: tool\nSize: 1\n\
             SHA256: {number:064x}\n\n"
        )
    };
    let text = [other("2", 98), other("1", 97)].concat();
    universe.add(&text, Origin { source, priority: -1 }).unwrap();
    assert_eq!(solve(&universe, &ask("tool=2")), "tool 2");
    assert!(solve(&universe, &ask("tool (>= 2)")).contains("2 (stable, never taken), 1 (trixie)"));
    // Of the same version in two places, the first.
    assert!(find(&universe, "tool=1").unwrap().in_main);
}

#[test]
fn a_file_that_nobody_lists_is_for_whoever_names_it() {
    let mut universe = universe("tool 1");
    let stanza = |name: &str, version: &str, number: u32| {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: x\nSize: 1\n\
             SHA256: {number:064x}\n\n"
        )
    };
    let all = [stanza("tool", "1", 98), stanza("tool", "2", 99), stanza("own", "1", 97)];
    for stanza in &all {
        universe.add_file(stanza, Source::new("", "local", "")).unwrap();
    }
    let file = |number: u32| format!("{number:064x}").parse().unwrap();
    let with = |text: &str, files: &[u32]| Request {
        files: files.iter().map(|number| file(*number)).collect(),
        ..ask(text)
    };
    let chosen = |request: &Request| resolve(&universe, request).unwrap()[0].sha256;
    assert_eq!(chosen(&with("tool=1", &[98])), file(98));
    assert_eq!(solve(&universe, &with("tool=2", &[98, 99])), "tool 2");
    assert_eq!(solve(&universe, &with("own=1", &[97])), "own 1");
    // Of other images' files nothing is taken, nor is any offered.
    assert_ne!(chosen(&ask("tool=1")), file(98));
    let said = solve(&universe, &with("tool=2", &[98]));
    assert!(said.contains("tool (= 2)") && !said.contains("2 (local"), "{said}");
    assert!(solve(&universe, &ask("own=1")).contains("there is no package \"own\""));
}

#[test]
fn architecture_qualifiers() {
    let universe = universe(
        "any 1; Depends: python:any
         own 1; Depends: plain:amd64, plain:native
         foreign 1; Depends: plain:arm64
         not 1; Depends: plain:any
         python 1; Multi-Arch: allowed
         plain 1",
    );
    assert_eq!(solve(&universe, &ask("any")), "any 1, python 1");
    assert_eq!(solve(&universe, &ask("own")), "own 1, plain 1");
    assert!(resolve(&universe, &ask("foreign")).is_err());
    assert!(resolve(&universe, &ask("not")).is_err());
}

#[test]
fn one_package_by_itself() {
    let universe = universe(
        "image 1; Depends: nowhere
         image 2; Depends: nowhere
         other 1; Provides: virtual",
    );
    let found =
        |entry| find(&universe, entry).map(|p| format!("{} {}", p.name, p.version)).map_err(|_| ());
    assert_eq!(found("image"), Ok("image 2".to_owned()));
    assert_eq!(found("image=1"), Ok("image 1".to_owned()));
    assert_eq!(found("gone | other"), Ok("other 1".to_owned()));
    for bad in ["gone", "image=3", "virtual", "gone | virtual", "", "(", "image=1=2"] {
        assert_eq!(found(bad), Err(()), "{bad}");
    }
}

/// `install`, with these packages held in these versions.
fn holding(universe: &Universe, install: &str, held: &str) -> Request {
    let held = base(held).into_iter().map(|held| {
        let known = universe.versions(&held.name).find(|known| known.version == held.version);
        (held.name, known.unwrap().sha256)
    });
    Request { held: held.collect(), ..ask(install) }
}

#[test]
fn what_is_held_stays_unless_something_that_moves_needs_it_to() {
    let universe = universe(
        "app 1; Depends: lib (>= 1), tool
         app 2; Depends: lib (>= 2), tool, extra
         lib 1
         lib 2
         tool 1; Depends: plugin (= 1)
         tool 2; Depends: plugin (= 2)
         plugin 1; Breaks: lib (>> 2)
         plugin 2
         extra 1
         other 1; Depends: lib
         other 2; Depends: lib
         mail 1; Provides: mta (= 1)
         mail 2; Provides: mta (= 2)
         sender 1; Depends: mta (= 1)
         sender 2; Depends: mta (= 2)",
    );
    let all = "app 1, lib 1, other 1, plugin 1, tool 1";
    let kept = |held: &str| solve(&universe, &holding(&universe, "app, other", held));
    assert_eq!(kept(all), all);
    // `app` moves, and needs another `lib`; nobody needs `other` or `tool` to.
    let held = "lib 1, other 1, plugin 1, tool 1";
    assert_eq!(kept(held), "app 2, extra 1, lib 2, other 1, plugin 1, tool 1");
    // `plugin` moves, and `tool` cannot be with the new one.
    let held = "app 1, lib 1, other 1, tool 1";
    assert_eq!(kept(held), "app 1, lib 1, other 1, plugin 2, tool 2");
    // What is asked for counts more, and so does what is there.
    let request = holding(&universe, "app (>= 2), other", all);
    assert_eq!(solve(&universe, &request), "app 2, extra 1, lib 2, other 1, plugin 1, tool 1");
    let request =
        Request { base: base("lib 2"), ..holding(&universe, "tool", "tool 1, plugin 1, lib 1") };
    assert_eq!(solve(&universe, &request), "plugin 1, tool 1");
    // By what it provides, too.
    let request = holding(&universe, "sender", "mail 1");
    assert_eq!(solve(&universe, &request), "mail 2, sender 2");
    let request = holding(&universe, "sender, mail", "sender 1");
    assert_eq!(solve(&universe, &request), "mail 2, sender 2");
    // What is no longer there holds nothing.
    let gone = [("app".to_owned(), overboot_digest::Digest::of("gone"))].into();
    let request = Request { held: gone, ..ask("app") };
    assert_eq!(solve(&universe, &request), "app 2, extra 1, lib 2, plugin 2, tool 2");
}

#[test]
fn what_breaks_a_package_that_moves_is_not_held() {
    let universe = universe(
        "new 1
         new 2
         old 1; Breaks: new (>= 2)
         old 2
         base 1
         mine 1; Conflicts: base (>= 2)
         mine 2",
    );
    let request = holding(&universe, "new, old", "old 1");
    assert_eq!(solve(&universe, &request), "new 2, old 2");
    let request = holding(&universe, "new, old", "old 1, new 1");
    assert_eq!(solve(&universe, &request), "new 1, old 1");
    let request = Request { base: base("base 2"), ..holding(&universe, "mine", "mine 1") };
    assert_eq!(solve(&universe, &request), "mine 2");
}
