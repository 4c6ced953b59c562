//! What update-alternatives(1) keeps of one name (`/var/lib/dpkg/alternatives/NAME`): who could be it, and who follows whom.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::delta::Delta;

/// One name for which there are several candidates, such as `editor`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alternative {
    /// Has somebody chosen? Otherwise it is the best one.
    pub manual: bool,
    /// Whom, where that is known: the file does not say it, but the link ([`Alternative::with_chosen`]).
    pub chosen: Option<String>,
    /// The candidates by their paths.
    pub choices: BTreeMap<String, Choice>,
}

/// A candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The highest is the best.
    pub priority: i64,
    /// Where the one that is taken is found: `/usr/bin/editor`.
    pub link: String,
    /// What comes along with it, by name: where it is found, and what it is.
    pub slaves: BTreeMap<String, (String, String)>,
}

impl Alternative {
    /// Reads such a file; as much as there is of it, if it is not whole.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let mut found = Self::default();
        found.set_mode(lines.next().unwrap_or_default());
        let Some(link) = lines.next() else { return found };
        let mut slaves = Vec::new();
        while let Some(name) = lines.next().filter(|name| !name.is_empty()) {
            slaves.push((name, lines.next().unwrap_or_default()));
        }
        while let Some(path) = lines.next().filter(|path| path.starts_with('/')) {
            let priority = lines.next().and_then(|priority| priority.trim().parse().ok());
            let files: Vec<&str> = slaves.iter().map_while(|_| lines.next()).collect();
            let (Some(priority), true) = (priority, files.len() == slaves.len()) else { break };
            let slaves = slaves.iter().zip(files).filter(|(_, file)| !file.is_empty());
            let slaves = slaves.map(|((name, link), file)| {
                ((*name).to_owned(), ((*link).to_owned(), file.to_owned()))
            });
            let choice = Choice { priority, link: link.to_owned(), slaves: slaves.collect() };
            found.choices.insert(path.to_owned(), choice);
        }
        found
    }

    /// The text of such a file with who was chosen, for [`Alternative::parse`] and [`difference`](fn@crate::difference): in the end,
    /// the link may be that of another layer.
    #[must_use]
    pub fn with_chosen(text: &str, chosen: Option<&str>) -> String {
        match (text.strip_prefix("manual\n"), chosen) {
            (Some(rest), Some(chosen)) => format!("{MANUAL} {chosen}\n{rest}"),
            _ => text.to_owned(),
        }
    }

    /// Whom a layer has chosen that made this change.
    #[must_use]
    pub fn chosen_by(delta: &Delta) -> Option<&str> {
        delta.put.get(MODE)?.strip_prefix(MANUAL)?.strip_prefix(' ')
    }

    fn set_mode(&mut self, text: &str) {
        let mut words = text.splitn(2, ' ');
        self.manual = words.next() == Some(MANUAL);
        self.chosen = words.next().filter(|_| self.manual).map(str::to_owned);
    }

    /// The file; empty, and not to be there, where nobody is left to choose from.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Some(first) = self.choices.values().next() else { return String::new() };
        let slaves = self.slaves();
        let mode = if self.manual { MANUAL } else { AUTO };
        let mut text = format!("{mode}\n{}\n", first.link);
        for (name, link) in &slaves {
            let _infallible = write!(text, "{name}\n{link}\n");
        }
        text.push('\n');
        for (path, choice) in &self.choices {
            let _infallible = write!(text, "{path}\n{}\n", choice.priority);
            for name in slaves.keys() {
                text += choice.slaves.get(*name).map_or("", |(_, file)| file);
                text.push('\n');
            }
        }
        text.push('\n');
        text
    }

    /// The links of all that may come along, by name.
    #[must_use]
    pub fn slaves(&self) -> BTreeMap<&str, &str> {
        let mut all = BTreeMap::new();
        for (name, (link, _)) in self.choices.values().flat_map(|choice| &choice.slaves) {
            all.entry(name.as_str()).or_insert(link.as_str());
        }
        all
    }

    /// The best of those that are `there`: of several with one priority the first.
    pub fn best(&self, mut there: impl FnMut(&str) -> bool) -> Option<(&str, &Choice)> {
        let there = self.choices.iter().filter(|(path, _)| there(path));
        let best =
            there.reduce(|best, next| if next.1.priority > best.1.priority { next } else { best });
        best.map(|(path, choice)| (path.as_str(), choice))
    }

    /// Every link that has to be there for `name` to be who was `chosen`, by hand, or else the best of those that are `there`: its
    /// path from the root, without a leading `/`, and where it leads; or nowhere, where it is to be taken away. None, where there is
    /// nobody to choose.
    ///
    /// Of what comes along, what is not `there` is left out, as update-alternatives has it: pages that an image does without.
    pub fn links(
        &self,
        name: &str,
        chosen: Option<&str>,
        mut there: impl FnMut(&str) -> bool,
    ) -> Vec<(String, Option<String>)> {
        let chosen =
            chosen.filter(|_| self.manual).and_then(|path| self.choices.get_key_value(path));
        let chosen = chosen.map(|(path, choice)| (path.as_str(), choice));
        let Some((path, choice)) = chosen.or_else(|| self.best(&mut there)) else {
            return Vec::new();
        };
        let mut links = Vec::new();
        let mut set = |name: &str, link: &str, file: Option<&str>| {
            // Databases may be anybody's.
            if name.contains('/') || ["", ".", ".."].contains(&name) {
                return;
            }
            let through = format!("{LINKS}{name}");
            links.push((
                link.trim_start_matches('/').to_owned(),
                file.map(|_| format!("/{through}")),
            ));
            links.push((through, file.map(str::to_owned)));
        };
        set(name, &choice.link, Some(path));
        for (slave, link) in self.slaves() {
            let file = choice.slaves.get(slave).map(|(_, file)| file.as_str());
            set(slave, link, file.filter(|file| there(file)));
        }
        links
    }

    /// Each candidate by itself, so that those of several layers add up, and what somebody has chosen. Where nobody has, nothing is
    /// said of it: a layer that merely brings a candidate undoes no other's choice.
    pub(crate) fn records(&self) -> Vec<String> {
        let mode = || match &self.chosen {
            Some(chosen) => format!("{MANUAL} {chosen}"),
            None => MANUAL.to_owned(),
        };
        let choice = |(path, choice): (&String, &Choice)| {
            let mut record = format!("{path}\n{}\n{}", choice.priority, choice.link);
            for (name, (link, file)) in &choice.slaves {
                let _infallible = write!(record, "\n{name}\n{link}\n{file}");
            }
            record
        };
        let mode = (self.manual && !self.choices.is_empty()).then(mode);
        mode.into_iter().chain(self.choices.iter().map(choice)).collect()
    }

    /// What [`Alternative::records`] took apart. Records may be anybody's: what is none is left out.
    pub(crate) fn of_records<'a>(records: impl Iterator<Item = &'a str>) -> Self {
        let mut whole = Self::default();
        for record in records {
            let mut lines = record.lines();
            let (path, priority) = (lines.next().unwrap_or_default(), lines.next());
            let Some(priority) = priority.and_then(|priority| priority.parse().ok()) else {
                if !path.starts_with('/') {
                    whole.set_mode(record);
                }
                continue;
            };
            let Some(link) = lines.next().filter(|_| path.starts_with('/')) else { continue };
            let mut slaves = BTreeMap::new();
            while let (Some(name), Some(link), Some(file)) =
                (lines.next(), lines.next(), lines.next())
            {
                slaves.insert(name.to_owned(), (link.to_owned(), file.to_owned()));
            }
            let choice = Choice { priority, link: link.to_owned(), slaves };
            whole.choices.insert(path.to_owned(), choice);
        }
        whole
    }
}

/// Where the links of all names lead through, from the root.
pub const LINKS: &str = "etc/alternatives/";

/// What is said of the mode, under a name that no candidate has.
pub(crate) const MODE: &str = "mode";
const MANUAL: &str = "manual";
const AUTO: &str = "auto";

#[cfg(test)]
mod tests {
    use super::*;

    const EDITOR: &str = "auto\n/usr/bin/editor\neditor.1.gz\n/usr/share/man/man1/editor.1.gz\neditor.fr\n/man/fr\n\n\
        /bin/ed\n-100\n/man/ed\n\n/usr/bin/vim\n30\n\n/man/vim.fr\n\n";

    #[test]
    fn what_is_read_is_written() {
        let read = Alternative::parse(EDITOR);
        assert_eq!(read.to_text(), EDITOR);
        assert_eq!(read.best(|_| true).unwrap().0, "/usr/bin/vim");
        assert_eq!(read.best(|path| path == "/bin/ed").unwrap().1.priority, -100);
        let records = read.records();
        assert_eq!(Alternative::of_records(records.iter().map(String::as_str)), read);
    }

    #[test]
    fn who_was_chosen_is_noted_and_not_written() {
        let file = "manual\n/e\n\n/a\n1\n\n";
        let text = |chosen| Alternative::with_chosen(file, Some(chosen));
        let read = Alternative::parse(&text("/a"));
        assert_eq!((read.chosen.as_deref(), read.to_text().as_str()), (Some("/a"), file));
        let form = crate::Form::Alternatives;
        let delta = crate::difference(form, &text("/a"), &text("/b"));
        assert_eq!(Alternative::chosen_by(&delta), Some("/b"));
        assert_eq!(crate::apply(form, file, &delta), file);
        assert_eq!(Alternative::with_chosen(EDITOR, Some("/a")), EDITOR);
    }

    #[test]
    fn links_are_those_of_who_was_chosen_or_else_of_the_best() {
        let mut editor = Alternative::parse(EDITOR);
        let link = |path: &str, target: &str| {
            (path.to_owned(), Some(target.to_owned()).filter(|target| !target.is_empty()))
        };
        let program = |target| {
            [
                link("usr/bin/editor", "/etc/alternatives/editor"),
                link("etc/alternatives/editor", target),
            ]
        };
        let page = |through, target| {
            let link_of = link("usr/share/man/man1/editor.1.gz", through);
            [link_of, link("etc/alternatives/editor.1.gz", target)]
        };
        let french =
            |through, target| [link("man/fr", through), link("etc/alternatives/editor.fr", target)];
        let own = "/etc/alternatives/editor.1.gz";
        let vim = [
            program("/usr/bin/vim"),
            page("", ""),
            french("/etc/alternatives/editor.fr", "/man/vim.fr"),
        ];
        let ed = [program("/bin/ed"), page(own, "/man/ed"), french("", "")];
        assert_eq!(editor.links("editor", Some("/bin/ed"), |_| true), vim.concat(), "nobody chose");
        editor.manual = true;
        assert_eq!(editor.links("editor", Some("/bin/ed"), |_| true), ed.concat());
        assert_eq!(editor.links("editor", Some("/gone"), |_| true), vim.concat());
        assert_eq!(editor.links("editor", None, |path| path != "/man/vim.fr")[4..], french("", ""));
        assert!(editor.links("editor", None, |_| false).is_empty());
        assert_eq!(editor.links("..", None, |path| path == "/bin/ed").len(), 4, "no such name");
    }

    #[test]
    fn what_is_cut_or_odd_is_no_panic() {
        for end in 0..EDITOR.len() {
            let cut = Alternative::parse(&EDITOR[..end]);
            assert!(cut.choices.len() <= 2);
            let _ = Alternative::of_records([&EDITOR[..end], "", "manual", "/x\ny"].into_iter());
        }
        assert_eq!(Alternative::default().to_text(), "");
    }
}
