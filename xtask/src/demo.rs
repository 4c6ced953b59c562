//! The main job, shown, with the commands that a user would type: a project, its images, a machine that boots them, the two
//! calls of RackHD's manual, a login, and a table of what came of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What one machine may take; emulated, on a busy computer.
const PATIENCE: Duration = Duration::from_secs(420);

pub(crate) fn run() -> Result<()> {
    let overboot = program()?;
    let folder = tempfile::Builder::new().prefix("overboot-demo-").tempdir()?;
    let project = folder.path().join("my-images");
    let cache = std::env::var_os("OVERBOOT_CACHE")
        .map_or_else(|| folder.path().join("cache"), PathBuf::from);

    title("A project: a recipe that builds as it is");
    show(Command::new(&overboot).arg("init").arg(&project))?;
    title("Its images: kernel, initrd, modules, base, overlay, signed boot sets");
    let begun = Instant::now();
    show(
        Command::new(&overboot).arg("-C").arg(&project).arg("build").env("OVERBOOT_CACHE", &cache),
    )?;
    let building = begun.elapsed();

    title("A machine: iPXE, kernel, init, agent; it discovers itself");
    let mut machine = Machine::start(&overboot, &project)?;
    let server = machine.server.clone();
    let api = format!("{server}/api/current");

    title("The two calls of the manual");
    let url = format!("{api}/nodes/{}/workflows?name=Graph.BootstrapUbuntu", machine.mac);
    let workflow = curl(&["-X", "POST", "-H", "Content-Type: application/json", &url])?;
    let id = workflow["instanceId"].as_str().context("the workflow has no instanceId")?.to_owned();
    wait(&format!("{api}/workflows/{id}"), &mut machine)?;
    let lookups = curl(&[&format!("{api}/lookups?q={}", machine.mac)])?;
    let address = lookups[0]["ipAddress"].as_str().context("the node has no address")?.to_owned();
    println!("  its address is {address}; from here it is port {} of localhost", machine.ssh);

    title("A login, which that workflow has opened");
    let said = ssh(machine.ssh, "hostname; id -un; sudo id -un; uname -r", &mut machine)?;
    println!("{}", said.lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end());

    title("A command, through the API; another workflow has the node now, and the login is closed");
    let url = format!("{api}/nodes/{}/workflows?name=Graph.ShellCommands", machine.mac);
    let body = r#"{"options": {"shell-commands": {"commands": [{"command": "sudo lshw -short -class system"}]}}}"#;
    let workflow = curl(&["-X", "POST", "-H", "Content-Type: application/json", "-d", body, &url])?;
    let id = workflow["instanceId"].as_str().context("the workflow has no instanceId")?.to_owned();
    let begun = Instant::now();
    while try_ssh(machine.ssh, "true")?.is_some() {
        // The node is told at once; a login that was on its way may still come through.
        if begun.elapsed() > Duration::from_secs(15) {
            bail!("the node still lets `monorail` in");
        }
    }
    println!("  ssh: refused");
    wait(&format!("{api}/workflows/{id}"), &mut machine)?;

    let catalogs = curl(&[&format!("{api}/nodes/{}/catalogs", machine.node)])?;
    let stages = machine.stages.clone();
    drop(machine);
    table(&overboot, &project, building, &stages, &catalogs)
}

/// The machine of `overboot try --keep`. Ends with this value.
struct Machine {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    server: String,
    mac: String,
    ssh: u64,
    node: String,
    stages: Vec<(f64, String, String)>,
}

impl Machine {
    fn start(overboot: &Path, project: &Path) -> Result<Self> {
        let mut command = Command::new(overboot);
        command.arg("-C").arg(project).args([
            "try",
            "discovery",
            "--keep",
            "--no-console",
            "--json",
        ]);
        println!("$ overboot try discovery --keep");
        let mut child = command.stdout(Stdio::piped()).spawn().context("overboot try")?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut machine = Self {
            child,
            lines,
            server: String::new(),
            mac: String::new(),
            ssh: 0,
            node: String::new(),
            stages: Vec::new(),
        };
        machine.watch()?;
        let lookups =
            curl(&[&format!("{}/api/current/lookups?q={}", machine.server, machine.mac)])?;
        machine.node = lookups[0]["node"].as_str().context("the machine is no node")?.to_owned();
        Ok(machine)
    }

    /// Follows the machine until it is kept up.
    fn watch(&mut self) -> Result<()> {
        for line in self.lines.by_ref() {
            let event: Value = serde_json::from_str(&line?).unwrap_or_default();
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            match event["event"].as_str() {
                Some("stage") => {
                    let stage =
                        (event["seconds"].as_f64().unwrap_or(0.0), text("stage"), text("detail"));
                    println!("  {:6.1} s  {:10} {}", stage.0, stage.1, stage.2);
                    self.stages.push(stage);
                }
                Some("kept") => {
                    self.server = text("server");
                    self.mac = text("macAddress");
                    self.ssh = event["sshPort"].as_u64().context("no port for ssh")?;
                    return Ok(());
                }
                _ => {}
            }
        }
        bail!("the machine did not come up: {}", self.child.wait()?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Ctrl-C, as a person would: `try` then takes its machine and its server down.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("overboot");
    if !program.exists() {
        bail!("{} is not built: run `make demo`", program.display());
    }
    Ok(program)
}

fn title(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m");
}

fn show(command: &mut Command) -> Result<()> {
    let words: Vec<_> =
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    println!("$ overboot {}", words.join(" "));
    let status = command.status().context("overboot")?;
    if !status.success() {
        bail!("overboot {} ended with {status}", words.join(" "));
    }
    Ok(())
}

fn curl(arguments: &[&str]) -> Result<Value> {
    println!("$ curl {}", arguments.join(" "));
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body", "--noproxy", "*"])
        .args(arguments)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("curl: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
}

/// Waits for a workflow to succeed.
fn wait(url: &str, machine: &mut Machine) -> Result<()> {
    let begun = Instant::now();
    let mut reason = String::new();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = machine.child.try_wait()? {
            bail!("the machine is gone: {status}");
        }
        let output = Command::new("curl").args(["-sS", "--noproxy", "*", url]).output()?;
        let workflow: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        match workflow["status"].as_str() {
            Some("succeeded") => {
                println!("  succeeded after {:.0} s", begun.elapsed().as_secs_f64());
                return Ok(());
            }
            Some("running" | "pending") => {
                let tasks = workflow["tasks"].as_array().cloned().unwrap_or_default();
                let now = tasks.iter().find(|task| task["state"] == "pending");
                let now = now
                    .map(|task| format!("{}: {}", task["label"], task["reason"]))
                    .unwrap_or_default();
                if now != reason {
                    println!("  {:4.0} s  {now}", begun.elapsed().as_secs_f64());
                    reason = now;
                }
            }
            _ => bail!("the workflow has failed: {workflow:#}"),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    bail!("the workflow did not end within {} s: {reason}", PATIENCE.as_secs())
}

/// Runs a command by ssh as `monorail`; nothing where the node does not let us in.
fn try_ssh(port: u64, command: &str) -> Result<Option<String>> {
    let options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "ConnectTimeout=10",
        "NumberOfPasswordPrompts=1",
    ];
    let mut ssh = Command::new("sshpass");
    ssh.args(["-p", "monorail", "ssh", "-p", &port.to_string()]);
    ssh.args(options.iter().flat_map(|option| ["-o", option]))
        .args(["monorail@127.0.0.1", command]);
    let output = ssh.stderr(Stdio::null()).output().context("sshpass")?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn ssh(port: u64, command: &str, machine: &mut Machine) -> Result<String> {
    println!("$ ssh -p {port} monorail@127.0.0.1 '{command}'        (password: monorail)");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && machine.child.try_wait()?.is_none() {
        if let Some(said) = try_ssh(port, command)? {
            return Ok(said);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    bail!("the node does not let `monorail` in")
}

fn table(
    overboot: &Path,
    project: &Path,
    building: Duration,
    stages: &[(f64, String, String)],
    catalogs: &Value,
) -> Result<()> {
    title("What came of it");
    println!("  images (built in {:.0} s, packages fetched included)", building.as_secs_f64());
    let output =
        Command::new(overboot).arg("-C").arg(project).args(["build", "--json"]).output()?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        if event["event"] == "unchanged" {
            let size = event["size"].as_f64().unwrap_or(0.0) / 1e6;
            println!("    {:24} {size:6.1} MB", event["target"].as_str().unwrap_or_default());
        }
    }
    println!("  boot");
    for (seconds, stage, detail) in stages.iter().filter(|(_, stage, _)| stage != "task") {
        println!("    {stage:24} {seconds:6.1} s  {detail}");
    }
    println!("  catalogs");
    for catalog in catalogs.as_array().into_iter().flatten() {
        let source = catalog["source"].as_str().unwrap_or_default();
        let bytes = catalog["data"].to_string().len();
        println!("    {source:24} {bytes:6} B   {}", glimpse(source, &catalog["data"]));
    }
    Ok(())
}

/// One fact of a catalog that a person recognises.
fn glimpse(source: &str, data: &Value) -> String {
    let found = match source {
        "dmi" => data.pointer("/System Information/Product Name"),
        "lshw" => data.pointer("/description"),
        "lsscsi" => data.pointer("/0/devicePath"),
        "ip" => data.pointer("/if_list/0"),
        _ => None,
    };
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => match data {
            Value::Array(all) => format!("{} entries", all.len()),
            Value::Object(all) => format!("{} keys", all.len()),
            _ => String::new(),
        },
    }
}
