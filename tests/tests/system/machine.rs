//! A machine that `overboot try --keep` has booted, and the API beside it.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use overboot_testkit::{deadline, overboot};
use serde_json::Value;

/// Two boots, emulated, on a machine that does other things too.
pub(crate) const WITHIN: Duration = Duration::from_secs(420);

/// A machine that `overboot try --keep` keeps up.
pub(crate) struct Machine {
    program: Child,
    lines: Lines<BufReader<ChildStdout>>,
    server: String,
    pub(crate) mac: String,
    ssh: u64,
}

impl Machine {
    /// `overboot try WORDS…` in a project whose images are built; every stage of a boot must be seen.
    pub(crate) fn start(project: &Path, words: &[&str]) -> Self {
        let mut command = Command::new(overboot());
        command.arg("-C").arg(project).arg("try").args(words);
        command.args(["--keep", "--no-console", "--json"]);
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
        let seen = seen.join("\n");
        assert!(seen.contains("\"passed\":true"), "not passed:\n{seen}");
        for stage in ["script", "kernel", "init", "dhcp", "set", "download", "root", "agent"] {
            assert!(seen.contains(&format!("\"stage\":\"{stage}\"")), "no {stage}:\n{seen}");
        }
        machine.server = kept["server"].as_str().unwrap().to_owned();
        machine.mac = kept["macAddress"].as_str().unwrap().to_owned();
        machine.ssh = kept["sshPort"].as_u64().unwrap();
        machine
    }

    /// The API, by curl, as the manual has it.
    pub(crate) fn curl(&self, path: &str, arguments: &[&str]) -> Value {
        let url = format!("{}/api/current/{path}", self.server);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "--noproxy", "*"]).args(arguments).arg(url);
        let Output { status, stdout, stderr } = curl.output().unwrap();
        let said =
            String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{path}: {said}");
        serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{path}: {error}: {said}"))
    }

    pub(crate) fn run_graph(&self, name: &str, arguments: &[&str]) -> String {
        let json = ["-X", "POST", "-H", "Content-Type: application/json"];
        let path = format!("nodes/{}/workflows?name={name}", self.mac);
        let workflow = self.curl(&path, &[&json, arguments].concat());
        workflow["instanceId"].as_str().unwrap().to_owned()
    }

    pub(crate) fn wait_for(&self, workflow: &str) -> Value {
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
    pub(crate) fn ssh(&self, password: &str, command: &str) -> Option<String> {
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
