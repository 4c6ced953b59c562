//! Project, main archive, kernel, slots.

use std::collections::BTreeMap;

use overboot_bootset::PublicKey;
use toml::Spanned;

use super::Check;
use crate::archive::{Archive, Distribution};
use crate::manifest;
use crate::place::Placed;
use crate::recipe::{Kernel, Project, Slot};

/// Debian's names of the architectures that images may be for; the first, where none is named.
pub(super) const ARCHITECTURES: [(&str, &str); 2] = [("amd64", "amd64"), ("arm64", "arm64")];

/// The longest command line that a recipe may ask for: half of what a kernel takes (`COMMAND_LINE_SIZE`, 2048 on x86), since
/// the boot server has words to add.
const LONGEST_COMMAND_LINE: usize = 1024;

impl Check<'_> {
    pub(super) fn project(&mut self, project: &manifest::Project) -> Project {
        let trust = project.trust.as_ref();
        for key in trust.iter().flat_map(|keys| keys.as_ref()) {
            let text = key.as_ref();
            if PublicKey::parse(text).is_err() {
                self.wrong(
                    key.span(),
                    format!("\"{text}\" is not a minisign public key"),
                    "write the second line of the .pub file: 56 characters that begin with RW",
                );
            }
        }
        let keys = trust.iter().flat_map(|keys| keys.as_ref());
        let trust = Placed {
            value: keys.map(|key| key.as_ref().clone()).collect(),
            place: self.place(trust.map_or(project.name.span(), Spanned::span)),
        };
        Project { name: self.name("a project", &project.name).value, trust }
    }

    pub(super) fn architecture(&mut self, archive: &manifest::Archive) -> Placed<&'static str> {
        match &archive.architecture {
            Some(given) => Placed {
                value: self.choice("architecture", given, &ARCHITECTURES),
                place: self.place(given.span()),
            },
            None => ARCHITECTURES[0].0.into(),
        }
    }

    pub(super) fn archive(
        &mut self,
        archive: &manifest::Archive,
        architecture: &Placed<&'static str>,
    ) -> Archive {
        let suite = self.name("a suite", &archive.suite);
        let mirror = archive.mirror.as_ref().map(|given| self.url("mirror", given));
        let distribution = Distribution::of(&suite, mirror.as_ref().map(|mirror| mirror.as_str()));
        let mut checked = Archive {
            extra_suites: archive
                .extra_suites
                .iter()
                .map(|one| self.name("a suite", one))
                .collect(),
            components: match &archive.components {
                Some(given) => {
                    let given = self.filled("components", given);
                    let names: Vec<_> =
                        given.iter().map(|one| self.name("a component", one)).collect();
                    self.once(given, &names);
                    names
                }
                // They go with the suite.
                None => {
                    let component = |name: &str| suite.clone().map(|_| name.to_owned());
                    distribution.components().map(component).collect()
                }
            },
            architecture: architecture.map(str::to_owned),
            updates: archive.updates.unwrap_or(true),
            security: archive.security.unwrap_or(true),
            keyring: archive.keyring.as_ref().map(|given| self.file(given, false)),
            proxy: archive.proxy.as_ref().map(|given| self.proxy(given)),
            extra: Vec::new(),
            pins: Vec::new(),
            suite,
            mirror,
            distribution,
        };
        self.extra_suites(&checked, &archive.extra_suites);
        checked.extra = self.extra_archives(&checked, &archive.extra);
        checked.pins = self.pins(&checked, archive);
        checked
    }

    /// A proxy, which is spoken to without TLS and without a login.
    fn proxy(&mut self, given: &Spanned<String>) -> Placed<String> {
        let proxy = self.url("proxy", given);
        if proxy.starts_with("https://") {
            self.wrong(
                given.span(),
                "a proxy that is spoken to by https:// cannot be used".to_owned(),
                "write it as http://host:3142; what comes from https:// addresses stays encrypted through it",
            );
        }
        proxy
    }

    pub(super) fn kernel(
        &mut self,
        kernel: Option<&manifest::Kernel>,
        archive: &Archive,
    ) -> Kernel {
        let package = kernel.and_then(|kernel| kernel.package.as_ref());
        let command_line = kernel.and_then(|kernel| kernel.cmdline.as_ref());
        Kernel {
            package: match package {
                Some(given) => self.package(given),
                // It goes with the suite.
                None => {
                    let package = archive.distribution.kernel(&archive.architecture);
                    archive.suite.clone().map(|_| package)
                }
            },
            cmdline: command_line.map(|given| self.command_line(given)).unwrap_or_default(),
        }
    }

    /// Words for the kernel, which are written into boot scripts and must come out there as they went in.
    fn command_line(&mut self, given: &Spanned<String>) -> String {
        let text = self.text(given);
        let fine = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !fine || text.contains("${") || text.len() > LONGEST_COMMAND_LINE {
            self.wrong(
                given.span(),
                "these words cannot stand on a kernel's command line".to_owned(),
                format!(
                    "write printable ASCII in one line, at most {LONGEST_COMMAND_LINE} characters"
                ),
            );
        }
        text.value
    }

    pub(super) fn slots(
        &mut self,
        slots: &BTreeMap<Spanned<String>, manifest::Slot>,
    ) -> BTreeMap<String, Slot> {
        let slot = |check: &mut Self, slot: &manifest::Slot| Slot {
            file: check.path(&slot.file),
            sha256: slot.sha256.as_ref().and_then(|given| check.digest(given)),
            from: slot.from.clone(),
        };
        let named = |check: &mut Self, name: &Spanned<String>| check.name("a slot", name).value;
        slots.iter().map(|(name, given)| (named(self, name), slot(self, given))).collect()
    }
}
