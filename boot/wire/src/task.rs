//! The task document of RackHD (`GET` and `POST /api/current/tasks/<id>`), and what we add to it.
//!
//! Source: on-tasks `command-util.js` and on-taskgraph's `bootstrap.js` template, RackHD 2.60. A RackHD server or node
//! ignores our additions: [`TaskDoc::command_id`], [`TaskDoc::login`] and [`Bootstrap::native`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Work for a node, and the same document coming back with results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDoc {
    /// The node's id: 24 hex digits.
    pub identifier: String,
    /// What to run, in order; a failure stops the series. May be empty: nothing to do yet.
    #[serde(default)]
    pub tasks: Vec<Task>,
    /// What to do after the results are posted: 1 reboot, 2 power cycle by IPMI, 127 stay up, anything else reboot.
    /// RackHD also writes it as `{"code": n}`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "exit_code")]
    pub exit: Option<i32>,
    /// Names this handing-out of work. A node that has run it already posts the kept results and runs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<String>,
    /// Who may log in, if anyone. Absent from RackHD servers: then nobody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// One command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// For `sh -c`. May be empty (RackHD's bootstrap task): succeeds.
    #[serde(default)]
    pub cmd: String,
    /// Fetched first and kept under the last part of its path in the working directory, mode 0555.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_url: Option<String>,
    /// Exit codes that do not stop the series nor fail the job. 0 need not be listed.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "numbers_or_nothing"
    )]
    pub accepted_response_codes: Option<Vec<i32>>,
    /// Whether the server is to store the output as a catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<bool>,
    /// Name of that catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its format: `json`, `raw`, `xml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How long the command may run, in milliseconds; absent or 0: without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How often a failing command is run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Result: what it wrote to standard output, bounded. Absent: it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Result: what it wrote to standard error, bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// Result: why it failed. Absent or null: it did not, or was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
}

/// A failed task, as RackHD writes it: an object, or a sentence where no command could be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TaskError {
    /// The command ran and failed.
    Failure(TaskFailure),
    /// It could not be run (a download that failed, no shell).
    Text(String),
}

/// How a command ended, in the words of Node.js' `child_process.exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// Exit status; `None` when a signal ended it.
    #[serde(default)]
    pub code: Option<i32>,
    /// Whether we killed it (time-out, or too much output).
    #[serde(default)]
    pub killed: bool,
    /// The signal that ended it: `SIGTERM`.
    #[serde(default)]
    pub signal: Option<String>,
    /// The command.
    #[serde(default)]
    pub cmd: String,
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Failure(failure) => match (failure.code, &failure.signal) {
                (Some(code), _) => write!(f, "exit status {code} from `{}`", failure.cmd),
                (None, Some(signal)) => write!(f, "{signal} ended `{}`", failure.cmd),
                (None, None) => write!(f, "`{}` failed", failure.cmd),
            },
        }
    }
}

impl Task {
    /// Whether this result fails the job: an error whose code is not among the accepted ones.
    #[must_use]
    pub fn failed(&self) -> bool {
        match &self.error {
            None => false,
            Some(TaskError::Text(_)) => true,
            Some(TaskError::Failure(failure)) => !failure.code.is_some_and(|c| {
                self.accepted_response_codes.as_ref().is_some_and(|a| a.contains(&c))
            }),
        }
    }
}

/// `POST /api/overboot/v1/output`: what a command that still runs has written lately. Answer: 204. The results that are
/// posted when it has ended have all of it, so a report may get lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputReport {
    /// The node's id.
    pub identifier: String,
    /// The command.
    pub cmd: String,
    /// How many bytes it has written so far, to standard output and error.
    pub bytes: u64,
    /// The last of them: whole lines where there are any, at most [`OutputReport::TAIL`] bytes.
    pub tail: String,
}

impl OutputReport {
    /// The longest tail.
    pub const TAIL: usize = 2000;
    /// Seconds between two reports of one command.
    pub const SECONDS: u64 = 2;
}

/// The state of a node's login, as the server wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// Grows with each change; a node names the last one it acted on when it asks again.
    pub sequence: u64,
    /// Who may log in; `None`: nobody, and who is in is put out.
    #[serde(default)]
    pub window: Option<Window>,
}

/// An open login.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The account, made if the image has none.
    pub user: String,
    /// crypt(3) hash of its password (`$6$…` or `$y$…`); absent: keys only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// Lines for `authorized_keys`; may be empty.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
    /// Seconds that remain, counted by the node from when it reads this.
    pub seconds: u64,
}

/// Answer to `GET /api/current/tasks/bootstrap.js` when JSON was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The node's id: 24 hex digits.
    pub identifier: String,
    /// True from an overboot server: it holds `GET`s open and knows login windows.
    #[serde(default)]
    pub native: bool,
}

impl Bootstrap {
    /// Reads either answer: our JSON, or RackHD's JavaScript, where the first run of exactly 24 hex digits is the id.
    #[must_use]
    pub fn parse(body: &str) -> Option<Self> {
        if let Ok(answer) = serde_json::from_str::<Self>(body) {
            return is_identifier(&answer.identifier).then_some(answer);
        }
        body.split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| is_identifier(word))
            .map(|word| Self { identifier: word.to_owned(), native: false })
    }
}

/// Whether `text` has the form of a node id.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn exit_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Exit {
        Number(i32),
        Object { code: i32 },
    }
    Ok(Option::<Exit>::deserialize(deserializer)?.map(|exit| match exit {
        Exit::Number(code) | Exit::Object { code } => code,
    }))
}

/// RackHD's node uses the field only if it is an array of numbers; any other value means "none accepted".
fn numbers_or_nothing<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<i32>>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rackhd_documents_are_read() {
        let doc: TaskDoc = serde_json::from_str(
            r#"{"identifier":"5acf8d6d8a0f0e0100000001","tasks":[{"cmd":"sudo lshw -json","catalog":true,
                "source":"lshw","format":"json","acceptedResponseCodes":[1,2],"downloadUrl":"http://s/x"},
                {"cmd":"","acceptedResponseCodes":"1"}],"exit":{"code":1}}"#,
        )
        .unwrap();
        assert_eq!(doc.exit, Some(1));
        assert_eq!(doc.tasks[0].accepted_response_codes, Some(vec![1, 2]));
        assert_eq!(doc.tasks[1].accepted_response_codes, None);
        assert!(doc.login.is_none());
        let null: TaskDoc = serde_json::from_str(r#"{"identifier":"x","exit":null}"#).unwrap();
        assert_eq!((null.exit, null.tasks.len()), (None, 0));
    }

    #[test]
    fn the_extensions_have_these_names() {
        let doc = TaskDoc {
            identifier: "5acf8d6d8a0f0e0100000001".into(),
            command_id: Some("c1".into()),
            login: Some(Login {
                sequence: 3,
                window: Some(Window {
                    user: "monorail".into(),
                    password_hash: Some("$6$x".into()),
                    authorized_keys: vec![],
                    seconds: 60,
                }),
            }),
            ..TaskDoc::default()
        };
        assert_eq!(
            serde_json::to_string(&doc).unwrap(),
            r#"{"identifier":"5acf8d6d8a0f0e0100000001","tasks":[],"commandId":"c1","login":{"sequence":3,"window":{"user":"monorail","passwordHash":"$6$x","authorizedKeys":[],"seconds":60}}}"#
        );
    }

    #[test]
    fn errors_are_objects_or_sentences_and_accepted_codes_are_no_failure() {
        let task: Task = serde_json::from_str(
            r#"{"cmd":"x","acceptedResponseCodes":[3],"error":{"code":3,"killed":false,"signal":null,"cmd":"x"}}"#,
        )
        .unwrap();
        assert!(!task.failed());
        let other = Task { accepted_response_codes: Some(vec![4]), ..task };
        assert!(other.failed());
        let text: Task = serde_json::from_str(r#"{"cmd":"x","error":"no"}"#).unwrap();
        assert_eq!(text.error, Some(TaskError::Text("no".into())));
        assert!(text.failed());
        assert!(!serde_json::from_str::<Task>(r#"{"cmd":"x","error":null}"#).unwrap().failed());
    }

    #[test]
    fn the_identifier_is_found_in_json_and_in_javascript() {
        let native = Bootstrap::parse(r#"{"identifier":"5acf8d6d8a0f0e0100000001","native":true}"#);
        assert!(native.unwrap().native);
        let javascript = "var MAX='0123456789012345678901234'; path: '/api/current/tasks/5acf8d6d8a0f0e0100000001', x";
        let found = Bootstrap::parse(javascript).unwrap();
        assert_eq!((found.identifier.as_str(), found.native), ("5acf8d6d8a0f0e0100000001", false));
        assert_eq!(Bootstrap::parse("<html>404</html>"), None);
        assert_eq!(Bootstrap::parse(r#"{"identifier":"../../etc"}"#), None);
    }
}
