//! Who we are to a registry: what the user says, or what `podman login` and `docker login` have left in their files
//! (containers-auth.json(5); docker's `config.json`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::{Address, Error};

/// The largest login file that is read.
const LARGEST: u64 = 1 << 20;

/// A name and a password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password or access token.
    pub password: String,
}

impl Login {
    /// The value of an `Authorization` header.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?}, …)", self.username)
    }
}

/// Where a login comes from.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// The files in which podman and docker keep theirs; nobody where they have none for the host.
    #[default]
    Found,
    /// One such file.
    File(PathBuf),
    /// The user has said it.
    Login(Login),
}

/// What was found for an address. Never shown.
#[derive(PartialEq, Eq)]
pub(crate) enum Known {
    Login(Login),
    /// A token that the registry's token server takes for one.
    Identity(String),
    /// Another program keeps it, which we do not ask.
    Helper(PathBuf),
    Nobody,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login(_) => "Login(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Helper(_) => "Helper(…)",
            Self::Nobody => "Nobody",
        })
    }
}

impl Credentials {
    pub(crate) fn find(&self, address: &Address) -> Result<Known, Error> {
        match self {
            Self::Login(login) => Ok(Known::Login(login.clone())),
            Self::File(file) => match read(file)? {
                Some(text) => lookup(file, &text, address),
                None => Err(Error::AuthFile {
                    path: file.clone(),
                    reason: "it is not there".to_owned(),
                }),
            },
            Self::Found => {
                let mut helper = None;
                for file in places(|name| std::env::var_os(name).map(PathBuf::from)) {
                    let Some(text) = read(&file)? else { continue };
                    match lookup(&file, &text, address)? {
                        Known::Nobody => {}
                        Known::Helper(path) => helper = Some(path),
                        found => return Ok(found),
                    }
                }
                Ok(helper.map_or(Known::Nobody, Known::Helper))
            }
        }
    }
}

/// In the order in which podman looks.
fn places(env: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(file) = env("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = env("HOME");
    let config = env("XDG_CONFIG_HOME").or_else(|| Some(home.clone()?.join(".config")));
    let docker = env("DOCKER_CONFIG").or_else(|| Some(home?.join(".docker")));
    let files = [
        env("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        config.map(|folder| folder.join("containers/auth.json")),
        docker.map(|folder| folder.join("config.json")),
    ];
    files.into_iter().flatten().collect()
}

fn read(file: &Path) -> Result<Option<String>, Error> {
    let wrong = |error: &dyn fmt::Display| Error::AuthFile {
        path: file.to_owned(),
        reason: format!("it cannot be read: {error}"),
    };
    let open = match std::fs::File::open(file) {
        Ok(open) => open,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error)),
    };
    let mut text = String::new();
    open.take(LARGEST).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    Ok(Some(text))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    creds_store: String,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

/// What the text of a login file says of an address: the most particular entry, `host/team/images` before `host/team` before
/// `host`.
fn lookup(file: &Path, text: &str, address: &Address) -> Result<Known, Error> {
    let wrong = |reason: &str| Error::AuthFile { path: file.to_owned(), reason: reason.to_owned() };
    // serde's message could quote what is secret.
    let parsed: AuthFile = serde_json::from_str(text)
        .map_err(|_| wrong("it is no login file: want JSON with \"auths\""))?;
    let full = address.name();
    let mut names: Vec<&str> = vec![&full];
    while let Some((above, _)) = names[names.len() - 1].rsplit_once('/') {
        names.push(above);
    }
    for name in names {
        let Some((_, auth)) = parsed.auths.iter().find(|(key, _)| plain(key) == name) else {
            continue;
        };
        if !auth.identitytoken.is_empty() {
            return Ok(Known::Identity(auth.identitytoken.clone()));
        }
        if !auth.auth.is_empty() {
            let decoded = STANDARD.decode(auth.auth.trim()).ok();
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let login = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (username, password) =
                login.ok_or_else(|| wrong(&format!("the login for {name} is damaged")))?;
            // Docker pads with NUL.
            let password = password.trim_end_matches('\0');
            return Ok(Known::Login(Login {
                username: username.to_owned(),
                password: password.to_owned(),
            }));
        }
        if !auth.username.is_empty() {
            return Ok(Known::Login(Login {
                username: auth.username.clone(),
                password: auth.password.clone(),
            }));
        }
    }
    let helped = parsed.cred_helpers.keys().any(|key| plain(key) == address.host);
    if helped || !parsed.creds_store.is_empty() {
        return Ok(Known::Helper(file.to_owned()));
    }
    Ok(Known::Nobody)
}

/// `https://index.docker.io/v1/` is docker's way of writing `docker.io`.
fn plain(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    if key == "index.docker.io" { "docker.io" } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str, address: &str) -> Result<Known, Error> {
        lookup(Path::new("auth.json"), text, &address.parse().unwrap())
    }

    fn login(username: &str, password: &str) -> Known {
        Known::Login(Login { username: username.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn the_most_particular_entry_counts() {
        // "host:h", "team:t", "images:i", "hub:x"
        let text = r#"{"auths": {
            "r.example": {"auth": "aG9zdDpo"}, "r.example/team": {"auth": "dGVhbTp0"},
            "https://index.docker.io/v1/": {"auth": "aHViOng="}, "t.example": {"identitytoken": "abc"},
            "p.example": {"username": "u", "password": "p"}, "bad.example": {"auth": "!"}, "empty.example": {}
        }, "credHelpers": {"h.example": "secretservice"}}"#;
        assert_eq!(look(text, "r.example/x").unwrap(), login("host", "h"));
        assert_eq!(look(text, "r.example/team/images").unwrap(), login("team", "t"));
        assert_eq!(look(text, "r.example/teams").unwrap(), login("host", "h"));
        assert_eq!(look(text, "docker.io/debian").unwrap(), login("hub", "x"));
        assert_eq!(look(text, "t.example/x").unwrap(), Known::Identity("abc".to_owned()));
        assert_eq!(look(text, "p.example/x").unwrap(), login("u", "p"));
        assert_eq!(look(text, "other.example/x").unwrap(), Known::Nobody);
        assert_eq!(look(text, "empty.example/x").unwrap(), Known::Nobody);
        assert!(matches!(look(text, "h.example/x").unwrap(), Known::Helper(_)));
        assert!(matches!(look(r#"{"credsStore": "x"}"#, "a.b/x").unwrap(), Known::Helper(_)));
        assert!(look(text, "bad.example/x").is_err());
        let error = look(r#"{"auths": "secret"}"#, "a.b/x").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("secret"));
    }

    #[test]
    fn a_password_is_not_shown() {
        let login = Login { username: "me".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{:?}", Credentials::Login(login.clone())).contains("secret"));
        let known = [Known::Login(login), Known::Identity("secret".to_owned())];
        assert!(!format!("{known:?}").contains("secret"));
    }

    #[test]
    fn podmans_places_come_first() {
        let env = |name: &str| match name {
            "HOME" => Some(PathBuf::from("/h")),
            "XDG_RUNTIME_DIR" => Some(PathBuf::from("/run/user/1")),
            _ => None,
        };
        let shown: Vec<_> = places(env).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(
            shown,
            [
                "/run/user/1/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ]
        );
        assert_eq!(places(|_| None), Vec::<PathBuf>::new());
        assert_eq!(
            places(|name| (name == "REGISTRY_AUTH_FILE").then(|| "/x".into())),
            [Path::new("/x")]
        );
    }
}
