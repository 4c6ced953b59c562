//! The package sets. Each is minbase (or another variant) with a few packages that are known for trouble, and a test of its own.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use overboot_archive::mirror::host_mirror;
use overboot_testkit::program::run;
use overboot_testkit::require;

use crate::differences::{COMPLAINTS, DIFFERENCES, compare};
use crate::listing::Listing;
use crate::made::made;
use crate::witness::Witness;

/// A set.
#[derive(Debug)]
pub struct Set {
    pub name: &'static str,
    pub suite: &'static str,
    pub variant: &'static str,
    pub packages: &'static [&'static str],
    /// What may go wrong with it.
    pub trouble: &'static str,
}

macro_rules! sets {
    ($($name:ident: $suite:ident $variant:ident [$($package:literal),*] $trouble:literal;)*) => {
        /// All of them.
        pub const SETS: &[Set] = &[$(Set {
            name: stringify!($name),
            suite: stringify!($suite),
            variant: stringify!($variant),
            packages: &[$($package),*],
            trouble: $trouble,
        }),*];

        $(#[test]
        fn $name() {
            the_tree_is_the_one_that_mmdebstrap_makes(stringify!($name));
        })*
    };
}

sets! {
    plain: trixie minbase []
        "what there is without any trouble";
    recipe_base: trixie minbase ["systemd-sysv", "systemd", "udev", "kmod", "iproute2", "openssh-server", "ipmitool", "curl", "vim-tiny", "less", "ca-certificates", "sudo"]
        "the packages of the built-in recipe's base";
    diversions_zutils: trixie minbase ["zutils"]
        "diverts programs of gzip, which is essential";
    diversions_molly_guard: trixie minbase ["molly-guard", "systemd-sysv"]
        "diverts the commands that stop a machine";
    diversions_safe_rm: trixie minbase ["safe-rm"]
        "stands in the way of rm, which is essential";
    diversions_live_tools: trixie minbase ["live-tools", "procps"]
        "diverts uptime and update-initramfs in its preinst";
    preinst_ntpsec: trixie minbase ["ntpsec"]
        "preinst, user, capabilities, apparmor";
    preinst_at: trixie minbase ["at", "uuid-runtime"]
        "users and statoverride before files come";
    preinst_x11: trixie minbase ["x11-common", "xfonts-base"]
        "a preinst that looks at what is there; fonts that are indexed";
    debconf_locales: trixie minbase ["tzdata", "locales"]
        "questions about time and language";
    debconf_keyboard: trixie minbase ["keyboard-configuration", "console-setup"]
        "questions whose answers become files";
    debconf_wireshark: trixie minbase ["wireshark-common"]
        "a question, a group, capabilities";
    debconf_popcon: trixie minbase ["popularity-contest"]
        "an identity made in postinst";
    debconf_krb5: trixie minbase ["krb5-config", "libpam-krb5"]
        "questions, and profiles of PAM";
    debconf_ldap: trixie minbase ["libnss-ldapd", "libpam-ldapd"]
        "nsswitch.conf and PAM changed in postinst";
    debconf_nullmailer: trixie minbase ["nullmailer"]
        "questions, users, a pipe, statoverride";
    debconf_grub: trixie minbase ["grub-pc"]
        "questions about disks that are not there";
    debconf_mdadm: trixie minbase ["mdadm"]
        "questions, a generated configuration";
    debconf_upgrades: trixie minbase ["unattended-upgrades"]
        "a question, ucf, python";
    debconf_samba: trixie minbase ["samba-common-bin"]
        "a configuration that is merged by ucf";
    triggers_man: trixie minbase ["man-db", "info", "groff-base"]
        "databases made by triggers that files of other packages set off";
    triggers_fonts: trixie minbase ["fontconfig", "fonts-dejavu-core"]
        "caches made by triggers";
    triggers_mime: trixie minbase ["shared-mime-info", "desktop-file-utils", "hicolor-icon-theme", "gtk-update-icon-cache"]
        "caches made by triggers";
    triggers_glib: trixie minbase ["gsettings-desktop-schemas", "libgdk-pixbuf2.0-bin", "librsvg2-common"]
        "compiled schemas, a list of modules";
    triggers_cracklib: trixie minbase ["cracklib-runtime", "libpam-pwquality", "wamerican"]
        "a dictionary packed by a trigger; profiles of PAM";
    triggers_spelling: trixie minbase ["ispell", "iamerican", "wbritish", "aspell-en", "hunspell-en-us"]
        "dictionaries hashed by triggers";
    triggers_sgml: trixie minbase ["sgml-base", "xml-core", "docbook-xml", "docbook-xsl"]
        "catalogs kept by triggers";
    triggers_tex: trixie minbase ["tex-common"]
        "hooks that others have";
    triggers_menu: trixie minbase ["menu"]
        "menus made by triggers";
    triggers_initramfs: trixie minbase ["initramfs-tools", "busybox"]
        "an initramfs that waits for a kernel";
    triggers_kernel: trixie minbase ["linux-image-cloud-amd64", "initramfs-tools"]
        "hooks of a kernel, depmod, an initramfs";
    triggers_certificates: trixie minbase ["ca-certificates", "openssl"]
        "links by hash, made by a trigger";
    triggers_hwdb: trixie minbase ["udev", "usbutils", "pciutils"]
        "the database of devices";
    triggers_vim: trixie minbase ["vim-nox", "vim-addon-manager"]
        "help tags; many alternatives";
    triggers_php: trixie minbase ["php-cli"]
        "modules enabled one by one, with a register of them";
    triggers_ruby: trixie minbase ["ruby"]
        "alternatives, wrappers";
    triggers_emacsen: trixie minbase ["emacsen-common", "dictionaries-common"]
        "packages that register with something that is not there";
    alternatives_editors: trixie minbase ["vim-tiny", "nano", "ed", "less"]
        "alternatives with slaves and priorities";
    alternatives_awk: trixie minbase ["gawk", "original-awk"]
        "alternatives of what is there already";
    alternatives_firewall: trixie minbase ["iptables", "arptables", "ebtables", "nftables"]
        "alternatives that follow another one";
    alternatives_pinentry: trixie minbase ["pinentry-curses", "pinentry-tty", "gnupg"]
        "alternatives, units of users";
    alternatives_browsers: trixie minbase ["lynx", "w3m", "links"]
        "one alternative of three packages, by priority";
    alternatives_netcat: trixie minbase ["netcat-openbsd", "netcat-traditional", "telnet", "ftp"]
        "alternatives with slaves";
    alternatives_compilers: trixie minbase ["gcc", "g++", "make"]
        "alternatives of cc, c89, c++";
    alternatives_languages: trixie minbase ["lua5.1", "lua5.4", "tcl"]
        "alternatives of interpreters";
    alternatives_terminals: trixie minbase ["xterm", "rxvt-unicode"]
        "alternatives, terminfo, X";
    alternatives_postgresql: trixie minbase ["postgresql-client"]
        "alternatives with a dozen slaves";
    multiarch_development: trixie minbase ["libc6-dev", "zlib1g-dev", "libssl-dev"]
        "packages with an architecture in the names of their control files";
    multiarch_i386: trixie minbase ["libc6-i386", "lib32z1", "lib32stdc++6"]
        "a second loader, folders at the top";
    multiarch_cross: trixie minbase ["libc6-arm64-cross", "binutils-aarch64-linux-gnu"]
        "libraries of another architecture";
    predepends_systemd: trixie minbase ["systemd-sysv", "libpam-systemd", "libnss-systemd", "dbus"]
        "init by a chain of pre-dependencies";
    predepends_perl: trixie minbase ["perl", "liblocale-gettext-perl", "libterm-readline-gnu-perl"]
        "what maintainer scripts run on is itself replaced";
    predepends_apt: trixie minbase ["aptitude", "apt-utils", "apt-listchanges"]
        "what installs packages; alternatives of it";
    essential_sysvinit: trixie minbase ["sysvinit-core", "insserv", "cron", "rsyslog"]
        "another init, and scripts put in an order by it";
    essential_runit: trixie minbase ["runit-init"]
        "another init, services as links";
    essential_busybox: trixie minbase ["busybox-static", "busybox-syslogd", "udhcpc"]
        "another syslog, another DHCP client";
    essential_shells: trixie minbase ["mksh", "zsh", "tcsh"]
        "shells that are registered, alternatives of them";
    essential_standalone: trixie minbase ["systemd-standalone-sysusers", "systemd-standalone-tmpfiles"]
        "stands in for what others depend on";
    essential_coreutils: trixie minbase ["rust-coreutils", "toybox"]
        "the essential tools once more";
    essential_opensysusers: trixie minbase ["opensysusers"]
        "another systemd-sysusers";
    conffiles_logging: trixie minbase ["rsyslog", "logrotate", "cron", "anacron"]
        "conffiles of one package read by another";
    conffiles_apache: trixie minbase ["apache2"]
        "modules and sites switched on by links";
    conffiles_networkmanager: trixie minbase ["network-manager"]
        "conffiles, identity, D-Bus";
    conffiles_ifupdown: trixie minbase ["ifupdown", "bridge-utils", "vlan", "isc-dhcp-client"]
        "hooks, a configuration made in postinst";
    conffiles_completion: trixie minbase ["bash-completion"]
        "conffiles that moved to files";
    conffiles_bind: trixie minbase ["bind9"]
        "keys made in postinst, users, folders with modes";
    conffiles_sudo: trixie minbase ["sudo", "opendoas"]
        "modes that nobody else has";
    dkms_registered: trixie minbase ["dkms"]
        "hooks of kernels, a framework to build modules";
    dkms_built: trixie minbase ["acpi-call-dkms", "linux-headers-cloud-amd64"]
        "a module that is built in postinst";
    python_modules: trixie minbase ["python3", "python3-yaml", "python3-requests", "python3-apt"]
        "modules compiled in postinst";
    python_numpy: trixie minbase ["python3-numpy", "libopenblas0-pthread"]
        "alternatives of libraries beneath python";
    python_venv: trixie minbase ["python3-venv", "python3-pip", "dh-python"]
        "large trees of modules";
    java_headless: trixie minbase ["default-jre-headless"]
        "dozens of alternatives, a keystore made by a trigger";
    systemd_network: trixie minbase ["systemd-sysv", "systemd-resolved", "systemd-timesyncd"]
        "users by sysusers, units, resolv.conf as a link";
    systemd_chrony: trixie minbase ["chrony", "systemd-sysv"]
        "a unit that takes another one's place";
    systemd_web: trixie minbase ["nginx-light", "haproxy", "systemd-sysv"]
        "units, users, a chroot";
    systemd_container: trixie minbase ["systemd-container", "systemd-sysv"]
        "machines and portable services";
    systemd_ssh: trixie minbase ["openssh-server", "systemd-sysv"]
        "host keys, sockets, debconf, ucf";
    systemd_cloud: trixie minbase ["cloud-init"]
        "a generator, debconf, python, targets";
    users_tftp: trixie minbase ["tftpd-hpa"]
        "user, debconf, a folder at /srv";
    users_kea: trixie minbase ["kea-dhcp4-server"]
        "user, a password that is asked for";
    users_postgresql: trixie minbase ["postgresql-common"]
        "user, a certificate of ssl-cert, debconf";
    users_redis: trixie minbase ["redis-server"]
        "user, modes, units";
    users_munge: trixie minbase ["munge", "slurmd"]
        "users, a key made in postinst";
    users_openvswitch: trixie minbase ["openvswitch-switch"]
        "alternatives, ucf, a database";
    users_dnsmasq: trixie minbase ["dnsmasq"]
        "user with the group of another";
    users_mosquitto: trixie minbase ["mosquitto"]
        "user, modes";
    users_tor: trixie minbase ["tor"]
        "user, apparmor, modes";
    users_snmp: trixie minbase ["snmpd"]
        "user, ucf, debconf";
    users_dovecot: trixie minbase ["dovecot-imapd"]
        "users, certificates, configuration by ucf";
    users_freeradius: trixie minbase ["freeradius"]
        "certificates made in postinst, links as configuration";
    statoverride_setgid: trixie minbase ["screen", "plocate", "bsdgames", "fuse3"]
        "set-group-id by name, groups made in postinst";
    capabilities: trixie minbase ["iputils-ping", "arping", "fping", "mtr-tiny"]
        "file capabilities set in postinst";
    storage: trixie minbase ["lvm2", "cryptsetup", "multipath-tools", "open-iscsi", "nvme-cli"]
        "identities, initramfs hooks, udev";
    certificates_snakeoil: trixie minbase ["ssl-cert"]
        "an identity of the machine, made in postinst";
    bookworm_plain: bookworm minbase []
        "folders at the top that become links; dash diverts sh";
    bookworm_diversions: bookworm minbase ["molly-guard", "zutils"]
        "diversions from before /usr was merged";
    bookworm_alternatives: bookworm minbase ["vim-tiny", "nano", "iptables", "less"]
        "alternatives below /sbin and /bin";
    bookworm_systemd: bookworm minbase ["systemd-sysv", "udev", "dbus"]
        "older scripts, files below /lib";
    bookworm_python: bookworm minbase ["python3-yaml", "python3-requests"]
        "modules compiled in postinst";
    bookworm_sysvinit: bookworm minbase ["sysvinit-core", "insserv"]
        "another init";
}

/// Makes both, and compares them.
#[track_caller]
fn the_tree_is_the_one_that_mmdebstrap_makes(name: &str) {
    let needed = ["mmdebstrap", "apt-get", "dpkg", "unshare", "hostname", "chroot", "diff", "cp"];
    if !(require::root() && require::programs(&needed)) {
        return;
    }
    if host_mirror("debian").is_none() {
        let _ = require::met(false, "needs a Debian mirror in this host's apt sources");
        return;
    }
    let set = SETS.iter().find(|set| set.name == name).unwrap();
    let made = made(set);
    let ours = Listing::of(&made.tree);
    assert!(ours.0.len() > 3_000, "{} entries", ours.0.len());
    let witness = Witness::of(set, &made.lock);
    let (theirs, fresh) = witness.listing(made.folder.path());
    let compared = compare(&theirs, &ours);
    eprintln!("{} entries; these differ, as they may:\n{}", ours.0.len(), compared.expected);
    if !compared.surprising.is_empty() {
        let theirs = fresh.unwrap_or_else(|| witness.make(made.folder.path()));
        let details = details(&theirs, &made.tree, &compared.paths);
        if std::env::var_os("OVERBOOT_KEEP_TREES").is_some() {
            eprintln!("kept: {} and {}", theirs.display(), made.tree.display());
            std::mem::forget(made);
        }
        panic!(
            "{name} is chosen for: {}\nmmdebstrap's (-) and ours (+):\n{}\n{details}",
            set.trouble, compared.surprising
        );
    }
    let unneeded = DIFFERENCES.iter().filter(|known| known.shown_by == name);
    let unneeded: Vec<_> =
        unneeded.map(|known| known.path).filter(|path| !compared.needed.contains(path)).collect();
    assert!(unneeded.is_empty(), "do not differ any more, and may go from the list: {unneeded:?}");

    // The tree is not needed any more, so it can be worked in.
    let said = run(Command::new("chroot").arg(&made.tree).args(["dpkg", "--audit"]));
    assert_eq!(said, "", "dpkg --audit");
    let said = run(Command::new("chroot").arg(&made.tree).args(["dpkg", "--verify"]));
    let expected = COMPLAINTS.iter().filter(|complaint| complaint.set == name);
    let expected: String = expected.map(|complaint| format!("{}\n", complaint.said)).collect();
    assert_eq!(said, expected, "dpkg --verify");
    apt_is_content(&made.tree);
}

/// apt finds no dependency that does not hold.
#[track_caller]
fn apt_is_content(tree: &Path) {
    let status = tree.join("var/lib/dpkg/status");
    run(Command::new("apt-get")
        .arg("-o")
        .arg(format!("Dir={}", tree.display()))
        .arg("-o")
        .arg(format!("Dir::State::status={}", status.display()))
        .args(["-o", "Debug::NoLocking=true", "check"]));
}

/// How the first few files differ, line by line.
fn details(theirs: &Path, ours: &Path, paths: &[String]) -> String {
    let mut details = String::new();
    for path in paths.iter().take(12) {
        let mut diff = Command::new("diff");
        diff.args(["-u", "--label", "mmdebstrap", "--label", "overboot"]);
        let output = diff.arg(theirs.join(path)).arg(ours.join(path)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = text.lines().take(40).collect();
        writeln!(details, "{path}:\n{}", lines.join("\n")).unwrap();
    }
    details
}

#[test]
fn there_are_sixty_sets_and_no_kind_of_trouble_is_left_out() {
    let mut names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
    names.sort_unstable();
    assert!(names.len() >= 60, "{}", names.len());
    assert!(names.windows(2).all(|two| two[0] != two[1]), "every name is there once: {names:?}");
    for trouble in [
        "diversions",
        "preinst",
        "debconf",
        "triggers",
        "alternatives",
        "multiarch",
        "predepends",
        "essential",
        "conffiles",
        "dkms",
        "python",
        "java",
        "systemd",
        "users",
    ] {
        let chosen = names.iter().any(|name| name.starts_with(trouble));
        assert!(chosen, "no set is chosen for {trouble}");
    }
}
