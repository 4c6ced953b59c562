//! Boots of machines, stage by stage, as the servers saw them and as the nodes reported them.

use std::time::Duration;

use overboot_dhcp::Mac;
use overboot_wire::{Stage, StageReport};
use serde::{Deserialize, Serialize};

use crate::{BootId, Timestamp};

/// Firmware that is heard of again after this long is taken to start anew. PXE ROMs give up and start over after one
/// to two minutes at most; while it goes on, it is the same attempt.
const FIRMWARE_SILENCE: Duration = Duration::from_secs(300);

/// A node's clock that goes back by more than this between two reports has been restarted. Reports of one boot may
/// overtake each other by far less.
const CLOCK_SLACK_MS: u64 = 1_000;

/// One event of a boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootEvent {
    /// The stage that was reached, or failed in.
    pub stage: Stage,
    /// When the server heard of it.
    pub received_at: Timestamp,
    /// The node's clock: milliseconds since its kernel started. Absent from what a server saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// The kernel's name for this boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Bytes that the stage moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// No text of a report is kept longer than this; nodes are not to be trusted with our disk.
const MAX_TEXT: usize = 2_000;

impl BootEvent {
    /// What a server saw, now.
    #[must_use]
    pub fn seen(stage: Stage, detail: Option<String>) -> Self {
        Self {
            stage,
            received_at: Timestamp::now(),
            at_ms: None,
            boot_id: None,
            detail: detail.map(bounded),
            bytes: None,
            error: None,
        }
    }

    /// What a node reported, received now.
    #[must_use]
    pub fn reported(report: StageReport) -> Self {
        Self {
            stage: report.stage,
            received_at: Timestamp::now(),
            at_ms: Some(report.at_ms),
            boot_id: report.boot_id.map(bounded),
            detail: report.detail.map(bounded),
            bytes: report.bytes,
            error: report.error.map(bounded),
        }
    }
}

fn bounded(text: String) -> String {
    if text.len() <= MAX_TEXT { text } else { text.chars().take(MAX_TEXT / 4).collect() }
}

/// One boot of one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Boot {
    /// Its id.
    pub id: BootId,
    /// The machine's boot interface.
    pub mac_address: Mac,
    /// When the first event came.
    pub started_at: Timestamp,
    /// When the last one came.
    pub updated_at: Timestamp,
    /// The furthest stage.
    pub stage: Stage,
    /// The kernel's name for it, once a node has reported one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The last time on the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// How many events it has.
    pub events: i64,
}

impl Boot {
    /// A boot that begins with `event`.
    #[must_use]
    pub fn begin(mac_address: Mac, event: &BootEvent) -> Self {
        Self {
            id: BootId::new(),
            mac_address,
            started_at: event.received_at,
            updated_at: event.received_at,
            stage: event.stage,
            boot_id: event.boot_id.clone(),
            at_ms: event.at_ms,
            events: 1,
        }
    }

    /// The boot after `event`, or nothing if `event` belongs to the next boot.
    #[must_use]
    pub fn then(&self, event: &BootEvent) -> Option<Self> {
        let same = if event.stage <= Stage::Script {
            // No firmware runs once a kernel does.
            self.stage <= Stage::Script
                && event.received_at.since(self.updated_at) <= FIRMWARE_SILENCE
        } else if let (Some(known), Some(new)) = (&self.boot_id, &event.boot_id) {
            known == new
        } else if let (Some(known), Some(new)) = (self.at_ms, event.at_ms) {
            known <= new.saturating_add(CLOCK_SLACK_MS)
        } else {
            true
        };
        same.then(|| Self {
            updated_at: event.received_at,
            stage: self.stage.max(event.stage),
            boot_id: event.boot_id.clone().or_else(|| self.boot_id.clone()),
            at_ms: self.at_ms.max(event.at_ms),
            events: self.events + 1,
            ..self.clone()
        })
    }
}

/// A boot with its events, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The boot.
    #[serde(flatten)]
    pub boot: Boot,
    /// Its events.
    #[serde(rename = "timeline")]
    pub events: Vec<BootEvent>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The boot it belongs to.
    pub boot: Boot,
    /// The event's stage; the boot itself may be further.
    pub stage: Stage,
    /// Whether that boot began with it.
    pub began: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac::new([0x52, 0x54, 0, 0, 0, 1]);

    fn seen(stage: Stage, at: i64) -> BootEvent {
        BootEvent { received_at: Timestamp::from_millis(at), ..BootEvent::seen(stage, None) }
    }

    fn reported(stage: Stage, at_ms: u64, boot_id: Option<&str>) -> BootEvent {
        BootEvent {
            at_ms: Some(at_ms),
            boot_id: boot_id.map(str::to_owned),
            ..seen(stage, i64::try_from(at_ms).unwrap() + 20_000)
        }
    }

    /// The boots that a list of events makes.
    fn boots(events: &[BootEvent]) -> Vec<i64> {
        let mut boots: Vec<Boot> = Vec::new();
        for event in events {
            match boots.last().and_then(|boot| boot.then(event)) {
                Some(next) => *boots.last_mut().unwrap() = next,
                None => boots.push(Boot::begin(MAC, event)),
            }
        }
        boots.iter().map(|boot| boot.events).collect()
    }

    #[test]
    fn one_way_from_firmware_to_agent_is_one_boot() {
        let events = [
            seen(Stage::DhcpOffer, 0),
            seen(Stage::Loader, 100),
            seen(Stage::DhcpOffer, 4_000),
            seen(Stage::Script, 4_500),
            reported(Stage::Kernel, 0, Some("b1")),
            reported(Stage::Init, 900, Some("b1")),
            reported(Stage::Agent, 9_000, Some("b1")),
            seen(Stage::Agent, 30_000),
        ];
        assert_eq!(boots(&events), [8]);
    }

    #[test]
    fn firmware_after_a_kernel_is_the_next_boot() {
        let events = [
            seen(Stage::Script, 0),
            seen(Stage::Agent, 10_000),
            seen(Stage::Script, 60_000),
            seen(Stage::Script, 61_000),
        ];
        assert_eq!(boots(&events), [2, 2]);
    }

    #[test]
    fn firmware_that_was_silent_for_long_starts_anew() {
        assert_eq!(boots(&[seen(Stage::Script, 0), seen(Stage::DhcpOffer, 400_000)]), [1, 1]);
    }

    #[test]
    fn another_boot_id_or_a_restarted_clock_is_another_boot() {
        let ids = [
            reported(Stage::Kernel, 0, Some("b1")),
            reported(Stage::Agent, 9_000, Some("b1")),
            reported(Stage::Kernel, 0, Some("b2")),
        ];
        assert_eq!(boots(&ids), [2, 1]);
        let clocks = [
            reported(Stage::Init, 900, None),
            reported(Stage::Link, 800, None),
            reported(Stage::Agent, 9_000, None),
            reported(Stage::Kernel, 0, None),
        ];
        assert_eq!(boots(&clocks), [3, 1]);
    }
}
