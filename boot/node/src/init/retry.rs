//! Which server to ask next, and when to give up. Pure: time comes in as numbers.

/// What a failure says about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// A passing trouble: refused, reset, timed out.
    Passing,
    /// It gave wrong bytes or has not the file; it will most likely do so again.
    Server,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask this server after so many milliseconds.
    Ask {
        /// Its number.
        server: usize,
        /// Milliseconds.
        after: u64,
    },
    /// No hope left.
    GiveUp,
}

/// Counts failures over several servers that have the same files.
#[derive(Debug)]
pub struct Retry {
    /// How often each server was to blame.
    strikes: Vec<u32>,
    current: usize,
    failures: u32,
    /// When something last went well.
    good: u64,
    patience: u64,
}

impl Retry {
    /// A server that was to blame this often is not asked again.
    const STRIKES: u32 = 3;

    /// `servers` of them, the first preferred; at time `now` nothing has failed yet. Without progress for `patience`
    /// milliseconds there is no hope.
    #[must_use]
    pub fn new(servers: usize, now: u64, patience: u64) -> Self {
        Self { strikes: vec![0; servers], current: 0, failures: 0, good: now, patience }
    }

    /// The server to ask.
    #[must_use]
    pub fn server(&self) -> usize {
        self.current
    }

    /// Good bytes came.
    pub fn progress(&mut self, now: u64) {
        self.good = now;
        self.failures = 0;
    }

    /// The current server failed.
    pub fn failed(&mut self, now: u64, blame: Blame) -> Next {
        if let (Blame::Server, Some(strikes)) = (blame, self.strikes.get_mut(self.current)) {
            *strikes += 1;
        }
        self.failures += 1;
        let count = self.strikes.len();
        let hopeful = (1..=count)
            .map(|step| (self.current + step) % count)
            .filter(|s| self.strikes[*s] < Self::STRIKES);
        let hopeful: Vec<usize> = hopeful.collect();
        let Some(server) = hopeful.first() else { return Next::GiveUp };
        if now.saturating_sub(self.good) >= self.patience {
            return Next::GiveUp;
        }
        self.current = *server;
        // Each server once at once; then pauses that double, from a quarter of a second to eight.
        let rounds = (self.failures - 1) / u32::try_from(hopeful.len()).unwrap_or(u32::MAX);
        let first = self.failures < u32::try_from(hopeful.len()).unwrap_or(u32::MAX);
        let after = if first { 0 } else { 250 << rounds.min(5) };
        Next::Ask { server: *server, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_asked_again_with_growing_pauses_until_patience_ends() {
        let mut retry = Retry::new(1, 0, 60_000);
        let (mut now, mut pauses) = (0, Vec::new());
        while let Next::Ask { after, server } = retry.failed(now, Blame::Passing) {
            assert_eq!(server, 0);
            pauses.push(after);
            now += after;
        }
        assert_eq!(pauses[..7], [250, 500, 1000, 2000, 4000, 8000, 8000]);
        assert!((60_000..70_000).contains(&now));
        retry.progress(now);
        assert_eq!(retry.failed(now, Blame::Passing), Next::Ask { server: 0, after: 250 });
    }

    #[test]
    fn others_are_asked_at_once_and_the_guilty_no_more() {
        let mut retry = Retry::new(3, 0, 60_000);
        assert_eq!(retry.failed(0, Blame::Server), Next::Ask { server: 1, after: 0 });
        assert_eq!(retry.failed(0, Blame::Passing), Next::Ask { server: 2, after: 0 });
        assert_eq!(retry.failed(0, Blame::Passing), Next::Ask { server: 0, after: 250 });
        for _ in 0..20 {
            retry.progress(0);
            let Next::Ask { server, .. } = retry.failed(0, Blame::Server) else { break };
            assert!(server < 3);
        }
        assert_eq!(retry.failed(0, Blame::Server), Next::GiveUp);
    }

    #[test]
    fn wrong_bytes_from_the_only_server_are_not_asked_for_for_ever() {
        let mut retry = Retry::new(1, 0, u64::MAX);
        assert!(matches!(retry.failed(0, Blame::Server), Next::Ask { .. }));
        assert!(matches!(retry.failed(0, Blame::Server), Next::Ask { .. }));
        assert_eq!(retry.failed(0, Blame::Server), Next::GiveUp);
        assert_eq!(Retry::new(0, 0, 1).failed(0, Blame::Passing), Next::GiveUp);
    }
}
