//! `/etc/passwd` and `/etc/shadow` as text (passwd(5), shadow(5)): the few changes that a login needs. Pure.

/// A user name that is safe in every file it ends up in (the rule of Debian's `adduser`).
#[must_use]
pub fn is_user(name: &str) -> bool {
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(rest)
}

/// A crypt(3) hash of a kind that is hard to guess from, and nothing else.
#[must_use]
pub fn is_hash(hash: &str) -> bool {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'$' | b'.' | b'/' | b'=' | b',' | b'-');
    let kind =
        ["$6$", "$y$", "$5$", "$2b$", "$gy$", "$7$"].iter().any(|kind| hash.starts_with(kind));
    kind && (10..=512).contains(&hash.len()) && hash.bytes().all(plain)
}

/// A line for `authorized_keys`: printable, one line, no longer than any key.
#[must_use]
pub fn is_key(line: &str) -> bool {
    (1..=16_384).contains(&line.len()) && !line.chars().any(char::is_control)
}

/// What stands in a password field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password<'a> {
    /// This hash.
    Hash(&'a str),
    /// No password fits, but keys may.
    None,
    /// The account is locked: sshd(8) refuses keys too.
    Locked,
}

/// `/etc/shadow` with another password for `user`, who is added if missing.
#[must_use]
pub fn with_password(shadow: &str, user: &str, password: Password<'_>) -> String {
    let field = match password {
        Password::Hash(hash) => hash,
        Password::None => "*",
        Password::Locked => "!",
    };
    let mut found = false;
    let mut text = String::with_capacity(shadow.len() + 200);
    for line in shadow.lines() {
        match line.split_once(':') {
            Some((name, rest)) if name == user => {
                found = true;
                let rest = rest.split_once(':').map_or("20000:0:99999:7:::", |(_, rest)| rest);
                text.push_str(&format!("{user}:{field}:{rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    if !found {
        text.push_str(&format!("{user}:{field}:20000:0:99999:7:::\n"));
    }
    text
}

/// The user id of `user` in `/etc/passwd`.
#[must_use]
pub fn uid(passwd: &str, user: &str) -> Option<u32> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHADOW: &str = "root:*:19000:0:99999:7:::\nmonorail:!:19000:0:99999:7:::\nshort\n";

    #[test]
    fn one_field_changes_and_nothing_else() {
        assert_eq!(
            with_password(SHADOW, "monorail", Password::Hash("$6$a$b")),
            "root:*:19000:0:99999:7:::\nmonorail:$6$a$b:19000:0:99999:7:::\nshort\n"
        );
        assert_eq!(with_password(SHADOW, "monorail", Password::Locked), SHADOW);
        assert!(
            with_password(SHADOW, "new", Password::None).ends_with("new:*:20000:0:99999:7:::\n")
        );
        assert!(with_password("x:a", "x", Password::None).starts_with("x:*:20000:"));
    }

    #[test]
    fn what_would_break_the_files_is_refused() {
        assert!(is_user("monorail") && is_user("_x-1"));
        for bad in ["", "Root", "a:b", "a\nb", "-x", "1x", &"a".repeat(33)] {
            assert!(!is_user(bad), "{bad}");
        }
        assert!(is_hash("$6$rounds=5000$salt$abc./XYZ") && is_hash("$y$j9T$abc$defghi"));
        for bad in ["", "plain", "$1$md5$abcdefgh", "$6$a:b:c:d:e", "$6$a\nroot::0"] {
            assert!(!is_hash(bad), "{bad}");
        }
        assert!(is_key("ssh-ed25519 AAAA me@here") && !is_key("a\nb") && !is_key(""));
    }

    #[test]
    fn user_ids_are_found() {
        let passwd = "root:x:0:0::/root:/bin/sh\nmonorail:x:998:998::/home/m:/bin/bash\n";
        assert_eq!((uid(passwd, "monorail"), uid(passwd, "mono")), (Some(998), None));
    }
}
