//! What may differ from mmdebstrap's tree, and why. The list can only get shorter: each entry names a set that needs it, whose
//! test fails when it does not need it any more.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::listing::Listing;

/// Something that may differ.
pub struct Difference {
    /// The path; `*` stands for anything. The entry may be in one tree only.
    pub path: &'static str,
    /// Why.
    pub why: &'static str,
    /// A set in which it does differ.
    pub shown_by: &'static str,
}

const fn difference(path: &'static str, shown_by: &'static str, why: &'static str) -> Difference {
    Difference { path, why, shown_by }
}

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    difference("dev/*", "plain", "devices are made at boot by the kernel (devtmpfs)"),
    difference(
        "run/*",
        "plain",
        "/run is in memory at boot; tmpfiles.d(5) makes what packages want there",
    ),
    difference(
        "etc/machine-id",
        "predepends_systemd",
        "identity: ours is empty, to be filled at boot",
    ),
    difference("etc/bind/rndc.key", "conffiles_bind", "identity: a key, made in postinst"),
    difference(
        "etc/ssl/certs/ce275665.0",
        "certificates_snakeoil",
        "identity: leads to the certificate",
    ),
    difference(
        "etc/ssl/certs/ssl-cert-snakeoil.pem",
        "certificates_snakeoil",
        "identity: a certificate",
    ),
    difference(
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "certificates_snakeoil",
        "identity: its key",
    ),
    difference("etc/mailname", "debconf_nullmailer", "identity: the build host's name, for mail"),
    difference("etc/mdadm/mdadm.conf", "debconf_mdadm", "identity: the arrays of the build host"),
    difference(
        "etc/popularity-contest.conf",
        "debconf_popcon",
        "identity: a random number, made in postinst",
    ),
    difference(
        "etc/cron.d/popularity-contest",
        "debconf_popcon",
        "identity: a random time, made in postinst",
    ),
    difference(
        "etc/ssl/certs/java/cacerts",
        "java_headless",
        "notes the moment at which each certificate was put into it",
    ),
    difference("etc/chrony/chrony.keys", "systemd_chrony", "identity: a key, made in postinst"),
    difference(
        "etc/iscsi/initiatorname.iscsi",
        "storage",
        "identity: a random name, made in postinst",
    ),
    difference("etc/nvme/hostid", "storage", "identity: a random number, made in postinst"),
    difference("etc/nvme/hostnqn", "storage", "identity: a random name, made in postinst"),
    difference(
        "etc/.resolv.conf.systemd-resolved.bak",
        "systemd_network",
        "mmdebstrap copies the build host's resolv.conf, and this is that",
    ),
    difference("etc/ssh/ssh_host_*", "systemd_ssh", "identity: made at boot"),
    difference(
        "etc/freeradius/3.0/certs/dh",
        "users_freeradius",
        "a random prime, made in postinst; no secret",
    ),
    difference("etc/munge/munge.key", "users_munge", "identity: a key, made in postinst"),
    difference("etc/hostname", "plain", "identity: mmdebstrap copies the build host's"),
    difference("etc/resolv.conf", "plain", "identity: mmdebstrap copies the build host's"),
    difference("etc/fstab", "plain", "mmdebstrap writes one that says nothing"),
    difference("etc/dpkg/dpkg.cfg.d/99mmdebstrap", "plain", "mmdebstrap's own options"),
    difference("etc/apt/sources.list", "plain", "each names the mirror in a file of its own"),
    difference(
        "etc/apt/sources.list.d/overboot.sources",
        "plain",
        "each names the mirror in a file of its own",
    ),
    difference("etc/apt/apt.conf.d/99mmdebstrap", "plain", "mmdebstrap's own options"),
    difference("etc/*-", "plain", "backups of account files, which the build left behind"),
    difference("etc/.pwd.lock", "plain", "a lock of the account files"),
    difference("var/log/*", "plain", "logs of the build"),
    difference("var/lib/dkms/*/log/make.log", "dkms_built", "the log of a build, with its date"),
    difference(
        "var/cache/man/*",
        "triggers_man",
        "an index of manual pages: man makes it when it is asked",
    ),
    difference("var/cache/apt/*", "plain", "apt's cache: empty, and made by apt when it runs"),
    difference("var/cache/debconf/*-old", "plain", "backups of debconf's database"),
    difference(
        "var/lib/apt/lists/*",
        "plain",
        "apt's package lists: empty, and made by apt when it runs",
    ),
    difference(
        "var/lib/apt/extended_states",
        "plain",
        "apt's note of what it chose itself; apt did not run here",
    ),
    difference("var/lib/dpkg/*-old", "plain", "backups of dpkg's database"),
    difference(
        "var/lib/dpkg/arch",
        "plain",
        "dpkg --add-architecture was not called: the native one is built in",
    ),
    difference("var/lib/dpkg/lock*", "plain", "locks of dpkg"),
    difference("var/lib/dpkg/triggers/Lock", "plain", "locks of dpkg"),
];

/// What `dpkg --verify` finds wrong with a tree, though it is as mmdebstrap makes it.
pub struct Complaint {
    /// The set.
    pub set: &'static str,
    /// A line of what is said.
    pub said: &'static str,
}

/// All that is said, in its order. dpkg does not know of diversions when it verifies: here it is a package's own file that another one
/// has moved aside.
pub const COMPLAINTS: &[Complaint] = &[
    Complaint { set: "diversions_live_tools", said: "?M5??????   /usr/sbin/update-initramfs" },
    Complaint {
        set: "diversions_live_tools",
        said: "?M5??????   /usr/share/man/man8/update-initramfs.8.gz",
    },
];

/// How two trees differ.
#[derive(Debug, Default)]
pub struct Compared {
    /// What may, a line each, with its reason.
    pub expected: String,
    /// What may not.
    pub surprising: String,
    /// The paths of that.
    pub paths: Vec<String>,
    /// The entries of the list that were needed.
    pub needed: BTreeSet<&'static str>,
}

/// Compares mmdebstrap's tree with ours.
pub fn compare(theirs: &Listing, ours: &Listing) -> Compared {
    let mut compared = Compared::default();
    let paths: BTreeSet<&String> = theirs.0.keys().chain(ours.0.keys()).collect();
    for path in paths {
        let (theirs, ours) = (theirs.0.get(path), ours.0.get(path));
        if theirs == ours {
            continue;
        }
        if let Some(known) = DIFFERENCES.iter().find(|known| fits(known.path, path)) {
            compared.needed.insert(known.path);
            writeln!(compared.expected, "  {path}: {}", known.why).unwrap();
            continue;
        }
        let show = |entry: Option<&String>| entry.map_or("not there", |entry| entry).to_owned();
        writeln!(compared.surprising, "{path}\n  - {}\n  + {}", show(theirs), show(ours)).unwrap();
        compared.paths.push(path.clone());
    }
    compared
}

/// One `*` in a pattern stands for anything.
fn fits(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        Some((head, tail)) => {
            path.len() >= head.len() + tail.len() && path.starts_with(head) && path.ends_with(tail)
        }
        None => pattern == path,
    }
}

#[test]
fn every_difference_names_a_set_that_shows_it_and_is_there_once() {
    let mut seen = BTreeSet::new();
    for known in DIFFERENCES {
        assert!(seen.insert(known.path), "{} is there twice", known.path);
        let set = crate::sets::SETS.iter().any(|set| set.name == known.shown_by);
        assert!(set, "{}: there is no set {}", known.path, known.shown_by);
    }
}

#[test]
fn what_is_not_on_the_list_is_told() {
    let listing = |text: &str| Listing::from_text(text).unwrap();
    let theirs = listing("etc/hostname\t1\nusr/bin/x\t100755 0:0 3 a\nusr/bin/y\t1\n");
    let ours = listing("usr/bin/x\t104755 0:0 3 a\nusr/bin/z\t1\n");
    let compared = compare(&theirs, &ours);
    assert_eq!(compared.paths, ["usr/bin/x", "usr/bin/y", "usr/bin/z"]);
    assert!(compared.surprising.contains("usr/bin/y\n  - 1\n  + not there\n"));
    assert_eq!(compared.needed, BTreeSet::from(["etc/hostname"]));
    assert!(compare(&theirs, &theirs).needed.is_empty());
}
