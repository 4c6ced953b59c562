//! What an image would let somebody in with: passwords and ssh keys that whoever made it knows, on every machine that boots it.
//!
//! Only what the image brought: what is in the tree already, or comes with a later step, is the recipe's own doing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::Log;
use crate::error::Error;
use crate::root::Root;

/// Where passwords are, and what there is none (passwd(5), shadow(5), gshadow(5)): that it is kept elsewhere, or for groups nothing.
const PASSWORDS: &[(&str, &[&str])] = &[
    ("etc/passwd", &["x"]),
    ("etc/shadow", &[]),
    ("etc/group", &["x", ""]),
    ("etc/gshadow", &[""]),
];

/// Where sshd looks for keys in a home, if nobody tells it otherwise (sshd_config(5), `AuthorizedKeysFile`).
const KEYS: &[&str] = &[".ssh/authorized_keys", ".ssh/authorized_keys2"];

/// Locks the passwords in `image`, which is to go into `tree`, and removes the keys of the accounts of both.
pub(super) fn close(image: &Root, tree: &Root, log: Log<'_>) -> Result<(), Error> {
    for (path, none) in PASSWORDS {
        let Some(text) = image.read_text(path)? else { continue };
        let mut names = Vec::new();
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                let Some((name, locked)) = locked(line, none) else { return line.to_owned() };
                names.push(name);
                locked
            })
            .collect();
        if !names.is_empty() {
            image.rewrite(path, (lines.join("\n") + "\n").as_bytes())?;
            log(&format!("locked in the image's /{path}: {}", names.join(", ")));
        }
    }
    for home in homes(image, tree)? {
        for path in KEYS.iter().map(|keys| home.join(keys)) {
            if image.look(&path)?.is_some() {
                image.remove(&path)?;
                log(&format!("left out: the image's /{}", path.display()));
            }
        }
    }
    Ok(())
}

/// The line of an account whose password opened something, as passwd(1) locks it, and its name.
fn locked<'a>(line: &'a str, none: &[&str]) -> Option<(&'a str, String)> {
    let (name, rest) = line.split_once(':')?;
    let password = rest.split(':').next().unwrap_or_default();
    let opens = !password.starts_with(['!', '*']) && !none.contains(&password);
    opens.then(|| (name, format!("{name}:!{rest}")))
}

/// Where somebody may be at home: also those who have a folder there and no account yet.
fn homes(image: &Root, tree: &Root) -> Result<BTreeSet<PathBuf>, Error> {
    let mut homes = BTreeSet::from([PathBuf::from("root")]);
    homes.extend(image.names("home")?.iter().map(|name| Path::new("home").join(name)));
    for root in [image, tree] {
        let passwd = root.read_text("etc/passwd")?.unwrap_or_default();
        let all = passwd.lines().filter_map(|line| line.split(':').nth(5));
        // No path has a zero in it.
        let all = all.filter(|home| !home.contains('\0'));
        homes.extend(all.map(|home| PathBuf::from(home.trim_start_matches('/'))));
    }
    Ok(homes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_opens_something_is_locked_and_no_other() {
        for (line, locked_line) in [
            ("root:$y$j9T$x:1:0:99999:7:::", Some("root:!$y$j9T$x:1:0:99999:7:::")),
            ("open::1:0:::::", Some("open:!:1:0:::::")),
            ("x:x:1", Some("x:!x:1")),
            ("cut:", Some("cut:!")),
            ("root:*:1", None),
            ("root:!$y$:1", None),
            ("", None),
            ("odd", None),
        ] {
            assert_eq!(locked(line, &[]).map(|(_, line)| line).as_deref(), locked_line, "{line}");
        }
        assert!(locked("root:x:0:0::/:", &["x"]).is_none());
        assert!(locked("root::0:0::/:", &["x"]).is_some(), "nobody is asked for one");
        assert!(locked("adm::4:", &["x", ""]).is_none());
    }
}
