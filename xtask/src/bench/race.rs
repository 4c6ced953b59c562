//! The rounds of a row, and what came of them: in turn, so that a machine that drifts does so for all.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::measure::Sample;

/// One who takes part: it is run with the number of the round.
pub(crate) struct Contender<'b> {
    name: &'static str,
    /// Whether it fetches something, which a round 0 that is not counted leaves in the caches.
    fetches: bool,
    run: Box<dyn Fn(usize) -> Result<Sample> + 'b>,
}

impl<'b> Contender<'b> {
    pub(crate) fn new(name: &'static str, run: impl Fn(usize) -> Result<Sample> + 'b) -> Self {
        Self { name, fetches: false, run: Box::new(run) }
    }

    /// One that fetches something.
    pub(crate) fn fetching(name: &'static str, run: impl Fn(usize) -> Result<Sample> + 'b) -> Self {
        Self { fetches: true, ..Self::new(name, run) }
    }
}

/// What ours is to reach. Contenders are named by their place.
#[derive(Debug, Clone)]
pub(crate) enum Goal {
    /// So many times as fast as a peer, at least.
    Faster { ours: usize, peer: usize, times: f64 },
    /// What is marked on ours is there so many times sooner than a peer ends, at least: ours goes on to what the peer does not do.
    Sooner { ours: usize, peer: usize, times: f64 },
    /// Within so many seconds.
    Seconds { ours: usize, at_most: f64 },
    /// At most so many bytes of memory at once.
    Memory { ours: usize, at_most: u64 },
    /// At most that share of a peer's memory.
    LessMemory { ours: usize, peer: usize, share: f64 },
    /// Not larger than what a peer makes.
    NotLarger { ours: usize, peer: usize },
    /// What was made has a size, and is to be at most as large.
    Size { what: String, bytes: u64, at_most: u64 },
}

/// A row of the table, ready to be run.
pub(crate) struct Race<'b> {
    pub(crate) contenders: Vec<Contender<'b>>,
    pub(crate) goals: Vec<Goal>,
}

impl Race<'_> {
    /// The round that is not counted.
    pub(crate) fn fill(&self) -> Result<()> {
        for Contender { name, run, .. } in self.contenders.iter().filter(|one| one.fetches) {
            let sample = run(0).with_context(|| (*name).to_owned())?;
            eprintln!("  filling caches: {name}: {}", seconds(sample.seconds));
        }
        Ok(())
    }

    /// The rounds that are.
    pub(crate) fn run(&self, runs: usize) -> Result<Vec<Figures>> {
        let mut samples: Vec<Vec<Sample>> = vec![Vec::with_capacity(runs); self.contenders.len()];
        for round in 1..=runs {
            for (Contender { name, run, .. }, samples) in self.contenders.iter().zip(&mut samples) {
                let sample = run(round).with_context(|| (*name).to_owned())?;
                eprintln!("  {round} of {runs}: {name}: {}", seconds(sample.seconds));
                samples.push(sample);
            }
        }
        let named = self.contenders.iter().zip(samples);
        named.map(|(contender, samples)| Figures::of(contender.name, &samples)).collect()
    }
}

/// What the rounds of one contender came to.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    name: &'static str,
    /// Median, fastest, slowest.
    seconds: [f64; 3],
    /// Medians.
    cpu: f64,
    mark: Option<(&'static str, f64)>,
    /// The most of all rounds.
    peak: Option<u64>,
    size: Option<u64>,
}

impl Figures {
    fn of(name: &'static str, samples: &[Sample]) -> Result<Self> {
        let of = |figure: &dyn Fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
        let times = of(&|sample| sample.seconds).context("no round was run")?;
        let last = samples.last().context("no round was run")?;
        let marks = samples.iter().filter_map(|sample| Some(sample.mark?.1)).collect();
        Ok(Self {
            name,
            seconds: times,
            cpu: of(&|sample| sample.cpu).map_or(0.0, |[median, ..]| median),
            mark: last.mark.zip(median(marks)).map(|((what, _), [median, ..])| (what, median)),
            peak: samples.iter().filter_map(|sample| sample.peak).max(),
            size: last.size,
        })
    }
}

/// Median, least and greatest.
fn median(mut figures: Vec<f64>) -> Option<[f64; 3]> {
    figures.sort_by(f64::total_cmp);
    let (first, last) = (*figures.first()?, *figures.last()?);
    let half = figures.len() / 2;
    let middle = match figures.len() % 2 {
        1 => figures[half],
        _ => f64::midpoint(figures[half - 1], figures[half]),
    };
    Some([middle, first, last])
}

/// Whether a goal was met, and how near it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    text: String,
    pub(crate) met: bool,
}

impl Goal {
    pub(crate) fn judge(&self, figures: &[Figures]) -> Result<Verdict> {
        let of = |place: usize| figures.get(place).context("a goal names nobody");
        let peak = |place: usize| of(place)?.peak.context("nobody looked at memory");
        let size = |place: usize| of(place)?.size.context("nobody looked at the size");
        let (text, met) = match self {
            Self::Faster { ours, peer, times } => {
                let (ours, peer) = (of(*ours)?, of(*peer)?);
                let ratio = peer.seconds[0] / ours.seconds[0];
                let goal = format!("at least {times} times as fast as {}", peer.name);
                let text = format!("{}: {goal}: {ratio:.1} times", ours.name);
                (text, ratio >= *times)
            }
            Self::Sooner { ours, peer, times } => {
                let (ours, peer) = (of(*ours)?, of(*peer)?);
                let (what, seconds) = ours.mark.context("nothing is marked")?;
                let ratio = peer.seconds[0] / seconds;
                let goal = format!("{what} at least {times} times as fast as by {}", peer.name);
                (format!("{}: {goal}: {ratio:.1} times", ours.name), ratio >= *times)
            }
            Self::Seconds { ours, at_most } => {
                let ours = of(*ours)?;
                let text =
                    format!("{}: at most {at_most} s: {}", ours.name, seconds(ours.seconds[0]));
                (text, ours.seconds[0] <= *at_most)
            }
            Self::Memory { ours, at_most } => {
                let (name, peak) = (of(*ours)?.name, peak(*ours)?);
                let text =
                    format!("{name}: at most {} of memory: {}", bytes(*at_most), bytes(peak));
                (text, peak <= *at_most)
            }
            Self::LessMemory { ours, peer, share } => {
                let (name, whose) = (of(*ours)?.name, of(*peer)?.name);
                let ratio = to_f64(peak(*ours)?) / to_f64(peak(*peer)?);
                let text =
                    format!("{name}: at most {share:.2} of the memory of {whose}: {ratio:.2}");
                (text, ratio <= *share)
            }
            Self::NotLarger { ours, peer } => {
                let (name, whose) = (of(*ours)?.name, of(*peer)?.name);
                let ratio = to_f64(size(*ours)?) / to_f64(size(*peer)?);
                let text = format!("{name}: not larger than what {whose} makes: {ratio:.3} of it");
                (text, ratio <= 1.0)
            }
            Self::Size { what, bytes: size, at_most } => {
                let text = format!("{what}: at most {}: {}", bytes(*at_most), bytes(*size));
                (text, size <= at_most)
            }
        };
        Ok(Verdict { text, met })
    }
}

/// A row's figures as Markdown, for docs/benchmarks.md.
pub(crate) fn markdown(figures: &[Figures], verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    if !figures.is_empty() {
        let (peaks, sizes) =
            (figures.iter().any(|f| f.peak.is_some()), figures.iter().any(|f| f.size.is_some()));
        let columns = [("peak memory", peaks), ("size", sizes)];
        let columns = columns.iter().filter(|(_, shown)| *shown);
        let names: Vec<&str> = ["contender", "median", "fastest", "slowest", "CPU"]
            .into_iter()
            .chain(columns.map(|(name, _)| *name))
            .collect();
        text += &row(&names);
        text += &row(&vec!["---"; names.len()]);
        for one in figures {
            let mut cells = vec![one.name.to_owned()];
            cells.extend(one.seconds.map(seconds));
            cells.push(seconds(one.cpu));
            cells.extend(peaks.then(|| one.peak.map(bytes).unwrap_or_default()));
            cells.extend(sizes.then(|| one.size.map(bytes).unwrap_or_default()));
            text += &row(&cells);
            if let Some((what, median)) = one.mark {
                let mut cells = vec![format!("{}: until {what}", one.name), seconds(median)];
                cells.resize(names.len(), String::new());
                text += &row(&cells);
            }
        }
        text.push('\n');
    }
    for verdict in verdicts {
        let met = if verdict.met { "met" } else { "**not met**" };
        text += &format!("- {}, {met}\n", verdict.text);
    }
    text
}

/// The same for programs.
pub(crate) fn to_json(row: &str, runs: usize, figures: &[Figures], verdicts: &[Verdict]) -> Value {
    let contenders = figures.iter().map(|one| {
        let [median, fastest, slowest] = one.seconds;
        let mark = one.mark.map(|(what, seconds)| json!({ "what": what, "seconds": seconds }));
        json!({
            "name": one.name, "median": median, "fastest": fastest, "slowest": slowest,
            "cpu": one.cpu, "peak": one.peak, "size": one.size, "mark": mark,
        })
    });
    let goals = verdicts.iter().map(|verdict| json!({ "goal": verdict.text, "met": verdict.met }));
    json!({
        "row": row, "runs": runs,
        "contenders": contenders.collect::<Vec<_>>(), "goals": goals.collect::<Vec<_>>(),
    })
}

fn row(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn seconds(seconds: f64) -> String {
    if seconds < 0.1 { format!("{seconds:.3} s") } else { format!("{seconds:.2} s") }
}

/// As `overboot` writes sizes.
fn bytes(bytes: u64) -> String {
    format!("{:.1} MB", to_f64(bytes) / 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "no size here has 53 bits")]
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(name: &'static str, seconds: &[f64], peak: u64) -> Figures {
        let sample = |seconds: &f64| Sample {
            seconds: *seconds,
            cpu: 1.0,
            peak: Some(peak),
            size: Some(peak),
            mark: Some(("half", *seconds / 2.0)),
            ..Sample::default()
        };
        Figures::of(name, &seconds.iter().map(sample).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn medians_decide_and_a_goal_that_is_missed_is_said_so() {
        let all = [
            figures("ours", &[2.0, 9.0, 1.0], 100_000_000),
            figures("peer", &[9.0, 11.0, 10.0, 10.0], 400_000_000),
        ];
        let faster = |times| Goal::Faster { ours: 0, peer: 1, times }.judge(&all).unwrap();
        assert_eq!(faster(5.0).text, "ours: at least 5 times as fast as peer: 5.0 times");
        assert!(faster(5.0).met && !faster(5.1).met);
        let sooner = Goal::Sooner { ours: 0, peer: 1, times: 10.0 }.judge(&all).unwrap();
        assert_eq!(sooner.text, "ours: half at least 10 times as fast as by peer: 10.0 times");
        assert!(sooner.met);
        let share = |share| Goal::LessMemory { ours: 0, peer: 1, share }.judge(&all).unwrap().met;
        assert!(share(0.25) && !share(0.24));
        assert!(Goal::Seconds { ours: 0, at_most: 2.0 }.judge(&all).unwrap().met);
        assert!(!Goal::Memory { ours: 0, at_most: 99_999_999 }.judge(&all).unwrap().met);
        assert!(Goal::NotLarger { ours: 0, peer: 1 }.judge(&all).unwrap().met);
        let large = Goal::Size { what: "base".to_owned(), bytes: 46, at_most: 45 };
        let text = markdown(&all, &[faster(5.0), large.judge(&all).unwrap()]);
        assert_eq!(
            text,
            "| contender | median | fastest | slowest | CPU | peak memory | size |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n\
             | ours | 2.00 s | 1.00 s | 9.00 s | 1.00 s | 100.0 MB | 100.0 MB |\n\
             | ours: until half | 1.00 s |  |  |  |  |  |\n\
             | peer | 10.00 s | 9.00 s | 11.00 s | 1.00 s | 400.0 MB | 400.0 MB |\n\
             | peer: until half | 5.00 s |  |  |  |  |  |\n\n\
             - ours: at least 5 times as fast as peer: 5.0 times, met\n\
             - base: at most 0.0 MB: 0.0 MB, **not met**\n"
        );
    }
}
