//! Soft dependencies: modules that should be loaded around another one, and whose absence is no failure.
//!
//! Source: modprobe.d(5), `softdep modulename pre: modules… post: modules…`.

use crate::name;

/// What one module would like to have loaded before and after it. The names may be aliases (`crypto-crc32c`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoftDependency {
    /// To load before the module, in this order.
    pub pre: Vec<String>,
    /// To load after it, in this order.
    pub post: Vec<String>,
}

impl SoftDependency {
    /// Reads what follows the module's name: `pre: a b post: c`. Names before any `pre:` or `post:` are ignored, as
    /// libkmod does.
    pub(crate) fn parse(text: &str) -> Self {
        let mut soft = Self::default();
        let mut list = None;
        for word in text.split_ascii_whitespace() {
            match word {
                "pre:" => list = Some(&mut soft.pre),
                "post:" => list = Some(&mut soft.post),
                name => {
                    if let Some(list) = &mut list {
                        list.push(name.to_owned());
                    }
                }
            }
        }
        soft
    }

    /// Adds what `other` asks for.
    pub(crate) fn extend(&mut self, other: Self) {
        self.pre.extend(other.pre);
        self.post.extend(other.post);
    }
}

/// The lines `softdep NAME REST` of a `modules.softdep`: the normalised name and what it asks for.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (String, SoftDependency)> {
    text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("softdep")?;
        let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
        let (name, rest) = rest.split_once([' ', '\t'])?;
        Some((name::normalise(name).into_owned(), SoftDependency::parse(rest)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_modprobe_reads_them() {
        let text = "# c\nsoftdep mlx4-core pre: a b post: mlx4_en\nsoftdep x\nalias y z\n";
        let found: Vec<_> = lines(text).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "mlx4_core");
        assert_eq!(found[0].1.pre, ["a", "b"]);
        assert_eq!(found[0].1.post, ["mlx4_en"]);
    }
}
