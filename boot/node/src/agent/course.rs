//! The agent's loop as a state machine: answers in, the next thing to do out. No socket, no process, no clock.
//!
//! It follows RackHD's `bootstrap.js` (contract 7.6) and adds the long poll and at-most-once of our own servers.

use overboot_wire::{Bootstrap, Login, TaskDoc, TaskError, path};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask who this node is.
    AskIdentity,
    /// Ask for tasks, at this path; `patient`: the server holds the question open.
    AskTasks {
        /// Path and query.
        path: String,
        /// Whether to wait longer than for an ordinary answer.
        patient: bool,
    },
    /// Run the tasks.
    Run(TaskDoc),
    /// Post the results to this path.
    Post {
        /// Path.
        path: String,
        /// The document with results.
        doc: TaskDoc,
    },
    /// Wait so many milliseconds.
    Wait(u64),
    /// Bring the login to this state; go on at once.
    Login(Login),
    /// The server asked for an end.
    End(End),
}

/// How the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Reboot now.
    Reboot,
    /// Power cycle through the machine's own BMC.
    PowerCycle,
    /// Leave the machine as it is, without an agent.
    Stay,
}

/// What came of the last action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet: the beginning, or a wait is over, or a login was handed on.
    Ready,
    /// An answer: status and body.
    Answer(u16, Vec<u8>),
    /// No answer.
    Silence,
    /// The tasks were run, these are the results.
    Ran(TaskDoc),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unknown,
    Idle,
    /// Asked for tasks.
    Asked,
    /// A document to run once its login was handed on.
    Holding(TaskDoc),
    Running,
    Posting {
        doc: TaskDoc,
        tries: u64,
    },
}

/// The loop of one agent.
#[derive(Debug)]
pub struct Course {
    mac: String,
    boot: Option<String>,
    identity: Option<Bootstrap>,
    state: State,
    /// The login last handed on.
    login: u64,
    /// Answers without work in a row.
    idle: u32,
}

/// RackHD's pause between questions.
const PAUSE: u64 = 5000;
/// Its longest pause between tries to post.
const LONGEST: u64 = 60_000;

impl Course {
    /// The loop of the node with this MAC address, in the boot of this name.
    #[must_use]
    pub fn new(mac: &str, boot: Option<&str>) -> Self {
        Self {
            mac: mac.to_owned(),
            boot: boot.map(str::to_owned),
            identity: None,
            state: State::Unknown,
            login: 0,
            idle: 0,
        }
    }

    /// Path and query of the question who this node is.
    #[must_use]
    pub fn identity_path(&self) -> String {
        path::bootstrap(&self.mac, self.boot.as_deref())
    }

    /// The node's id, once known.
    #[must_use]
    pub fn identity(&self) -> Option<&Bootstrap> {
        self.identity.as_ref()
    }

    /// Goes on.
    pub fn step(&mut self, outcome: Outcome) -> Action {
        match (std::mem::replace(&mut self.state, State::Idle), outcome) {
            (State::Unknown, Outcome::Answer(200, body)) => {
                match Bootstrap::parse(&String::from_utf8_lossy(&body)) {
                    Some(identity) => {
                        self.identity = Some(identity);
                        self.ask()
                    }
                    None => self.unknown(),
                }
            }
            (State::Unknown, Outcome::Ready) => {
                self.state = State::Unknown;
                Action::AskIdentity
            }
            (State::Unknown, _) => self.unknown(),
            (State::Idle, _) => self.ask(),
            (State::Asked, outcome) => self.answered(outcome),
            (State::Holding(doc), _) => self.begin(doc),
            (State::Running, Outcome::Ran(doc)) => self.post(doc, 0),
            (State::Running, _) => self.ask(),
            (State::Posting { doc, tries }, outcome) => self.posted(doc, tries, &outcome),
        }
    }

    fn native(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.native)
    }

    fn unknown(&mut self) -> Action {
        self.state = State::Unknown;
        Action::Wait(PAUSE)
    }

    fn ask(&mut self) -> Action {
        let Some(identity) = &self.identity else { return self.unknown() };
        let path = if identity.native {
            let boot = self.boot.as_deref();
            path::tasks_wait(&identity.identifier, path::LONG_POLL_SECONDS, self.login, boot)
        } else {
            path::tasks(&identity.identifier)
        };
        let patient = identity.native;
        self.state = State::Asked;
        Action::AskTasks { path, patient }
    }

    fn answered(&mut self, outcome: Outcome) -> Action {
        let doc = match outcome {
            Outcome::Answer(200, body) => serde_json::from_slice::<TaskDoc>(&body).ok(),
            // Our own server knows every node that it told its name; if not any more, the node must ask again.
            Outcome::Answer(404, _) if self.native() => {
                self.identity = None;
                self.login = 0;
                return self.unknown();
            }
            _ => None,
        };
        let Some(doc) = doc else { return Action::Wait(PAUSE) };
        match &doc.login {
            Some(login) if login.sequence != self.login => {
                self.login = login.sequence;
                self.idle = 0;
                let action = Action::Login(login.clone());
                self.state = State::Holding(doc);
                action
            }
            _ => self.begin(doc),
        }
    }

    fn begin(&mut self, doc: TaskDoc) -> Action {
        if self.native() && doc.tasks.is_empty() && doc.exit.is_none() {
            // The server has waited already; a server that does not must not be asked in a tight loop.
            self.idle += 1;
            return if self.idle > 20 { Action::Wait(1000) } else { self.ask() };
        }
        self.idle = 0;
        self.state = State::Running;
        Action::Run(doc)
    }

    fn post(&mut self, doc: TaskDoc, tries: u64) -> Action {
        let Some(identity) = &self.identity else { return self.unknown() };
        let path = path::tasks(&identity.identifier);
        self.state = State::Posting { doc: doc.clone(), tries };
        Action::Post { path, doc }
    }

    fn posted(&mut self, doc: TaskDoc, tries: u64, outcome: &Outcome) -> Action {
        let failed = match outcome {
            // After the wait that follows a failure.
            Outcome::Ready => return self.post(doc, tries),
            Outcome::Silence => true,
            // RackHD's node ignores the status; an overloaded server of ours gets the results later.
            Outcome::Answer(status, _) => self.native() && *status >= 500,
            Outcome::Ran(_) => false,
        };
        if failed {
            let tries = tries + 1;
            self.state = State::Posting { doc, tries };
            return Action::Wait((PAUSE * tries).min(LONGEST));
        }
        match doc.exit {
            // A server of ours may have more for a node that stays.
            Some(127) if self.native() => self.ask(),
            Some(code) => Action::End(End::of(code)),
            None if self.native() => self.ask(),
            None => Action::Wait(PAUSE),
        }
    }
}

impl End {
    /// RackHD's codes: 2 power cycle, 127 stay, 1 and all others reboot.
    #[must_use]
    pub fn of(code: i32) -> Self {
        match code {
            2 => Self::PowerCycle,
            127 => Self::Stay,
            _ => Self::Reboot,
        }
    }
}

/// The results of a document that was begun before, and of which there are none: a restart of the agent has cut it off, or
/// they were posted long ago.
#[must_use]
pub fn interrupted(mut doc: TaskDoc) -> TaskDoc {
    for task in &mut doc.tasks {
        task.error = Some(TaskError::Text(
            "this was begun before, and there are no results of it; it is not run a second time"
                .to_owned(),
        ));
    }
    doc
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5acf8d6d8a0f0e0100000001";

    fn course(native: bool) -> Course {
        let mut course = Course::new("52:54:00:00:00:01", Some("b1"));
        assert_eq!(course.step(Outcome::Ready), Action::AskIdentity);
        let body = format!(r#"{{"identifier":"{ID}","native":{native}}}"#);
        let action = course.step(Outcome::Answer(200, body.into_bytes()));
        assert!(matches!(action, Action::AskTasks { patient, .. } if patient == native));
        course
    }

    fn answer(text: &str) -> Outcome {
        Outcome::Answer(200, text.as_bytes().to_vec())
    }

    fn work(exit: Option<i32>) -> Outcome {
        let exit = exit.map(|code| format!(r#","exit":{code}"#)).unwrap_or_default();
        answer(&format!(r#"{{"identifier":"{ID}","tasks":[{{"cmd":"true"}}]{exit}}}"#))
    }

    #[test]
    fn against_our_server_it_polls_without_pause_and_names_login_and_boot() {
        let mut course = course(true);
        let Action::Run(doc) = course.step(work(None)) else { panic!() };
        let Action::Post { path, doc } = course.step(Outcome::Ran(doc)) else { panic!() };
        assert_eq!(path, format!("/api/current/tasks/{ID}"));
        assert_eq!(doc.tasks.len(), 1);
        assert_eq!(
            course.step(Outcome::Answer(201, vec![])),
            Action::AskTasks {
                path: format!("/api/current/tasks/{ID}?wait=25&login=0&boot=b1"),
                patient: true
            }
        );
        let nothing = format!(r#"{{"identifier":"{ID}","tasks":[]}}"#);
        assert!(matches!(course.step(answer(&nothing)), Action::AskTasks { .. }));
    }

    #[test]
    fn against_rackhd_it_sleeps_five_seconds() {
        let mut course = course(false);
        for outcome in [Outcome::Answer(404, vec![]), answer(""), Outcome::Silence] {
            assert_eq!(course.step(outcome), Action::Wait(5000));
            assert_eq!(
                course.step(Outcome::Ready),
                Action::AskTasks { path: format!("/api/current/tasks/{ID}"), patient: false }
            );
        }
        let Action::Run(doc) = course.step(work(None)) else { panic!() };
        assert!(matches!(course.step(Outcome::Ran(doc)), Action::Post { .. }));
        assert_eq!(course.step(Outcome::Answer(500, vec![])), Action::Wait(5000));
        assert!(matches!(course.step(Outcome::Ready), Action::AskTasks { .. }));
    }

    #[test]
    fn results_are_posted_until_they_arrive_and_only_then_it_ends() {
        let mut course = course(true);
        let Action::Run(doc) = course.step(work(Some(1))) else { panic!() };
        assert!(matches!(course.step(Outcome::Ran(doc)), Action::Post { .. }));
        for wait in [5000, 10_000, 15_000] {
            assert_eq!(course.step(Outcome::Silence), Action::Wait(wait));
            assert!(matches!(course.step(Outcome::Ready), Action::Post { .. }));
        }
        assert_eq!(course.step(Outcome::Answer(503, vec![])), Action::Wait(20_000));
        assert!(matches!(course.step(Outcome::Ready), Action::Post { .. }));
        assert_eq!(course.step(Outcome::Answer(201, vec![])), Action::End(End::Reboot));
        assert_eq!(
            [1, 0, 3, 2, 127].map(End::of).map(|end| end == End::Reboot),
            [true, true, true, false, false]
        );
    }

    #[test]
    fn a_node_that_is_to_stay_goes_on_asking_only_our_server() {
        for (native, ends) in [(true, false), (false, true)] {
            let mut course = course(native);
            let Action::Run(doc) = course.step(work(Some(127))) else { panic!() };
            course.step(Outcome::Ran(doc));
            let then = course.step(Outcome::Answer(201, vec![]));
            assert_eq!(then == Action::End(End::Stay), ends, "{then:?}");
            assert_eq!(matches!(then, Action::AskTasks { .. }), !ends, "{then:?}");
        }
        assert_eq!(End::of(2), End::PowerCycle);
    }

    #[test]
    fn a_login_is_handed_on_before_the_work_that_came_with_it() {
        let mut course = course(true);
        let text = format!(
            r#"{{"identifier":"{ID}","tasks":[{{"cmd":"x"}}],"login":{{"sequence":4,"window":null}}}}"#
        );
        let Action::Login(login) = course.step(answer(&text)) else { panic!() };
        assert_eq!(login.sequence, 4);
        let Action::Run(doc) = course.step(Outcome::Ready) else { panic!() };
        course.step(Outcome::Ran(doc));
        let Action::AskTasks { path, .. } = course.step(Outcome::Answer(201, vec![])) else {
            panic!()
        };
        assert!(path.contains("login=4"), "{path}");
        assert!(matches!(course.step(answer(&text)), Action::Run(_)), "the same login only once");
    }

    #[test]
    fn a_server_that_forgot_the_node_is_asked_who_it_is() {
        let mut course = course(true);
        assert_eq!(course.step(Outcome::Answer(404, vec![])), Action::Wait(5000));
        assert_eq!(course.step(Outcome::Ready), Action::AskIdentity);
        assert_eq!(course.step(Outcome::Silence), Action::Wait(5000));
        assert_eq!(course.step(Outcome::Ready), Action::AskIdentity);
    }

    #[test]
    fn a_server_that_does_not_hold_questions_is_not_hammered() {
        let mut course = course(true);
        let nothing = format!(r#"{{"identifier":"{ID}","tasks":[]}}"#);
        let waits =
            (0..30).filter(|_| matches!(course.step(answer(&nothing)), Action::Wait(_))).count();
        assert!(waits > 0);
    }
}
