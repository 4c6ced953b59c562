//! The numbers that a machine lends its users (subuid(5), subgid(5)).

use std::path::Path;

use super::{Refusal, USERS, User};

/// Numbers in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// Where useradd(8) begins to lend.
const FIRST_LENT: u32 = 100_000;

/// What the file lends the user: as many as a tree needs, beside the user's own number.
pub(super) fn of(user: &User, file: &Path) -> Result<Vec<Range>, Refusal> {
    // A machine that lends nothing has no such file.
    let text = std::fs::read_to_string(file).unwrap_or_default();
    chosen(user, &text).map_err(|count| {
        let end = lines(&text).map(|(_, range)| range.first.saturating_add(range.count)).max();
        Refusal::TooFew {
            user: user.name.clone(),
            file: file.to_owned(),
            count,
            free: end.unwrap_or(0).max(FIRST_LENT),
        }
    })
}

/// Or how many there are, where those are too few.
fn chosen(user: &User, text: &str) -> Result<Vec<Range>, u32> {
    let number = user.uid.to_string();
    let mut missing = USERS - 1;
    let mut chosen = Vec::new();
    for (_, range) in lines(text).filter(|(name, _)| *name == user.name || *name == number) {
        let count = range.count.min(missing);
        // The rest of a longer one is not used: a build must not depend on how much a machine lends.
        chosen.extend((count > 0).then_some(Range { count, ..range }));
        missing -= count;
    }
    if missing == 0 { Ok(chosen) } else { Err(USERS - 1 - missing) }
}

/// Who is lent what. What is no such line is passed over, as newuidmap(1) does.
fn lines(text: &str) -> impl Iterator<Item = (&str, Range)> {
    text.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let mut number = || parts.next()?.trim().parse::<u32>().ok();
        Some((name, Range { first: number()?, count: number()? }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> User {
        User { uid: 1000, gid: 1000, name: "alice".to_owned() }
    }

    #[test]
    fn as_many_are_taken_as_are_needed() {
        let range = |first, count| Range { first, count };
        let text = "bob:100000:65536\nalice:165536:65536\n";
        assert_eq!(chosen(&alice(), text), Ok(vec![range(165_536, 65_535)]));
        // By name or number, in several lines, whatever else is there.
        let text = "# no line\nalice:1:x\nalice:200000:40000\n1000:300000:65536\nalice:500000:10\n";
        let both = vec![range(200_000, 40_000), range(300_000, 25_535)];
        assert_eq!(chosen(&alice(), text), Ok(both));
    }

    #[test]
    fn too_few_are_told_with_the_line_to_write() {
        for (text, count) in [("", 0), ("bob:100000:65536\n", 0), ("alice:100000:1000\n", 1000)] {
            assert_eq!(chosen(&alice(), text), Err(count), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("subuid");
        std::fs::write(&file, "bob:100000:65536\nalice:165536:5\n").unwrap();
        let refusal = of(&alice(), &file).unwrap_err();
        let said = refusal.to_string();
        assert!(said.contains("lends alice 5 numbers"), "{said}");
        assert!(refusal.hint().unwrap().contains("alice:165541:65536"), "{refusal:?}");
        let refusal = of(&alice(), &folder.path().join("none")).unwrap_err();
        assert!(refusal.to_string().contains("lends alice no numbers"), "{refusal}");
        assert!(refusal.hint().unwrap().contains("alice:100000:65536"), "{refusal:?}");
    }
}
