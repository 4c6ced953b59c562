//! The two calls of RackHD's manual, word for word, on a machine that `overboot try` has booted: a login is opened, and closed
//! when another workflow takes the node; a command runs through the API.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use overboot_testkit::vm::QEMU;
use overboot_testkit::{deadline, images, overboot, require};
use serde_json::Value;

/// Two boots, emulated, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(420);

/// A machine that `overboot try --keep` keeps up.
struct Machine {
    program: Child,
    lines: Lines<BufReader<ChildStdout>>,
    server: String,
    mac: String,
    ssh: u64,
}

impl Machine {
    fn start() -> Self {
        let mut command = Command::new(overboot());
        command.arg("-C").arg(images::project());
        command.args(["try", "discovery", "--keep", "--no-console", "--json"]);
        let mut program = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let (server, mac, ssh) = (String::new(), String::new(), 0);
        let mut machine = Self { program, lines, server, mac, ssh };
        let mut seen = Vec::new();
        let kept = machine.lines.by_ref().map(|line| line.unwrap()).find_map(|line| {
            let event: Value = serde_json::from_str(&line).unwrap();
            seen.push(line);
            (event["event"] == "kept").then_some(event)
        });
        let kept = kept.unwrap_or_else(|| panic!("not kept up:\n{}", seen.join("\n")));
        for stage in ["script", "kernel", "init", "dhcp", "set", "download", "root", "agent"] {
            let wanted = format!("\"stage\":\"{stage}\"");
            assert!(
                seen.iter().any(|line| line.contains(&wanted)),
                "no {stage}:\n{}",
                seen.join("\n")
            );
        }
        machine.server = kept["server"].as_str().unwrap().to_owned();
        machine.mac = kept["macAddress"].as_str().unwrap().to_owned();
        machine.ssh = kept["sshPort"].as_u64().unwrap();
        machine
    }

    /// The API, by curl, as the manual has it.
    fn curl(&self, path: &str, arguments: &[&str]) -> Value {
        let url = format!("{}/api/current/{path}", self.server);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "--noproxy", "*"]).args(arguments).arg(url);
        let Output { status, stdout, stderr } = curl.output().unwrap();
        let said =
            String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{path}: {said}");
        serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{path}: {error}: {said}"))
    }

    fn run_graph(&self, name: &str, arguments: &[&str]) -> String {
        let json = ["-X", "POST", "-H", "Content-Type: application/json"];
        let path = format!("nodes/{}/workflows?name={name}", self.mac);
        let workflow = self.curl(&path, &[&json, arguments].concat());
        workflow["instanceId"].as_str().unwrap().to_owned()
    }

    fn wait_for(&self, workflow: &str) -> Value {
        deadline::get("the workflow has ended", WITHIN, || {
            let workflow = self.curl(&format!("workflows/{workflow}"), &[]);
            match workflow["status"].as_str().unwrap() {
                "pending" | "running" => None,
                "succeeded" => Some(workflow),
                _ => panic!("{workflow:#}"),
            }
        })
    }

    /// Runs a command by ssh as `monorail`; nothing where the node does not let us in.
    fn ssh(&self, password: &str, command: &str) -> Option<String> {
        let options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=10",
            "NumberOfPasswordPrompts=1",
            "PubkeyAuthentication=no",
        ];
        let mut ssh = Command::new("sshpass");
        ssh.args(["-p", password, "ssh", "-p", &self.ssh.to_string()]);
        ssh.args(options.iter().flat_map(|option| ["-o", option]));
        ssh.args(["monorail@127.0.0.1", command]);
        let output = ssh.stdin(Stdio::null()).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // As a person would end it: `try` takes its machine and its server down with it.
        let id = self.program.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let ended = self.program.wait();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

#[test]
fn a_node_is_opened_by_bootstrap_ubuntu_and_closed_by_the_next_workflow() {
    if !require::programs(&["curl", "sshpass", "ssh", QEMU]) {
        return;
    }
    let machine = Machine::start();
    assert_eq!(machine.ssh("monorail", "true"), None, "discovery opens no login");

    // The first call.
    let bootstrap = machine.run_graph("Graph.BootstrapUbuntu", &[]);
    machine.wait_for(&bootstrap);
    // The second.
    let lookups = machine.curl(&format!("lookups?q={}", machine.mac), &[]);
    assert_eq!(lookups[0]["ipAddress"], "10.0.2.15", "{lookups:#}");
    let said = deadline::get("the login is open", WITHIN, || {
        machine.ssh("monorail", "id -un; sudo id -un")
    });
    assert_eq!(said, "monorail\nroot\n");
    assert_eq!(machine.ssh("password", "true"), None, "any other password is refused");

    // Another workflow takes the node: it is refused at once, and while a command runs through the API.
    let body = r#"{"options": {"shell-commands": {"commands":
        [{"command": "echo from the node: $(id -un)", "catalog": {"source": "said", "format": "raw"}}]}}}"#;
    let shell = machine.run_graph("Graph.ShellCommands", &["-d", body]);
    let taken = Instant::now();
    while machine.ssh("monorail", "true").is_some() {
        assert!(taken.elapsed() < Duration::from_secs(20), "the login is still open");
    }
    machine.wait_for(&shell);
    assert_eq!(machine.ssh("monorail", "true"), None, "another workflow's boot opens no login");
    let node = lookups[0]["node"].as_str().unwrap();
    let said = machine.curl(&format!("nodes/{node}/catalogs/said"), &[]);
    assert_eq!(
        said["data"]["data"].as_str().map(str::trim),
        Some("from the node: root"),
        "{said:#}"
    );
}
