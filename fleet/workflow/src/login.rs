//! The login that `Graph.BootstrapUbuntu` opens: what its option may say, and that no password is kept.

use std::time::Duration;

use overboot_state::{OpenLogin, Task, Timestamp, Workflow};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha_crypt::{Algorithm, Params, PasswordHasher as _, ShaCrypt};
use uuid::Uuid;

use crate::Error;

/// Name of the option.
pub(crate) const OPTION: &str = "login";

/// The only graph that may open a node.
const GRAPH: &str = "Graph.BootstrapUbuntu";

/// The user and password that RackHD's manual names, for a login that names none.
const RACKHD: &str = "monorail";

/// How long a login stays open unless its option says otherwise: a working day.
const DEFAULT_SECONDS: u64 = 8 * 3600;

/// Nobody needs a debug login for longer than a month.
const MAX_SECONDS: u64 = 31 * 24 * 3600;

/// crypt(3)'s default. More would make sshd on a slow node (one under emulation above all) time the user out, and the
/// hash is worth nothing once the window is closed.
const ROUNDS: u32 = 5_000;

/// The option, once its password is a hash.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LoginOption {
    user: Option<String>,
    password_hash: Option<String>,
    authorized_keys: Vec<String>,
    seconds: Option<u64>,
}

/// Replaces every password of a login in `options` by its crypt(3) hash.
pub(crate) fn hash_passwords(options: &mut Map<String, Value>) -> Result<(), Error> {
    for group in options.values_mut() {
        let Some(Value::Object(login)) = group.get_mut(OPTION) else {
            continue;
        };
        let password = match login.remove("password") {
            Some(Value::String(password)) => password,
            None | Some(Value::Null) => {
                let named = |key: &str| {
                    login.get(key).is_some_and(|value| match value {
                        Value::String(text) => !text.is_empty(),
                        Value::Array(list) => !list.is_empty(),
                        _ => false,
                    })
                };
                if named("passwordHash") || named("authorizedKeys") {
                    continue;
                }
                RACKHD.to_owned()
            }
            Some(_) => {
                return Err(Error::Request {
                    reason: "the password of a login is not a string".into(),
                });
            }
        };
        login.insert("passwordHash".into(), json!(hash(&password)?));
    }
    Ok(())
}

/// A password as `$6$…` (crypt(5), SHA-512) with a salt of its own.
fn hash(password: &str) -> Result<String, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Hash { reason: error.to_string() };
    let params = Params::new(ROUNDS).map_err(|error| failed(&error))?;
    // 96 bits of chance; crypt(3) takes 16 characters.
    let salt = Uuid::new_v4();
    let hasher = ShaCrypt::new(Algorithm::Sha512Crypt, params);
    hasher
        .hash_password_with_salt(password.as_bytes(), &salt.as_bytes()[..12])
        .map(|hash| hash.to_string())
        .map_err(|error| failed(&error))
}

/// The login that this task opens now; nothing if it may open none.
///
/// # Errors
///
/// A sentence, if the option is not usable.
pub(crate) fn window(
    workflow: &Workflow,
    task: &Task,
    now: Timestamp,
) -> Result<Option<OpenLogin>, String> {
    if workflow.injectable_name != GRAPH {
        return Ok(None);
    }
    let option = match task.options.get(OPTION) {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(option) => LoginOption::deserialize(option)
            .map_err(|error| format!("the option \"login\" is not usable: {error}"))?,
    };
    let user = option.user.unwrap_or_else(|| RACKHD.to_owned());
    check(&user, option.password_hash.as_deref(), &option.authorized_keys)?;
    let seconds = option.seconds.unwrap_or(DEFAULT_SECONDS).min(MAX_SECONDS);
    Ok(Some(OpenLogin {
        workflow: workflow.instance_id.clone(),
        task: task.instance_id.clone(),
        user,
        password_hash: option.password_hash,
        authorized_keys: option.authorized_keys,
        expires_at: now.after(Duration::from_secs(seconds)),
    }))
}

/// The node writes these into its account files: nothing in them may end a field or a line.
fn check(user: &str, hash: Option<&str>, keys: &[String]) -> Result<(), String> {
    let name = user.bytes().enumerate().all(|(i, b)| {
        b.is_ascii_lowercase() || b == b'_' || (i > 0 && (b.is_ascii_digit() || b == b'-'))
    });
    if user.is_empty() || user.len() > 32 || !name {
        return Err(format!("\"{}\" cannot be a user's name", user.escape_default()));
    }
    let crypt = |hash: &str| {
        (hash.starts_with("$6$") || hash.starts_with("$y$") || hash.starts_with("$5$"))
            && hash.len() <= 512
            && hash.bytes().all(|b| b.is_ascii_graphic() && b != b':')
    };
    if hash.is_some_and(|hash| !crypt(hash)) {
        return Err("the password's hash is not one of crypt(5): $6$…, $5$… or $y$…".into());
    }
    let line = |key: &String| key.len() <= 16_384 && !key.contains(|c: char| c.is_control());
    if keys.len() > 100 || !keys.iter().all(line) {
        return Err("the authorized keys are not at most 100 lines of text".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha_crypt::PasswordVerifier as _;

    fn hashed(login: Value) -> Map<String, Value> {
        let mut options =
            Map::from_iter([("bootstrap-ubuntu".to_owned(), json!({"login": login}))]);
        hash_passwords(&mut options).unwrap();
        options["bootstrap-ubuntu"]["login"].as_object().unwrap().clone()
    }

    #[test]
    fn a_password_becomes_a_hash_that_crypt_takes() {
        let login = hashed(json!({"user": "monorail", "password": "monorail"}));
        let hash = login["passwordHash"].as_str().unwrap();
        assert!(hash.starts_with("$6$"), "{hash}");
        assert!(login.get("password").is_none());
        assert!(ShaCrypt::default().verify_password(b"monorail", hash).is_ok());
        assert!(ShaCrypt::default().verify_password(b"Monorail", hash).is_err());
        assert_ne!(hash, hashed(json!({"password": "monorail"}))["passwordHash"]);
    }

    #[test]
    fn the_c_library_agrees() {
        let login = hashed(json!({"password": "täst: $6$"}));
        let hash = login["passwordHash"].as_str().unwrap();
        let script = "print crypt($ARGV[0], $ARGV[1])";
        let perl =
            std::process::Command::new("perl").args(["-e", script, "täst: $6$", hash]).output();
        let Ok(output) = perl else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "perl is missing");
            println!("skipped: perl, whose crypt is the C library's, is not installed");
            return;
        };
        assert_eq!(String::from_utf8_lossy(&output.stdout), hash);
    }

    #[test]
    fn keys_alone_stay_alone_and_nothing_means_rackhds() {
        let keys = hashed(json!({"user": "me", "authorizedKeys": ["ssh-ed25519 AAAA me"]}));
        assert!(keys.get("passwordHash").is_none());
        let empty = hashed(json!({}));
        let hash = empty["passwordHash"].as_str().unwrap();
        assert!(ShaCrypt::default().verify_password(b"monorail", hash).is_ok());
    }

    #[test]
    fn what_would_break_an_account_file_is_refused() {
        let good = "$6$salt$hash";
        assert!(check("monorail", Some(good), &[]).is_ok());
        assert!(check("root:x", Some(good), &[]).is_err());
        assert!(check("", Some(good), &[]).is_err());
        assert!(check("-a", Some(good), &[]).is_err());
        assert!(check("a", Some("$6$a:b"), &[]).is_err());
        assert!(check("a", Some("plain"), &[]).is_err());
        assert!(check("a", None, &["one\ntwo".into()]).is_err());
    }
}
