//! The main job, shown, with the commands that a user would type: a project, its images, a machine that boots them, the two
//! calls of RackHD's manual, a login, and a table of what came of it.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What one machine may take; emulated, on a busy computer.
const PATIENCE: Duration = Duration::from_secs(420);

pub(crate) fn run() -> Result<()> {
    let overboot = program()?;
    let folder = tempfile::Builder::new().prefix("overboot-demo-").tempdir()?;
    let project = folder.path().join("my-images");

    title("A project: a recipe that builds as it is");
    println!("$ overboot init my-images && cd my-images");
    run_in(folder.path(), Command::new(&overboot).args(["init", "my-images"]), |line| {
        println!("{line}");
    })?;
    title("Its images: kernel, initrd, modules, base, overlay, signed boot sets");
    println!("$ overboot build");
    let begun = Instant::now();
    let mut images = Vec::new();
    run_in(&project, Command::new(&overboot).arg("build"), |line| {
        println!("{line}");
        images.extend(Image::of(line));
    })?;
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
    table(&images, building, &stages, &catalogs);
    Ok(())
}

/// An image, as `overboot build` tells of it.
struct Image {
    target: String,
    seconds: String,
    size: String,
}

impl Image {
    /// Reads `  kernel     done in 2.7 s   12.1 MB`.
    fn of(line: &str) -> Option<Self> {
        let (target, rest) = line.split_once(" done in ")?;
        let (seconds, size) = rest.split_once(" s ")?;
        let [target, seconds, size] = [target, seconds, size].map(|text| text.trim().to_owned());
        Some(Self { target, seconds, size })
    }
}

/// The machine of `overboot try --keep`. Ends with this value.
struct Machine {
    child: Child,
    server: String,
    mac: String,
    ssh: u64,
    node: String,
    stages: Vec<(f64, String, String)>,
}

impl Machine {
    fn start(overboot: &Path, project: &Path) -> Result<Self> {
        let mut command = Command::new(overboot);
        command.current_dir(project);
        command.args(["try", "discovery", "--keep", "--no-console", "--json"]);
        println!("$ overboot try discovery --keep");
        let mut child = command.stdout(Stdio::piped()).spawn().context("overboot try")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut machine = Self {
            child,
            server: String::new(),
            mac: String::new(),
            ssh: 0,
            node: String::new(),
            stages: Vec::new(),
        };
        machine.watch(&mut lines)?;
        // What it tells from now on nobody needs; but a full pipe would halt it.
        std::thread::spawn(move || lines.for_each(drop));
        let lookups =
            curl(&[&format!("{}/api/current/lookups?q={}", machine.server, machine.mac)])?;
        machine.node = lookups[0]["node"].as_str().context("the machine is no node")?.to_owned();
        Ok(machine)
    }

    /// Follows the machine until it is kept up.
    fn watch(&mut self, lines: &mut Lines<BufReader<ChildStdout>>) -> Result<()> {
        for line in lines {
            let event: Value = serde_json::from_str(&line?).unwrap_or_default();
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            match event["event"].as_str() {
                Some("stage") => {
                    let stage =
                        (event["seconds"].as_f64().unwrap_or(0.0), text("stage"), text("detail"));
                    println!("  {:6.1} s  {:10} {}", stage.0, stage.1, stage.2);
                    self.stages.push(stage);
                }
                Some("ended") if event["passed"] != true => {
                    bail!("the machine did not come up: {}", text("reason"));
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

/// Runs a command to its end; each line that it prints is told.
fn run_in(folder: &Path, command: &mut Command, mut told: impl FnMut(&str)) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (read, write) = std::io::pipe()?;
    let mut child = command
        .current_dir(folder)
        .stdout(write.try_clone()?)
        .stderr(write)
        .spawn()
        .with_context(|| name.clone())?;
    // Our ends of the pipe are in the command: with them open there would be no end to read.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(read).lines() {
        told(&line?);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// A command line that can be typed as it is shown.
fn typed(program: &str, words: &[&str]) -> String {
    let plain =
        |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c));
    let word = |word: &&str| if plain(word) { (*word).to_owned() } else { format!("'{word}'") };
    [program.to_owned()].into_iter().chain(words.iter().map(word)).collect::<Vec<_>>().join(" ")
}

fn curl(arguments: &[&str]) -> Result<Value> {
    println!("$ {}", typed("curl", arguments));
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
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let now = now
                    .map(|task| format!("{}: {}", text(&task["label"]), text(&task["reason"])))
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

fn table(images: &[Image], building: Duration, stages: &[(f64, String, String)], catalogs: &Value) {
    title("What came of it");
    let built = building.as_secs_f64();
    println!("  images, built in {built:.0} s, two at a time, packages fetched included");
    for Image { target, seconds, size } in images {
        println!("    {target:24} {size:>9}   {seconds:>6} s");
    }
    println!("  boot, from power on");
    for (seconds, stage, detail) in stages.iter().filter(|(_, stage, _)| stage != "task") {
        println!("    {stage:24} {seconds:7.1} s   {detail}");
    }
    println!("  what discovery found");
    for catalog in catalogs.as_array().into_iter().flatten() {
        let source = catalog["source"].as_str().unwrap_or_default();
        let bytes = catalog["data"].to_string().len();
        println!("    {source:24} {bytes:7} B   {}", glimpse(source, &catalog["data"]));
    }
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
