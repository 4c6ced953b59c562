//! `Job.Linux.Commands`, `Job.Linux.Catalog`, `Job.Linux.ShellReboot`: the node's agent runs commands.
//!
//! An agent of ours runs a command id once and answers with the kept results when it is given it again, so within one
//! boot it may be told as often as it asks. A RackHD agent would run the commands again, so it gets them once per
//! boot (`Job.Linux.Catalog`, which only looks, as often as it asks). After a fresh boot the old system and its
//! results are gone: the commands are handed out anew, under a new id.

use overboot_wire::{Task, TaskDoc, TaskError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Context, Handed, Input, JobState, Output, Verdict, document};
use crate::catalog::{self, Cataloged};

/// Commands that take the node down each time they are run must not do so for ever.
const MAX_BOOTS: u32 = 3;

/// How much of a failed command's standard error the workflow keeps.
const MAX_STDERR: usize = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Commands { once: bool },
    Catalog,
    Reboot,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commands {
    kind: Kind,
    handed: Option<Handed>,
}

pub(super) fn start(cx: Context<'_>) -> Verdict {
    if cx.workflow.node.is_none() {
        return Verdict::failed("the workflow has no node: run it on one");
    }
    let options = &cx.task.options;
    let kind = match cx.task.run_job.as_str() {
        "Job.Linux.ShellReboot" => {
            if reboot_code(options).is_none() {
                return Verdict::failed("the option \"rebootCode\" is not a number");
            }
            Kind::Reboot
        }
        job => {
            if let Err(error) = build(options) {
                return Verdict::failed(error);
            }
            if job == "Job.Linux.Catalog" {
                Kind::Catalog
            } else {
                let once = options.get("runOnlyOnce").and_then(Value::as_bool).unwrap_or(true);
                Kind::Commands { once }
            }
        }
    };
    Verdict::wait(
        JobState::Commands(Commands { kind, handed: None }),
        "waiting for the node's agent to ask for tasks",
    )
}

impl Commands {
    pub(super) fn step(self, input: Input<'_>, cx: Context<'_>) -> Option<Output> {
        match input {
            Input::Polled { native } => self.offer(native, cx),
            Input::Posted(posted) => {
                self.handed.as_ref().filter(|handed| handed.is_answered_by(posted, cx))?;
                Some(self.finish(posted, cx))
            }
            Input::Booted if self.handed.is_some() => Some(match self.kind {
                Kind::Reboot => Verdict::done("the node was restarted").into(),
                Kind::Commands { .. } | Kind::Catalog => {
                    let reason = "the node was restarted before it answered; \
                                  waiting for its agent to ask for tasks again";
                    Verdict::wait(JobState::Commands(self), reason).into()
                }
            }),
            _ => None,
        }
    }

    fn offer(mut self, native: bool, cx: Context<'_>) -> Option<Output> {
        let number = match &self.handed {
            None => 1,
            Some(handed) if handed.boot != cx.session.boot => {
                if handed.number >= MAX_BOOTS {
                    let error = format!(
                        "the node was restarted {MAX_BOOTS} times before it answered; \
                         the commands are not handed out again"
                    );
                    return Some(Verdict::failed(error).into());
                }
                handed.number + 1
            }
            Some(_) if !native && self.kind == (Kind::Commands { once: true }) => return None,
            Some(handed) => handed.number,
        };
        let tasks = match self.kind {
            Kind::Reboot => vec![Task::default()],
            Kind::Commands { .. } | Kind::Catalog => match build(&cx.task.options) {
                Ok(tasks) => tasks,
                Err(error) => return Some(Verdict::failed(error).into()),
            },
        };
        let mut offer = document(cx, number, tasks);
        if self.kind == Kind::Reboot {
            offer.exit = reboot_code(&cx.task.options);
        }
        self.handed = Some(Handed { boot: cx.session.boot.clone(), number });
        let reason = "handed to the node's agent; waiting for its results";
        let verdict = Verdict::wait(JobState::Commands(self), reason);
        Some(Output { offer: Some(offer), ..verdict.into() })
    }

    fn finish(&self, posted: &TaskDoc, cx: Context<'_>) -> Output {
        // What was asked for counts, not what the document says was asked for.
        let asked = build(&cx.task.options).unwrap_or_default();
        let mut cataloged = Vec::new();
        for (asked, result) in asked.iter().zip(&posted.tasks) {
            let Some(output) = result.stdout.as_deref().filter(|_| !failed(asked, result)) else {
                continue;
            };
            cataloged.extend(match self.kind {
                Kind::Catalog => catalog::by_command(&asked.cmd, output),
                Kind::Commands { .. } => explicit(asked, output),
                Kind::Reboot => None,
            });
        }
        let failure = asked.iter().zip(&posted.tasks).find(|(asked, result)| failed(asked, result));
        let verdict = match failure {
            Some((asked, result)) => Verdict::failed(complaint(asked, result)),
            None => Verdict::done("the node's agent has answered"),
        };
        Output { cataloged, ..verdict.into() }
    }
}

/// Whether a result fails the job, by the codes that were asked for.
fn failed(asked: &Task, result: &Task) -> bool {
    let accepted = asked.accepted_response_codes.clone();
    Task { accepted_response_codes: accepted, error: result.error.clone(), ..Task::default() }
        .failed()
}

fn complaint(asked: &Task, result: &Task) -> String {
    // The first words are RackHD's.
    let mut text = "Encountered a failure running remote commands: ".to_owned();
    match &result.error {
        Some(TaskError::Failure(failure)) if failure.cmd.is_empty() => match failure.code {
            Some(code) => text.push_str(&format!("exit status {code} from `{}`", asked.cmd)),
            None => text.push_str(&format!("`{}` was ended", asked.cmd)),
        },
        Some(error) => text.push_str(&error.to_string()),
        None => text.push_str(&asked.cmd),
    }
    if let Some(stderr) = result.stderr.as_deref().map(str::trim).filter(|s| !s.is_empty()) {
        text.push_str(": ");
        text.extend(stderr.chars().take(MAX_STDERR));
    }
    text.chars().take(2 * MAX_STDERR).collect()
}

fn explicit(asked: &Task, output: &str) -> Option<Cataloged> {
    if asked.catalog != Some(true) || output.is_empty() {
        return None;
    }
    let source = asked.source.as_deref()?;
    catalog::explicit(source, asked.format.as_deref(), output)
}

fn reboot_code(options: &Map<String, Value>) -> Option<i32> {
    let code = options.get("rebootCode")?;
    let number = code.as_i64().or_else(|| code.as_str()?.trim().parse().ok())?;
    i32::try_from(number).ok()
}

/// The commands of the option `commands`: a string, an object, or a list of both (RackHD's `buildCommands`).
pub(super) fn build(options: &Map<String, Value>) -> Result<Vec<Task>, String> {
    let commands = options.get("commands").unwrap_or(&Value::Null);
    match commands {
        Value::Array(list) => list.iter().map(command).collect(),
        other => Ok(vec![command(other)?]),
    }
}

fn command(value: &Value) -> Result<Task, String> {
    let map = match value {
        Value::String(cmd) => return Ok(Task { cmd: cmd.clone(), ..Task::default() }),
        Value::Object(map) => map,
        _ => return Err("the option \"commands\" is not a command or a list of commands".into()),
    };
    let mut task = Task::default();
    for (key, value) in map {
        let wrong = || format!("{key} of a command cannot be {value}");
        let text = || value.as_str().map(str::to_owned).ok_or_else(wrong);
        let number = || value.as_u64().ok_or_else(wrong);
        match key.as_str() {
            "command" => task.cmd = text()?,
            "downloadUrl" => task.download_url = Some(text()?),
            "timeout" => task.timeout = Some(number()?),
            "retries" => task.retries = Some(u32::try_from(number()?).map_err(|_| wrong())?),
            "acceptedResponseCodes" => {
                let codes = serde_json::from_value(value.clone()).map_err(|_| wrong())?;
                task.accepted_response_codes = Some(codes);
            }
            "catalog" => {
                let source = value.get("source").and_then(Value::as_str).ok_or_else(wrong)?;
                let format = value.get("format").and_then(Value::as_str);
                task.catalog = Some(true);
                task.source = Some(source.to_owned());
                task.format = format.map(str::to_owned);
            }
            "source" | "format" => {}
            other => return Err(format!("{other} option is not supported")),
        }
    }
    if task.cmd.is_empty() && task.download_url.is_none() {
        return Err("a command has neither \"command\" nor \"downloadUrl\"".into());
    }
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn build_from(commands: Value) -> Result<Value, String> {
        build(&Map::from_iter([("commands".to_owned(), commands)])).map(|tasks| json!(tasks))
    }

    #[test]
    fn commands_are_strings_objects_or_lists_of_both() {
        assert_eq!(build_from(json!("ls")).unwrap(), json!([{"cmd": "ls"}]));
        let list = json!(["ls", {"command": "lshw", "catalog": {"source": "lshw", "format": "json"},
            "acceptedResponseCodes": [1], "timeout": 5, "retries": 2, "downloadUrl": "http://s/f"}]);
        assert_eq!(
            build_from(list).unwrap(),
            json!([{"cmd": "ls"}, {"cmd": "lshw", "downloadUrl": "http://s/f",
                "acceptedResponseCodes": [1], "catalog": true, "source": "lshw", "format": "json",
                "timeout": 5, "retries": 2}])
        );
    }

    #[test]
    fn neighbours_are_asked_for_until_their_daemon_has_started() {
        // The agent runs before the system's units do.
        let library = crate::Library::built_in();
        let tasks = build(&library.tasks["Task.Catalog.lldp"].options).unwrap();
        assert_eq!(tasks[0].retries, Some(60));
    }

    #[test]
    fn unusable_commands_are_refused() {
        let cases = [
            (json!(null), "not a command"),
            (json!([3]), "not a command"),
            (json!({"commands": "ls"}), "commands option is not supported"),
            (json!({"catalog": {"source": "x"}}), "neither"),
            (json!({"command": "ls", "catalog": {"format": "json"}}), "catalog of a command"),
            (json!({"command": "ls", "retries": -1}), "retries of a command"),
        ];
        for (commands, expected) in cases {
            let error = build_from(commands.clone()).unwrap_err();
            assert!(error.contains(expected), "{commands}: {error}");
        }
    }
}
