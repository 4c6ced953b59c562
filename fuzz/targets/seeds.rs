//! Writes the seeds of all targets: `fuzz-seeds FOLDER` makes `FOLDER/TARGET/NUMBER`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "seeds".into()));
    for (target, _) in overboot_fuzz::TARGETS {
        fs_err::create_dir_all(folder.join(target))?;
        for (number, seed) in overboot_fuzz::seeds(target).iter().enumerate() {
            fs_err::write(folder.join(target).join(number.to_string()), seed)?;
        }
    }
    Ok(())
}
