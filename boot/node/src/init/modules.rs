//! Loading kernel modules: the few that are always needed, then whatever the hardware asks for.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use overboot_kmod::{ModuleId, ModuleOptions, Modules, Step};

use crate::Error;

/// Modules without a device that would ask for them.
const ALWAYS: [&str; 3] = ["loop", "squashfs", "overlay"];
/// Loading a driver mostly waits for its device.
const WORKERS: usize = 4;

/// Loads modules of the running kernel from the initrd.
#[derive(Debug)]
pub struct Loader {
    folder: PathBuf,
    modules: Modules<'static>,
    options: ModuleOptions,
    /// Device names seen, so that each is looked up once.
    seen: BTreeSet<String>,
    done: BTreeSet<ModuleId>,
}

/// What came of loading.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Modules loaded now.
    pub count: usize,
    /// Those that could not be, with the reason.
    pub failed: Vec<String>,
}

impl Loader {
    /// Reads the indexes below `/lib/modules/<release>`. An initrd without modules (a kernel with all built in) is no error.
    ///
    /// # Errors
    /// An index is malformed.
    pub fn open(cmdline: &str) -> Result<Self, Error> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let folder = Path::new("/lib/modules").join(release);
        // Read once and kept until the root is switched: leaked, so that they need not be owned along.
        let text = |name: &str| -> &'static str {
            let bytes = fs_err::read(folder.join(name)).unwrap_or_default();
            String::leak(String::from_utf8_lossy(&bytes).into_owned())
        };
        let modules = Modules::parse(
            text("modules.dep"),
            text("modules.alias"),
            text("modules.softdep"),
            text("modules.builtin"),
        )
        .map_err(|source| Error::ModuleIndex { path: folder.clone(), source })?;
        Ok(Self {
            folder,
            modules,
            options: ModuleOptions::parse(cmdline),
            seen: BTreeSet::new(),
            done: BTreeSet::new(),
        })
    }

    /// Loads what every boot needs.
    pub fn always(&mut self) -> Loaded {
        let wanted: Vec<ModuleId> =
            ALWAYS.iter().filter_map(|name| self.modules.by_name(name)).collect();
        self.load(&wanted)
    }

    /// Loads drivers for all devices that have appeared since the last call, and for the devices behind those.
    pub fn coldplug(&mut self) -> Loaded {
        let mut all = Loaded::default();
        // A bus driver shows new devices; buses below buses below buses are as deep as machines get.
        for _ in 0..8 {
            let mut names = BTreeSet::new();
            modaliases(Path::new("/sys/devices"), 0, &mut names);
            let new: Vec<String> =
                names.into_iter().filter(|n| self.seen.insert(n.clone())).collect();
            let wanted: Vec<ModuleId> = new
                .iter()
                .flat_map(|name| self.modules.find(name))
                .filter(|id| !self.options.is_blacklisted(self.modules.name(*id)))
                .filter(|id| !self.done.contains(id))
                .collect();
            if wanted.is_empty() {
                break;
            }
            let loaded = self.load(&wanted);
            all.count += loaded.count;
            all.failed.extend(loaded.failed);
        }
        all
    }

    fn load(&mut self, wanted: &[ModuleId]) -> Loaded {
        let plan = self.modules.plan(wanted.iter().copied());
        let steps = plan.steps();
        let todo = |step: &Step<'_>| !self.done.contains(&step.id);
        let board = Mutex::new(Board {
            state: steps
                .iter()
                .map(|s| if todo(s) { State::Waiting } else { State::Over })
                .collect(),
            loaded: Loaded::default(),
        });
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            for _ in 0..WORKERS.min(steps.len()) {
                scope.spawn(|| self.work(steps, &board, &changed));
            }
        });
        let ids: Vec<ModuleId> = steps.iter().map(|step| step.id).collect();
        self.done.extend(ids);
        board.into_inner().unwrap_or_else(PoisonError::into_inner).loaded
    }

    fn work(&self, steps: &[Step<'_>], board: &Mutex<Board>, changed: &Condvar) {
        let lock = || board.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = lock();
        loop {
            if let Some((index, step)) = now.next(steps) {
                now.state[index] = State::Running;
                drop(now);
                let result = self.insert(step);
                now = lock();
                now.state[index] = State::Over;
                match result {
                    Ok(()) => now.loaded.count += 1,
                    Err(_) if step.optional => {}
                    Err(error) => now.loaded.failed.push(crate::error::chain(&error)),
                }
                changed.notify_all();
            } else if now.state.contains(&State::Waiting) {
                now = changed.wait(now).unwrap_or_else(PoisonError::into_inner);
            } else {
                return;
            }
        }
    }

    fn insert(&self, step: &Step<'_>) -> Result<(), Error> {
        // MODULE_INIT_COMPRESSED_FILE: kernels with CONFIG_MODULE_DECOMPRESS take .ko.xz and .ko.zst as they are.
        const COMPRESSED: i32 = 4;
        let path = self.folder.join(step.path);
        let file = fs_err::File::open(&path)?;
        let flags = if path.extension().is_some_and(|e| e == "ko") { 0 } else { COMPRESSED };
        let parameters = CString::new(self.options.parameters(step.name)).unwrap_or_default();
        match rustix::system::finit_module(file.file(), &parameters, flags) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(errno) => Err(Error::system(format!("load module {}", step.name))(errno)),
        }
    }
}

/// What the workers share.
struct Board {
    state: Vec<State>,
    loaded: Loaded,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Over,
}

impl Board {
    /// A step that nothing holds up.
    fn next<'s, 'm>(&self, steps: &'s [Step<'m>]) -> Option<(usize, &'s Step<'m>)> {
        steps.iter().enumerate().find(|(index, step)| {
            self.state[*index] == State::Waiting
                && step.after.iter().all(|before| self.state[*before] == State::Over)
        })
    }
}

/// The names that devices call their drivers by: every `modalias` below `folder`. Links are not followed.
fn modaliases(folder: &Path, depth: usize, names: &mut BTreeSet<String>) {
    const DEPTH: usize = 40;
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEPTH => {
                modaliases(&entry.path(), depth + 1, names);
            }
            Ok(kind) if kind.is_file() && entry.file_name() == "modalias" => {
                if let Ok(text) = fs_err::read_to_string(entry.path()) {
                    names.extend(
                        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned),
                    );
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_found_at_any_depth_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("pci0000:00/0000:00:03.0/virtio0");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("modalias"), "virtio:d00000001v00001AF4\n").unwrap();
        std::fs::write(deep.join("../modalias"), "pci:v00001AF4d00001000\n\n").unwrap();
        std::os::unix::fs::symlink(folder.path(), deep.join("loop")).unwrap();
        let mut names = BTreeSet::new();
        modaliases(folder.path(), 0, &mut names);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(names, ["pci:v00001AF4d00001000", "virtio:d00000001v00001AF4"]);
    }

    #[test]
    fn a_step_waits_for_what_it_needs() {
        let modules = Modules::parse("a.ko: b.ko\nb.ko:\nc.ko:\n", "", "", "").unwrap();
        let plan = modules.plan(["a", "c"].map(|name| modules.by_name(name).unwrap()));
        let steps = plan.steps();
        let mut board =
            Board { state: vec![State::Waiting; steps.len()], loaded: Loaded::default() };
        let mut started = Vec::new();
        while let Some((index, step)) = board.next(steps) {
            board.state[index] = State::Running;
            started.push(step.name);
        }
        started.sort_unstable();
        assert_eq!(started, ["b", "c"]);
    }
}
