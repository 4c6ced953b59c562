//! "Did you mean": names near to one that does not exist.

/// Up to three of `candidates` that are nearest to `name`, nearest first; names too far away to be a slip are left out.
pub fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // A third of the letters may differ: `openssh-sever` is a slip, `nginx` for `apache2` is not.
    let limit = (name.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= limit)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// Damerau's distance: inserted, removed and replaced characters, and neighbours that have changed places.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    // The rows for what `left` begins with: without its last two characters, without its last one, with all.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = row[j] + usize::from(a != b);
            let mut least = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        assert_eq!(near("overlya", ["base", "overlay", "kernel"]), ["overlay"]);
        assert_eq!(near("packges", ["packages", "script"]), ["packages"]);
        assert_eq!(near("amd46", ["amd64", "arm64"]), ["amd64"]);
        assert!(near("zfs", ["base", "overlay"]).is_empty());
    }
}
