//! What a node is in the middle of: the boot it is in, and who may log in.

use overboot_dhcp::Mac;
use overboot_wire::{Login, Window};
use serde::{Deserialize, Serialize};

use crate::{BootId, NodeId, TaskId, Timestamp, WorkflowId};

/// What a node is in the middle of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The boot it is in, if one was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootId>,
    /// The interface that it booted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Since when it is in that boot.
    #[serde(default)]
    pub boot_since: Timestamp,
    /// The kernel's name for that boot, once the node has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The kernel's name for the boot before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past_kernel: Option<String>,
    /// Whether a root system of that boot has asked for tasks.
    #[serde(default)]
    pub up: bool,
    /// The last time it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polled_at: Option<Timestamp>,
    /// Counts openings and closings of the login; never goes back.
    #[serde(default)]
    pub login_sequence: u64,
    /// The open login, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<OpenLogin>,
}

/// A login that is open until a time, and no longer than its boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenLogin {
    /// The workflow that opened it.
    pub workflow: WorkflowId,
    /// The task that did.
    pub task: TaskId,
    /// The account.
    pub user: String,
    /// crypt(3) hash of the password; none: keys only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// Lines for `authorized_keys`.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
    /// When it closes by itself.
    pub expires_at: Timestamp,
}

impl Session {
    /// Opens the login, or replaces the open one.
    pub fn open_login(&mut self, login: OpenLogin) {
        self.login_sequence += 1;
        self.login = Some(login);
    }

    /// Closes the login. Whether it was open.
    pub fn close_login(&mut self) -> bool {
        let open = self.login.take().is_some();
        if open {
            self.login_sequence += 1;
        }
        open
    }

    /// What the node is told at `now`.
    #[must_use]
    pub fn login_at(&self, now: Timestamp) -> Login {
        let window = self.login.as_ref().and_then(|login| {
            // Rounded up: what is open at all is open for a second.
            let millis = login.expires_at.since(now).as_millis();
            let seconds = u64::try_from(millis.div_ceil(1_000)).unwrap_or(u64::MAX);
            (seconds > 0).then(|| Window {
                user: login.user.clone(),
                password_hash: login.password_hash.clone(),
                authorized_keys: login.authorized_keys.clone(),
                seconds,
            })
        });
        Login { sequence: self.login_sequence, window }
    }
}

/// A session that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSession {
    /// The node.
    pub node: NodeId,
    /// What it is in the middle of.
    pub session: Session,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_login_ends_with_its_time() {
        let now = Timestamp::now();
        let mut session = Session::default();
        assert_eq!(session.login_at(now), Login { sequence: 0, window: None });
        session.open_login(OpenLogin {
            workflow: WorkflowId::new(),
            task: TaskId::new(),
            user: "monorail".into(),
            password_hash: None,
            authorized_keys: vec![],
            expires_at: now.after(Duration::from_secs(10)),
        });
        let open = session.login_at(now);
        assert_eq!((open.sequence, open.window.unwrap().seconds), (1, 10));
        assert!(session.login_at(now.after(Duration::from_secs(10))).window.is_none());
        assert!(session.close_login());
        assert!(!session.close_login());
        assert_eq!(session.login_sequence, 2);
    }
}
