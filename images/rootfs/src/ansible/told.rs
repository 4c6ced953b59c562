//! What `told.py` tells of a run.

use std::path::Path;

use serde::Deserialize;

use crate::error::Error;

/// Modules that cannot do their work without a network, or often cannot.
const OF_THE_NETWORK: [&str; 9] = [
    "apt",
    "apt_key",
    "apt_repository",
    "deb822_repository",
    "get_url",
    "git",
    "pip",
    "unarchive",
    "uri",
];

/// How Ansible says that it does not find a file of the project, in small letters: of modules that copy, of lookups, of roles and
/// included files.
const NOT_FOUND: [&str; 6] = [
    "could not find or access",
    "could not locate file",
    "unable to find '",
    "was not found in ",
    "unable to retrieve file contents",
    "could not find specified file",
];

/// What came of a run.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Told {
    /// Was any play for the tree?
    pub(super) reached: bool,
    /// The last task that failed.
    pub(super) failed: Option<Failed>,
}

/// A task that failed.
#[derive(Debug, Deserialize)]
pub(super) struct Failed {
    task: String,
    action: String,
    place: String,
    message: String,
}

/// Reads the file; nothing was told where it is not there, or is not what `told.py` writes.
pub(super) fn read(path: &Path) -> Told {
    let bytes = fs_err::read(path).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

impl Failed {
    /// As an error; places are told from the folder `project` on.
    pub(super) fn error(self, project: &Path, network: bool) -> Error {
        let module = self.action.rsplit('.').next().unwrap_or_default();
        let help = remedy(module, &self.message, network);
        let prefix = format!("{}/", project.display());
        Error::Task {
            place: self.place.replace(&prefix, ""),
            task: self.task,
            message: self.message.replace(&prefix, ""),
            help,
        }
    }
}

/// What to do about a failure of that module, where that is known.
pub(super) fn remedy(module: &str, message: &str, network: bool) -> &'static str {
    let message = message.to_lowercase();
    if NOT_FOUND.iter().any(|words| message.contains(words)) {
        "\n  help: of the project Ansible sees the role, or what is beside the playbook, and what `vars` and `reads` name: put what it needs into `reads`"
    } else if !network && OF_THE_NETWORK.contains(&module) {
        "\n  help: a step has no network unless it says `network = true`; packages that a `packages` step before it names are there already"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_its_place_and_its_remedy() {
        let text = r#"{"reached": false, "failed": {"task": "raid : tools", "action": "ansible.builtin.apt",
            "place": "/scratch/project/roles/raid/tasks/main.yml:3", "message": "No package matching\nx"}}"#;
        let told: Told = serde_json::from_str(text).unwrap();
        let said = told.failed.unwrap().error(Path::new("/scratch/project"), false).to_string();
        assert!(said.starts_with("roles/raid/tasks/main.yml:3: the task \"raid : tools\" failed"));
        assert!(said.contains("    x\n  help: a step has no network"), "{said}");
        let said = remedy("copy", "Could not find or access 'motd'\nSearched in:", false);
        assert!(said.contains("`reads`") && remedy("copy", "disk full", false).is_empty());
        assert!(read(Path::new("/nothing")).failed.is_none());
    }
}
