//! Names of artifacts: `base/base`, `overlay/discovery`, `set/default`.

use crate::Error;

/// The longest name: also what a registry takes as a repository and tag together.
const LONGEST: usize = 255;

/// Is `target` a reference name as the OCI image specification has it ("annotations", `ref.name`): components of
/// letters and digits with single separators within, divided by slashes?
pub(crate) fn check(target: &str) -> Result<(), Error> {
    let refused =
        |reason| Err(Error::Target { target: target.chars().take(300).collect(), reason });
    if target.len() > LONGEST {
        return refused("it is longer than 255 bytes");
    }
    for component in target.split('/') {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if !edge(component.chars().next()) || !edge(component.chars().next_back()) {
            return refused("each part between slashes must begin and end with a letter or digit");
        }
        let known =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '@' | '+');
        if !component.chars().all(known) {
            return refused("only letters, digits, and -._:@+ may be in it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for good in ["base/base", "set/default", "a", "kernel", "overlay/dell-raid", "x:1.0+b@y"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in ["", "/", "a/", "/a", "a//b", "../x", "a/..", "a b", "a/-b", "ä", &long] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
