//! Who must be loaded before whom.

/// For each module the closure of what it needs, sorted so that no module stands after one that it needs: the last is
/// to be loaded first. `direct[i]` are the modules that `i` needs by itself, each once.
///
/// # Errors
/// The modules that stand on a circle or need one that does, if there is a circle.
pub(super) fn closures(direct: &[Vec<usize>]) -> Result<Vec<Vec<usize>>, Vec<usize>> {
    let position = positions(direct)?;
    // By falling position: what a module needs is complete before the module itself is looked at.
    let mut by_position: Vec<usize> = (0..direct.len()).collect();
    by_position.sort_unstable_by_key(|index| std::cmp::Reverse(position[*index]));
    let mut all: Vec<Vec<usize>> = vec![Vec::new(); direct.len()];
    for index in by_position {
        let mut needs = Vec::new();
        for need in &direct[index] {
            needs.push(*need);
            needs.extend_from_slice(&all[*need]);
        }
        needs.sort_unstable_by_key(|need| position[*need]);
        needs.dedup();
        all[index] = needs;
    }
    Ok(all)
}

/// A place for each module in one order in which every module stands before all that it needs (Kahn's algorithm; the
/// stack makes the order the one that depmod finds).
fn positions(direct: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut users = vec![0usize; direct.len()];
    for need in direct.iter().flatten() {
        users[*need] += 1;
    }
    let mut ready: Vec<usize> = (0..direct.len()).filter(|index| users[*index] == 0).collect();
    let mut position = vec![usize::MAX; direct.len()];
    let mut next = 0;
    while let Some(index) = ready.pop() {
        position[index] = next;
        next += 1;
        for need in &direct[index] {
            users[*need] -= 1;
            if users[*need] == 0 {
                ready.push(*need);
            }
        }
    }
    if next == direct.len() {
        return Ok(position);
    }
    Err((0..direct.len()).filter(|index| position[*index] == usize::MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stands_behind() {
        // 0 needs 1 and 2, 1 needs 2, 2 needs 3.
        let all = closures(&[vec![1, 2], vec![2], vec![3], vec![]]).unwrap();
        assert_eq!(all, [vec![1, 2, 3], vec![2, 3], vec![3], vec![]]);
    }

    #[test]
    fn a_circle_is_named() {
        assert_eq!(closures(&[vec![1], vec![2], vec![1], vec![]]), Err(vec![1, 2]));
        assert_eq!(closures(&[vec![0]]), Err(vec![0]));
    }
}
