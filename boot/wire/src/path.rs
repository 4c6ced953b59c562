//! Where things are on a server: every path that node and server must agree on.

use serde::{Deserialize, Serialize};

/// Where a node posts its [`StageReport`](crate::StageReport)s.
pub const BOOT_REPORT: &str = "/api/overboot/v1/boot";
/// Where a node posts its [`OutputReport`](crate::OutputReport)s.
pub const OUTPUT: &str = "/api/overboot/v1/output";
/// Where a node asks who it is.
pub const BOOTSTRAP: &str = "/api/current/tasks/bootstrap.js";
/// Prefix of a node's task documents; its id follows.
pub const TASKS: &str = "/api/current/tasks/";
/// Where boot sets and blobs live on a boot server; a mirror has the same two folders below its own URL.
pub const BOOT: &str = "/boot";
/// How long an agent asks the server to hold a `GET` of tasks open, in seconds.
pub const LONG_POLL_SECONDS: u64 = 25;

/// Query of [`BOOTSTRAP`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapQuery {
    /// The node's MAC address.
    pub mac_address: String,
    /// The kernel's `boot_id`: tells a restarted agent from a rebooted node.
    #[serde(default)]
    pub boot: Option<String>,
}

/// Query of `GET` [`TASKS`]`<id>`. A RackHD server ignores it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TasksQuery {
    /// Seconds the server may wait for work before it answers with none; absent: answer as RackHD does.
    #[serde(default)]
    pub wait: Option<u64>,
    /// [`Login::sequence`](crate::Login) the node last acted on; the server answers at once if it has another.
    #[serde(default)]
    pub login: Option<u64>,
    /// As in [`BootstrapQuery`].
    #[serde(default)]
    pub boot: Option<String>,
}

/// Path and query of a node's first question.
#[must_use]
pub fn bootstrap(mac: &str, boot: Option<&str>) -> String {
    match boot {
        Some(boot) => format!("{BOOTSTRAP}?macAddress={mac}&boot={boot}"),
        None => format!("{BOOTSTRAP}?macAddress={mac}"),
    }
}

/// Path of a node's task document.
#[must_use]
pub fn tasks(identifier: &str) -> String {
    format!("{TASKS}{identifier}")
}

/// Path and query of a long poll.
#[must_use]
pub fn tasks_wait(identifier: &str, wait: u64, login: u64, boot: Option<&str>) -> String {
    let boot = boot.map(|b| format!("&boot={b}")).unwrap_or_default();
    format!("{TASKS}{identifier}?wait={wait}&login={login}{boot}")
}

/// Path of a boot set; `.minisig` after it is its signature.
#[must_use]
pub fn set(name: &str) -> String {
    format!("{BOOT}/sets/{name}.json")
}

/// Path and query of a boot set as the manifest of that digest (64 hex digits) has it: whatever is published meanwhile, a machine
/// goes on with the set that it began with.
#[must_use]
pub fn set_of(name: &str, manifest: &str) -> String {
    format!("{}?manifest={manifest}", set(name))
}

/// Name of the set at a URL made from [`set`] or [`set_of`]: what the set found there has to be called.
///
/// ```
/// assert_eq!(overboot_wire::path::set_name("http://h:1/boot/sets/discovery.json?x=/y"), "discovery");
/// ```
#[must_use]
pub fn set_name(set_url: &str) -> &str {
    let path = set_url.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit('/').next().unwrap_or_default();
    file.strip_suffix(".json").unwrap_or(file)
}

/// Path of a blob, by the 64 hex digits of its SHA-256.
#[must_use]
pub fn blob(hex: &str) -> String {
    format!("{BOOT}/blobs/sha256/{hex}")
}

/// URL below which the blobs of the set at `set_url` are: its folder's parent. `None` if the URL has no two folders.
///
/// ```
/// let base = overboot_wire::path::set_base("http://10.0.2.2:9090/boot/sets/discovery.json").unwrap();
/// assert_eq!(base, "http://10.0.2.2:9090/boot");
/// assert_eq!(overboot_wire::path::blob_below(base, "00ff"), "http://10.0.2.2:9090/boot/blobs/sha256/00ff");
/// ```
#[must_use]
pub fn set_base(set_url: &str) -> Option<&str> {
    let path = set_url.split(['?', '#']).next()?;
    let (folder, _file) = path.rsplit_once('/')?;
    let (base, _sets) = folder.rsplit_once('/')?;
    (base.contains("://") && !base.ends_with('/')).then_some(base)
}

/// URL of a blob below the URL of a server's `/boot` or of a mirror.
#[must_use]
pub fn blob_below(base: &str, hex: &str) -> String {
    format!("{}/blobs/sha256/{hex}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_lie_beside_the_sets() {
        assert_eq!(set_base("http://h/boot/sets/a.json?x=/y/z"), Some("http://h/boot"));
        assert_eq!(set_base(&format!("http://h:1{}", set("a"))), Some("http://h:1/boot"));
        let pinned = format!("http://h:1{}", set_of("a", "00ff"));
        assert_eq!((set_base(&pinned), set_name(&pinned)), (Some("http://h:1/boot"), "a"));
        for shallow in ["http://h/a.json", "a.json", "", "http://"] {
            assert_eq!(set_base(shallow), None, "{shallow}");
        }
        assert_eq!(blob_below("http://m/x/", "ab"), "http://m/x/blobs/sha256/ab");
        assert_eq!(format!("http://h{}", blob("ab")), blob_below("http://h/boot", "ab"));
    }

    #[test]
    fn queries_are_what_they_parse_to() {
        assert_eq!(
            tasks_wait("5acf", 25, 3, Some("b")),
            "/api/current/tasks/5acf?wait=25&login=3&boot=b"
        );
        assert_eq!(
            bootstrap("52:54:00:00:00:01", None),
            "/api/current/tasks/bootstrap.js?macAddress=52:54:00:00:00:01"
        );
        let query: TasksQuery = serde_json::from_str("{}").unwrap();
        assert_eq!(query, TasksQuery::default());
    }
}
