//! Names that somebody may have meant.

/// The most names that are offered.
const OFFERED: usize = 5;

/// Up to five of `names` that look like `wanted`, the nearest first.
pub(super) fn names<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    // Longer names may differ in more places. Beyond that, only what has the word as a part is near.
    let allowed = (wanted.len() / 5).clamp(1, 2);
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            if wanted.len() <= 64 && name.len().abs_diff(wanted.len()) <= allowed {
                let distance = distance(wanted.as_bytes(), name.as_bytes());
                if distance <= allowed {
                    return Some((distance, name));
                }
            }
            let part = wanted.len() >= 3
                && name
                    .match_indices(wanted)
                    .any(|(at, _)| is_edge(name, at) && is_edge(name, at + wanted.len()));
            part.then(|| (allowed + name.len() - wanted.len(), name))
        })
        .collect();
    near.sort_unstable();
    near.truncate(OFFERED);
    near.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// Whether a word may start or end at this byte of a name.
fn is_edge(name: &str, at: usize) -> bool {
    at == 0 || at >= name.len() || name.as_bytes()[at] == b'-' || name.as_bytes()[at - 1] == b'-'
}

/// How many letters are inserted, dropped, replaced or swapped with their neighbour (optimal string
/// alignment).
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let replaced = above[j] + usize::from(l != r);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                let swapped: &Vec<usize> = &before;
                best = best.min(swapped[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let distance = |a: &str, b: &str| distance(a.as_bytes(), b.as_bytes());
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("curl", "curl"), 0);
        assert_eq!(distance("crul", "curl"), 1);
        assert_eq!(distance("openssh", "opensh"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn near_names_first() {
        let all = ["curl", "nvme-cli", "openssh-server", "openssh-client", "vim-tiny", "vim"];
        let near = |wanted| names(wanted, all.into_iter());
        assert_eq!(near("crul"), ["curl"]);
        assert_eq!(near("opensshserver"), ["openssh-server"]);
        assert_eq!(near("nvme"), ["nvme-cli"]);
        assert_eq!(near("openssh"), ["openssh-client", "openssh-server"]);
        assert_eq!(near("ssh-server"), Vec::<String>::new());
        assert_eq!(near("x"), Vec::<String>::new());
        assert_eq!(near(&"y".repeat(10_000)), Vec::<String>::new());
    }
}
