//! A Python for Ansible's modules, for as long as they run in a tree.
//!
//! It is made of the files of Debian's packages, none of which is installed, and shown in the sandbox at a place of its own. It is
//! started by its own dynamic loader with its own libraries, since a tree may have none of them; and not by its environment,
//! which whatever a module starts would inherit, the tree's own Python among it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Log;
use crate::error::Error;
use crate::root::Root;
use crate::sandbox::Sandbox;

use super::PYTHON;

/// Where its program stands, for others than the one who starts it.
const PROGRAM: &str = "usr/lib/overboot/python3";

/// Makes such a Python out of the files of `python3` and what it depends on, which stand in `folder`.
///
/// # Errors
/// They are not the files of a Python, or it does not run.
pub fn prepare(folder: &Path, epoch: u64, log: Log<'_>) -> Result<(), Error> {
    let interpreter = folder.join("usr/bin/python3");
    let name = fs_err::read_link(&interpreter).map_err(Error::io("find", &interpreter))?;
    let own = folder.join("usr/bin").join(name.file_name().unwrap_or_default());
    let (loader, libraries) = loader(folder)?;
    let bytes = fs_err::read(folder.join(&loader)).map_err(Error::io("read", &loader))?;
    let program = folder.join(PROGRAM);
    let put = || {
        fs_err::create_dir_all(program.parent().unwrap_or(folder))?;
        fs_err::rename(&own, &program)?;
        let inside = |path: &Path| format!("/run/{PYTHON}/{}", path.display());
        let paths: Vec<String> = libraries.iter().map(|path| inside(path)).collect();
        // By that name it finds what belongs to it, and starts itself again; loaders before glibc 2.33 cannot tell it.
        let named = bytes.windows(7).any(|word| word == b"--argv0");
        let named =
            if named { format!(" --argv0 /run/{PYTHON}/usr/bin/python3") } else { String::new() };
        let script = format!(
            "#!/bin/sh\nexec {} --inhibit-cache --library-path {}{named} {} \"$@\"\n",
            inside(&loader),
            paths.join(":"),
            inside(Path::new(PROGRAM)),
        );
        fs_err::remove_file(&interpreter)?;
        fs_err::write(&interpreter, script)?;
        fs_err::set_permissions(&interpreter, PermissionsExt::from_mode(0o755))
    };
    put().map_err(Error::io("make a Python in", folder))?;
    compile(folder, &loader, &libraries, epoch, log)
}

/// The dynamic loader, and the folders of libraries: those of every suite, with and without merged `/usr`.
fn loader(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>), Error> {
    let mut found = None;
    let mut libraries = Vec::new();
    for above in ["usr/lib", "lib"] {
        let names = Root::open(folder)?.names(above)?;
        for name in names.iter().filter(|name| name.to_string_lossy().ends_with("-linux-gnu")) {
            let path = Path::new(above).join(name);
            let loaders = Root::open(folder)?.names(&path)?;
            let loader = loaders.iter().find(|name| name.to_string_lossy().starts_with("ld-linux"));
            found = found.or(loader.map(|loader| path.join(loader)));
            libraries.push(path);
        }
    }
    let missing = || std::io::Error::other("there is no dynamic loader among its files");
    let loader = found.ok_or_else(|| Error::io("make a Python in", folder)(missing()))?;
    Ok((loader, libraries))
}

/// Compiles its library once, instead of whenever a module is run. That shows as well that it runs.
fn compile(
    folder: &Path,
    loader: &Path,
    libraries: &[PathBuf],
    epoch: u64,
    log: Log<'_>,
) -> Result<(), Error> {
    let root = Root::open(folder)?;
    for mount in ["dev", "proc", "run", "tmp"] {
        root.make_folder(mount)?;
    }
    let inside = |path: &Path| format!("/{}", path.display());
    let paths: Vec<String> = libraries.iter().map(|path| inside(path)).collect();
    let program = format!("/{PROGRAM}");
    let paths = paths.join(":");
    let mut arguments = vec!["--inhibit-cache", "--library-path", &paths, &program];
    let compile = "import compileall, py_compile; compileall.compile_dir('/usr/lib', quiet=2, \
                   invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";
    arguments.extend(["-S", "-c", compile]);
    let sandbox = Sandbox::new(folder, epoch);
    sandbox.run("Python for Ansible's modules", &inside(loader), &arguments, log).map(drop)
}
