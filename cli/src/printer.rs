//! What the program says: results on standard output, everything else on standard error.
//!
//! Three ways of saying it: bars for a person at a terminal, plain lines for a log, JSON objects for a program.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the place that prints")]

mod transfer;

use std::collections::HashMap;
use std::io::{IsTerminal, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use overboot_build::Event;
use serde::Serialize;

use crate::told;

/// What to do about a full disk.
const FULL: &str =
    "free some space there and run it again; nothing that was there before has changed";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bars,
    Lines,
    Json,
}

/// Says things.
#[derive(Debug)]
pub(crate) struct Printer {
    way: Way,
    bars: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        // A dumb terminal cannot go back to a line above.
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        let plain =
            dumb || std::env::var_os("NO_PROGRESS").is_some() || !std::io::stderr().is_terminal();
        let way = match (json, plain) {
            (true, _) => Way::Json,
            (false, true) => Way::Lines,
            (false, false) => Way::Bars,
        };
        Self { way, bars: MultiProgress::new(), running: Mutex::default() }
    }

    /// Is a program listening?
    pub(crate) fn is_json(&self) -> bool {
        self.way == Way::Json
    }

    /// The result of a command, for people; a program gets it by [`Printer::json`].
    pub(crate) fn result(&self, text: impl std::fmt::Display) {
        if !self.is_json() {
            say(text);
        }
    }

    /// The result of a command, or an event, for programs.
    pub(crate) fn json(&self, value: &impl Serialize) {
        if self.is_json()
            && let Ok(text) = serde_json::to_string(value)
        {
            say(text);
        }
    }

    /// Something worth knowing that is no result.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        self.line_of(&printable(&text.to_string()));
    }

    /// Something in the background, dim where there is colour: a machine's console.
    pub(crate) fn aside(&self, text: impl std::fmt::Display) {
        let text = printable(&text.to_string());
        let dim = self.way == Way::Bars && std::env::var_os("NO_COLOR").is_none();
        self.line_of(&if dim { format!("\x1b[2m{text}\x1b[0m") } else { text });
    }

    fn line_of(&self, text: &str) {
        match self.way {
            Way::Bars => {
                let _ = self.bars.println(text);
            }
            Way::Lines => eprintln!("{text}"),
            Way::Json => {}
        }
    }

    /// What went wrong: the message, and beneath it what it came from.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        // A message that carries its hint has its cause in it already: told once is enough.
        let message = error.to_string();
        let causes = error.chain().skip(1).map(ToString::to_string);
        let causes: Vec<String> = causes.filter(|cause| !message.contains(cause)).collect();
        let mut text = format!("error: {message}");
        for cause in &causes {
            text.push_str(&format!("\n  because: {}", cause.replace('\n', "\n  ")));
        }
        // Wherever it happens, also inside a maintainer script, this is what the system says, and it has one remedy.
        let full = text.contains("No space left on device").then_some(FULL);
        let help = told::hint(error).or(full.map(str::to_owned));
        // Some messages end with their help: one for each mistake in a recipe, say.
        let help = help.filter(|_| !text.contains("help: "));
        if self.is_json() {
            let value = serde_json::json!({
                "event": "error", "message": message, "causes": causes, "help": help,
            });
            say(value);
        }
        if let Some(help) = help {
            text.push_str(&format!("\n  help: {help}"));
        }
        eprintln!("{}", printable(&text));
    }

    /// What a build tells.
    pub(crate) fn build(&self, event: Event) {
        match self.way {
            Way::Json => self.json(&event),
            Way::Lines => {
                if let Some(line) = line(&event) {
                    eprintln!("{}", printable(&line));
                }
            }
            Way::Bars => self.bar(event),
        }
    }

    fn bar(&self, event: Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Started { target, .. } => {
                let bar = self.bars.add(ProgressBar::new_spinner());
                let style =
                    ProgressStyle::with_template("{spinner} {prefix:24} {elapsed:>4} {wide_msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.set_prefix(target.clone());
                bar.enable_steady_tick(Duration::from_millis(120));
                running.insert(target.clone(), bar);
            }
            Event::Progress { target, line } => {
                if let Some(bar) = running.get(target) {
                    bar.set_message(printable(line));
                }
            }
            Event::Fetching { bytes, .. } => {
                running.insert("packages".to_owned(), self.fetching("packages", *bytes));
            }
            Event::FetchingImage { image, bytes } => {
                running.insert(image.clone(), self.fetching(image, *bytes));
            }
            Event::Fetched { bytes, .. } => fetched(running.get("packages"), *bytes),
            Event::FetchedImage { image, bytes } => fetched(running.get(image), *bytes),
            Event::Finished { target, .. } => {
                if let Some(bar) = running.remove(target) {
                    bar.finish_and_clear();
                }
                self.line(&event);
            }
            Event::Updating { .. }
            | Event::Warned { .. }
            | Event::Kept { .. }
            | Event::Unchanged { .. } => self.line(&event),
        }
    }

    /// A bar for so many bytes.
    fn fetching(&self, what: &str, bytes: u64) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(bytes));
        let template = "  {prefix:24} {decimal_bytes:>9} of {decimal_total_bytes} {wide_bar}";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what.to_owned());
        bar
    }

    fn line(&self, event: &Event) {
        if let Some(line) = line(event) {
            self.note(line);
        }
    }
}

fn fetched(bar: Option<&ProgressBar>, bytes: u64) {
    if let Some(bar) = bar {
        bar.set_position(bytes);
        if bar.length() == Some(bytes) {
            bar.finish_and_clear();
        }
    }
}

/// Prints a line. That nobody reads on (`| head`) is no failure; a disk that is full is.
fn say(text: impl std::fmt::Display) {
    match writeln!(std::io::stdout().lock(), "{}", printable(&text.to_string())) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot print the result: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}

/// The text with all that a terminal would obey made visible: names of files, and what registries and maintainer scripts say, are
/// other people's.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => printable.push(character),
            control if control.is_control() => printable.extend(control.escape_default()),
            _ => printable.push(character),
        }
    }
    printable
}

/// An event as a line of a log; nothing for those that are only of use while one looks at them.
fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Updating { suites } => format!("  {:<24} {}", "archive", suites.join(", ")),
        Event::Fetching { packages, bytes } => {
            format!("  {:<24} {packages}, {}", "packages", size(*bytes))
        }
        Event::FetchingImage { image, bytes } => format!("  {image:<24} {}", size(*bytes)),
        Event::Started { target, why } => format!("  {target:<24} {}", why.join("; ")),
        Event::Warned { target, line } => format!("  {target:<24} warning: {line}"),
        Event::Finished { target, milliseconds, size: bytes } => {
            let took = seconds(*milliseconds);
            format!("  {target:<24} done in {took:>7} {:>9}", size(*bytes))
        }
        Event::Kept { target, size: bytes } => {
            format!("  {target:<24} valid, is kept  {:>9}", size(*bytes))
        }
        Event::Unchanged { target, size: bytes } => {
            format!("  {target:<24} unchanged       {:>9}", size(*bytes))
        }
        Event::Progress { .. } | Event::Fetched { .. } | Event::FetchedImage { .. } => return None,
    })
}

/// `48.2 MB`: decimal, as disks and network cards count.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// `2.4 s`.
pub(crate) fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_elses_text_commands_the_terminal() {
        assert_eq!(
            printable("a\x1b]0;title\x07\r\u{9b}b\n\tü"),
            "a\\u{1b}]0;title\\u{7}\\r\\u{9b}b\n\tü"
        );
    }
}
