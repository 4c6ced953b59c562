//! The one program of a node. What it is, its name and first argument say: `/init`, or `overboot-node agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let role = arguments.next().unwrap_or_default();
    let first = std::process::id() == 1;
    match (role.to_str(), std::path::Path::new(&name).file_name()) {
        (Some("agent"), _) => overboot_node::agent::run(),
        (Some("worker"), _) => return ExitCode::from(overboot_node::agent::work()),
        (Some("solo"), _) if first => overboot_node::agent::solo::run(),
        (_, Some(name)) if name == "init" && first => overboot_node::init::run(),
        _ => {
            let text = concat!(
                "overboot-node ",
                env!("CARGO_PKG_VERSION"),
                ": runs as /init of an overboot initrd, and as the agent of a node\n"
            );
            // Nowhere else to say it.
            let _lost = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
