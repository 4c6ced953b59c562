//! Which program `editor` is, once the candidates of all layers are known (update-alternatives(1)).
//!
//! Each layer has the links that were right where it was made, and of links with one name only the uppermost layer's is seen: a
//! worse candidate of an upper layer would win over a better one of a lower layer, and with the best one's manual page missing.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use overboot_merge::{Alternative, Delta, LINKS};
use rustix::fs::{
    AtFlags, FileType, OFlags, ResolveFlags, readlinkat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::databases::{open, open_folder};

/// Makes the links of `name` in `root` those of the best candidate, or of the one that was chosen: by the uppermost of `layers`,
/// from the lowest, that has a say. What each changed of the candidates comes with it; nothing, where it is no overlay of ours.
pub(super) fn link(
    root: &OwnedFd,
    name: &str,
    found: &Alternative,
    layers: &[(&PathBuf, Option<&Delta>)],
) -> Result<(), Errno> {
    let there = |path: &str| open(root, inside(path), OFlags::PATH, ResolveFlags::IN_ROOT).is_ok();
    let chosen = if found.manual { chosen(name, layers) } else { None };
    for (link, target) in found.links(name, chosen.as_deref(), there) {
        let (Some(above), Some(name)) = (inside(&link).parent(), inside(&link).file_name()) else {
            continue;
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match open(root, above, flags, ResolveFlags::IN_ROOT) {
            Ok(folder) => folder,
            // An image without manual pages has no folder for them.
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(errno) => return Err(errno),
        };
        replace(&folder, name, target.as_deref())?;
    }
    Ok(())
}

/// What somebody has chosen: a layer that notes what it changed notes that, of others it is what the link says.
fn chosen(name: &str, layers: &[(&PathBuf, Option<&Delta>)]) -> Option<String> {
    let mut chosen = None;
    for (layer, delta) in layers {
        if let Some(delta) = delta {
            chosen = Alternative::chosen_by(delta).map(str::to_owned).or(chosen);
            continue;
        }
        let Ok(layer) = open_folder(layer) else { continue };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = open(&layer, Path::new(LINKS), flags, ResolveFlags::BENEATH);
        let target = folder.and_then(|folder| readlinkat(folder, name, Vec::new()));
        chosen = target.ok().and_then(|target| target.into_string().ok()).or(chosen);
    }
    chosen
}

/// Puts a link in place of another one, or takes it away; what is no link is not update-alternatives' to touch.
fn replace(folder: &OwnedFd, name: &OsStr, target: Option<&str>) -> Result<(), Errno> {
    const ASIDE: &str = ".overboot-link";
    let there = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) if FileType::from_raw_mode(there.st_mode) != FileType::Symlink => return Ok(()),
        Ok(_) => Some(readlinkat(folder, name, Vec::new())?),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno),
    };
    match (there, target) {
        (None, None) => Ok(()),
        (Some(_), None) => unlinkat(folder, name, AtFlags::empty()),
        (Some(old), Some(new)) if old.as_bytes() == new.as_bytes() => Ok(()),
        (_, Some(new)) => {
            let _absent = unlinkat(folder, ASIDE, AtFlags::empty());
            symlinkat(new, folder, ASIDE)?;
            renameat(folder, ASIDE, folder, name)
        }
    }
}

/// A path of the root from the root.
fn inside(path: &str) -> &Path {
    Path::new(OsStr::from_bytes(path.trim_start_matches('/').as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use overboot_merge::{ALTERNATIVES, Changes, Form, changes_path, difference};
    use overboot_testkit::program::run;
    use overboot_testkit::require;

    use super::super::databases::merge;

    use super::*;

    /// A base with an editor, and what overlays make of it: each with real update-alternatives, on the base alone.
    struct Editors {
        folder: tempfile::TempDir,
    }

    impl Editors {
        fn new() -> Self {
            let editors = Self::without();
            install(&editors.path("base"), "ed", -100, true);
            editors
        }

        /// A base with none.
        fn without() -> Self {
            let editors = Self { folder: tempfile::tempdir().unwrap() };
            let base = editors.path("base");
            for folder in ["etc/alternatives", "usr/bin", "usr/man", ALTERNATIVES, "var/log"] {
                std::fs::create_dir_all(base.join(folder)).unwrap();
            }
            editors
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// What changes on the base when `work` is done on it, as an overlay.
        fn overlay(&self, name: &str, work: impl Fn(&Path)) -> PathBuf {
            let (base, view, layer) =
                (self.path("base"), self.path(&format!("{name}-view")), self.path(name));
            run(Command::new("cp").arg("-a").args([&base, &view]));
            work(&view);
            let mut changes = Changes::none();
            let text = |tree: &Path| {
                let text = std::fs::read_to_string(tree.join(ALTERNATIVES).join("editor"));
                let chosen = std::fs::read_link(tree.join(LINKS).join("editor")).ok();
                let chosen = chosen.as_deref().and_then(Path::to_str);
                Alternative::with_chosen(&text.unwrap_or_default(), chosen)
            };
            let delta = difference(Form::Alternatives, &text(&base), &text(&view));
            changes.databases.insert(format!("{ALTERNATIVES}editor"), delta);
            let note = layer.join(changes_path(name));
            std::fs::create_dir_all(note.parent().unwrap()).unwrap();
            std::fs::write(note, changes.to_bytes()).unwrap();
            for path in ["usr/bin", "usr/man", "etc/alternatives"] {
                std::fs::create_dir_all(layer.join(path)).unwrap();
                for entry in std::fs::read_dir(view.join(path)).unwrap() {
                    let path = Path::new(path).join(entry.unwrap().file_name());
                    let [old, new] = [&base, &view].map(|tree| tree.join(&path));
                    let target = |path: &Path| std::fs::read_link(path).ok();
                    if !old.exists() || target(&old) != target(&new) {
                        run(Command::new("cp").arg("-a").args([new, layer.join(&path)]));
                    }
                }
            }
            layer
        }

        /// The root of these layers over the base, merged.
        fn root(&self, layers: &[&PathBuf]) -> PathBuf {
            let root = self.path("root");
            let _absent = std::fs::remove_dir_all(&root);
            std::fs::create_dir(&root).unwrap();
            let base = self.path("base");
            let layers: Vec<PathBuf> =
                std::iter::once(&base).chain(layers.iter().copied()).cloned().collect();
            for layer in &layers {
                let all = layer.join(".");
                run(Command::new("cp").args(["-a", "--remove-destination"]).arg(all).arg(&root));
            }
            let merged = merge(&layers, &root).unwrap();
            assert_eq!((merged.databases, merged.trouble), (1, Vec::new()));
            root
        }
    }

    fn alternatives(root: &Path, arguments: &[&str]) -> String {
        run(Command::new("update-alternatives")
            .arg("--root")
            .arg(root)
            .args(["--log", "/dev/null"])
            .args(arguments))
    }

    fn install(root: &Path, name: &str, priority: i32, page: bool) {
        let (program, manual) = (format!("/usr/bin/{name}"), format!("/usr/man/{name}.1"));
        std::fs::write(root.join(&program[1..]), name).unwrap();
        let priority = priority.to_string();
        let mut arguments = vec!["--install", "/usr/bin/editor", "editor", &program, &priority];
        if page {
            std::fs::write(root.join(&manual[1..]), name).unwrap();
            arguments.extend(["--slave", "/usr/man/editor.1", "editor.1", &manual]);
        }
        alternatives(root, &arguments);
    }

    /// What update-alternatives says of it: the mode, where it leads, the candidates.
    fn told(root: &Path) -> (String, String, Vec<String>) {
        let said = alternatives(root, &["--query", "editor"]);
        let value = |key: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        };
        let all = said.lines().filter_map(|line| line.strip_prefix("Alternative: "));
        (value("Status:"), value("Value:"), all.map(str::to_owned).collect())
    }

    fn page(root: &Path) -> Option<PathBuf> {
        std::fs::symlink_metadata(root.join("usr/man/editor.1")).ok()?;
        Some(std::fs::read_link(root.join("etc/alternatives/editor.1")).unwrap())
    }

    #[test]
    fn the_best_of_all_layers_is_found_whichever_is_on_top() {
        if !require::program("update-alternatives") {
            return;
        }
        let editors = Editors::new();
        let vim = editors.overlay("vim", |root| install(root, "vim", 30, true));
        let nano = editors.overlay("nano", |root| install(root, "nano", 40, false));
        let all = ["/usr/bin/ed", "/usr/bin/nano", "/usr/bin/vim"].map(str::to_owned).to_vec();
        for layers in [[&vim, &nano], [&nano, &vim]] {
            let root = editors.root(&layers);
            assert_eq!(told(&root), ("auto".to_owned(), "/usr/bin/nano".to_owned(), all.clone()));
            assert_eq!(page(&root), None, "nano has none");
            // What is taken away later leaves the second best, with what comes along.
            alternatives(&root, &["--remove", "editor", "/usr/bin/nano"]);
            assert_eq!(told(&root).1, "/usr/bin/vim");
            assert_eq!(page(&root), Some("/usr/man/vim.1".into()));
        }
    }

    /// An overlay that brings an editor and chooses it, and one that brings a better one.
    fn chosen_and_other(editors: &Editors) -> [PathBuf; 2] {
        let vim = editors.overlay("vim", |root| {
            install(root, "vim", 30, true);
            alternatives(root, &["--set", "editor", "/usr/bin/vim"]);
        });
        [vim, editors.overlay("nano", |root| install(root, "nano", 40, false))]
    }

    #[test]
    fn what_was_chosen_stays_chosen() {
        if !require::program("update-alternatives") {
            return;
        }
        // Also where no layer beneath has the name, so that another overlay brings it as well.
        for (editors, count) in [(Editors::new(), 3), (Editors::without(), 2)] {
            let [vim, nano] = chosen_and_other(&editors);
            for layers in [[&vim, &nano], [&nano, &vim]] {
                let root = editors.root(&layers);
                let (status, value, all) = told(&root);
                assert_eq!((status.as_str(), value.as_str()), ("manual", "/usr/bin/vim"));
                assert_eq!((all.len(), page(&root)), (count, Some("/usr/man/vim.1".into())));
            }
        }
    }

    #[test]
    fn of_two_choices_the_last_counts() {
        if !require::program("update-alternatives") {
            return;
        }
        let editors = Editors::new();
        let [vim, nano] = chosen_and_other(&editors);
        let back = editors.overlay("back", |root| {
            install(root, "me", 1, false);
            alternatives(root, &["--set", "editor", "/usr/bin/ed"]);
        });
        assert_eq!(told(&editors.root(&[&vim, &nano, &back])).1, "/usr/bin/ed");
        assert_eq!(told(&editors.root(&[&back, &nano, &vim])).1, "/usr/bin/vim");
    }

    #[test]
    fn a_choice_that_is_given_up_is_made_for_no_one() {
        if !require::program("update-alternatives") {
            return;
        }
        let editors = Editors::new();
        install(&editors.path("base"), "vim", 30, true);
        alternatives(&editors.path("base"), &["--set", "editor", "/usr/bin/ed"]);
        let back = editors.overlay("back", |root| {
            alternatives(root, &["--auto", "editor"]);
        });
        let (status, value, _) = told(&editors.root(&[&back]));
        assert_eq!((status.as_str(), value.as_str()), ("auto", "/usr/bin/vim"));
    }

    #[test]
    fn a_name_that_is_gone_from_all_layers_has_no_file() {
        if !require::program("update-alternatives") {
            return;
        }
        let editors = Editors::new();
        let gone = editors.overlay("gone", |root| {
            alternatives(root, &["--remove", "editor", "/usr/bin/ed"]);
        });
        let root = editors.root(&[&gone]);
        assert!(!root.join(ALTERNATIVES).join("editor").exists());
    }

    #[test]
    fn a_note_names_no_link_outside_of_its_folder_and_replaces_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for path in ["etc/alternatives", "usr/bin"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), root.join("out")).unwrap();
        for path in ["usr/bin/own", "usr/bin/vim"] {
            std::fs::write(root.join(path), "own").unwrap();
        }
        let open = open_folder(&root).unwrap();
        let text = "auto\n/usr/bin/own\n../x\n/usr/bin/x\nup\n/out/up\n\n/usr/bin/vim\n1\n\
            /usr/bin/vim\n/usr/bin/vim\n\n";
        link(&open, "own", &Alternative::parse(text), &[]).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("usr/bin/own")).unwrap(), "own");
        assert!(root.join("etc/alternatives/own").is_symlink());
        assert!(!root.join("etc/x").is_symlink() && !root.join("usr/bin/x").is_symlink());
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
