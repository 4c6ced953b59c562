//! What all who speak to registries have in common: where a registry is, and who we are to it.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use overboot_registry::{Address, Credentials, Login, Options};

use crate::Global;
use crate::told::told;

/// The longest password: far above those of registries, whose tokens have some thousand bytes.
const LONGEST_PASSWORD: u64 = 64 << 10;

/// How to reach a registry.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The registry")]
pub(crate) struct RegistryArgs {
    /// Log in as NAME; otherwise as podman or docker would, after their `login`
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password or token from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Take the login from this file (containers-auth.json, docker's config.json)
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    auth_file: Option<PathBuf>,
    /// Believe the authority whose certificate is in this file as well as those of the system
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Speak without TLS; only a registry of this machine may do so unasked
    #[arg(long)]
    plain_http: bool,
}

impl RegistryArgs {
    /// For those who cannot do without a registry.
    pub(crate) fn online(&self, global: &Global) -> Result<Options> {
        if global.offline {
            return Err(told("a registry needs the network", "leave out --offline"));
        }
        self.options()
    }

    pub(crate) fn options(&self) -> Result<Options> {
        let credentials = match (&self.username, &self.auth_file) {
            (Some(username), _) => {
                let (username, password) = (username.clone(), password()?);
                Credentials::Login(Login { username, password })
            }
            (None, Some(file)) => Credentials::File(file.clone()),
            (None, None) => Credentials::Found,
        };
        Ok(Options {
            credentials,
            ca: self.ca.clone(),
            plain_http: self.plain_http,
            ..Options::default()
        })
    }
}

/// The password without the end of its line.
fn password() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST_PASSWORD).read_to_string(&mut text);
    read.context("cannot read the password from standard input")?;
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(told(
            "standard input has no password",
            "write it there: `… --password-stdin <FILE`",
        ));
    }
    Ok(password.to_owned())
}

/// A repository and what its tags begin with.
pub(crate) fn repository(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|error| {
        let error = overboot_registry::Error::Address(error);
        let hint = error.hint().unwrap_or_default();
        format!("{error}. {hint}")
    })?;
    if address.digest.is_some() {
        return Err(
            "a repository is meant as a whole: leave out the @ and what follows it".to_owned()
        );
    }
    Ok(address)
}
