//! What a push or pull tells.

use std::sync::PoisonError;

use indicatif::{ProgressBar, ProgressStyle};
use overboot_registry::Event;

use super::{Printer, Way, size};

impl Printer {
    /// Tells how far a push or pull is.
    pub(crate) fn transfer(&self, event: &Event) {
        self.json(event);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Transferring { target, blobs: 0, .. } => {
                self.note(format!("  {target:<24} nothing to transfer"));
            }
            Event::Transferring { target, blobs, bytes } => {
                if self.way == Way::Bars {
                    let bar = self.bars.add(ProgressBar::new(*bytes));
                    let template = "  {prefix:24} {decimal_bytes:>9} of {decimal_total_bytes} {decimal_bytes_per_sec:>12} {wide_bar}";
                    let style = ProgressStyle::with_template(template);
                    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                    bar.set_prefix(target.clone());
                    running.insert(target.clone(), bar);
                } else {
                    let s = if *blobs == 1 { "" } else { "s" };
                    self.note(format!("  {target:<24} {blobs} blob{s}, {}", size(*bytes)));
                }
            }
            Event::Transferred { target, bytes } => {
                if let Some(bar) = running.get(target) {
                    bar.set_position(*bytes);
                }
            }
            Event::Pushed { target, .. } | Event::Pulled { target, .. } => {
                if let Some(bar) = running.remove(target) {
                    bar.finish_and_clear();
                }
            }
            Event::Skipped { tags, reason } => {
                const SHOWN: usize = 5;
                let more = match tags.len().saturating_sub(SHOWN) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let tags = tags[..tags.len().min(SHOWN)].join(", ");
                self.note(format!("  skipped {tags}{more}: {reason}"));
            }
        }
    }
}
