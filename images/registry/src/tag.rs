//! Targets as tags. Pure.
//!
//! A target is one of a few kinds, or a kind and a name: `kernel`, `base/base`, `overlay/dell-raid`. In a tag a hyphen stands for
//! the slash: `kernel`, `base-base`, `overlay-dell-raid`; no kind has one, so that the first is the slash. A prefix keeps several
//! projects, or versions of one, apart in one repository: `v1-base-base`. It may not begin as a target does, so that a tag has one
//! meaning: `base-kernel` is the base `kernel`, and not the kernel with the prefix `base`.

use overboot_oci::address::{LONGEST_TAG, is_tag};

use crate::Error;

/// Kinds that are targets by themselves.
const ALONE: [&str; 2] = ["kernel", "ipxe"];
/// Kinds of targets that have names.
const NAMED: [&str; 6] = ["modules", "initrd", "firmware", "base", "overlay", "set"];

/// The tag of a target.
///
/// # Errors
/// [`Error::Tag`]: it is none of the kinds, has characters that tags do not have, or is too long.
pub fn of_target(target: &str, prefix: Option<&str>) -> Result<String, Error> {
    let refused = |target: &str, reason| {
        Err(Error::Tag { target: target.chars().take(300).collect(), reason })
    };
    if let Some(prefix) = prefix.filter(|prefix| begins_as_target(prefix)) {
        let reason = "a prefix must not begin as a target does (kernel, ipxe, modules, initrd, firmware, base, overlay, set)";
        return refused(prefix, reason);
    }
    let known = match target.split_once('/') {
        None => ALONE.contains(&target),
        Some((kind, name)) => NAMED.contains(&kind) && !name.is_empty() && !name.contains('/'),
    };
    if !known {
        return refused(
            target,
            "only kernel, ipxe, modules/NAME, initrd/NAME, firmware/NAME, base/NAME, overlay/NAME and set/NAME have tags",
        );
    }
    let plain = target.replacen('/', "-", 1);
    let tag = prefix.map_or_else(|| plain.clone(), |prefix| format!("{prefix}-{plain}"));
    if tag.len() > LONGEST_TAG {
        return refused(&tag, "it is longer than the 128 characters of a tag");
    }
    if !is_tag(&tag) {
        return refused(target, "a tag has only letters, digits, '_', '.' and '-'");
    }
    Ok(tag)
}

/// The target that a tag means; nothing where it means none, or has another prefix.
#[must_use]
pub fn target_of(tag: &str, prefix: Option<&str>) -> Option<String> {
    let plain = match prefix {
        None => tag,
        Some(prefix) => tag.strip_prefix(prefix)?.strip_prefix('-')?,
    };
    if ALONE.contains(&plain) {
        return Some(plain.to_owned());
    }
    let (kind, name) = plain.split_once('-')?;
    (NAMED.contains(&kind) && !name.is_empty()).then(|| format!("{kind}/{name}"))
}

/// Up to its first hyphen: behind it, a tag without a prefix has the name.
fn begins_as_target(prefix: &str) -> bool {
    let first = prefix.split('-').next().unwrap_or_default();
    ALONE.contains(&first) || NAMED.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_targets_are_one_to_one() {
        let targets = [
            "kernel",
            "ipxe",
            "base/base",
            "base/kernel",
            "overlay/dell-raid",
            "set/a.b_c-d",
            "initrd/0",
            "firmware/default",
            "modules/set-x",
        ];
        for prefix in [None, Some("v1"), Some("team_x.1-2"), Some("my-base-x")] {
            let mut tags = std::collections::BTreeSet::new();
            for target in targets {
                let tag = of_target(target, prefix).unwrap();
                assert_eq!(target_of(&tag, prefix).as_deref(), Some(target), "{tag}");
                if prefix.is_some() {
                    assert_eq!(
                        target_of(&tag, None),
                        None,
                        "{tag} is not taken for one without a prefix"
                    );
                }
                tags.insert(tag);
            }
            assert_eq!(tags.len(), targets.len());
        }
        assert_eq!(of_target("base/base", None).unwrap(), "base-base");
        assert_eq!(of_target("kernel", Some("v1")).unwrap(), "v1-kernel");
    }

    #[test]
    fn what_would_have_two_meanings_is_refused() {
        for target in [
            "",
            "base",
            "base/",
            "vmlinuz",
            "base/a/b",
            "base/ä",
            "base/a:b",
            "kernel/x",
            &format!("base/{}", "a".repeat(128)),
        ] {
            assert!(of_target(target, None).is_err(), "{target}");
        }
        for prefix in
            ["base", "base-x", "kernel", "kernel-1", "set-default", "-x", ".x", "a b", "overlay"]
        {
            assert!(of_target("kernel", Some(prefix)).is_err(), "{prefix}");
        }
        for tag in ["latest", "v1-latest", "base", "base-", "kernel-", "v1", "-kernel"] {
            assert_eq!(target_of(tag, None), None, "{tag}");
        }
    }
}
