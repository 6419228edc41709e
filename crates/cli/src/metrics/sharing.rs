//! The metrics of sharing: a figure for each kind of event, with a label or a member for each reason.

use serde_json::{Map, Value};
use sslsweep_share_table::Kind;

use super::{Text, labels};
use crate::figures::{Figures, Sharing};

/// The name, and what it means.
fn about(kind: Kind) -> (String, &'static str) {
    let help = match kind {
        Kind::Published => "Sessions published.",
        Kind::NotPublished => "Sessions that were not published, by reason.",
        Kind::Fetched => "Sessions fetched.",
        Kind::Absent => "Fetches that found no session.",
        Kind::Refused => "Fetches that found a session and refused it, by reason.",
        Kind::Taken => "Single-use sessions taken (0-RTT).",
        Kind::Removed => "Published sessions removed.",
        Kind::Alerts => {
            "Handshakes that ended in an alert because the trust of their server name changed."
        }
        Kind::Aside => "Contexts that stand aside and share nothing, by reason.",
        Kind::Evicted => "Published sessions that left the segment for want of room.",
        Kind::Asked => "Sessions that the fleet was asked for.",
        Kind::Waits => "Handshakes that waited for the fleet, or would have, by outcome.",
        Kind::Foreign => "Lookups of ids that the fleet did not make, for which it was not asked.",
    };
    (format!("sharing_{}", kind.name()), help)
}

/// The members of a process's or a program's JSON.
pub fn json(object: &mut Value, sharing: &Sharing) {
    for kind in Kind::ALL {
        let reasons: Map<String, Value> = kind
            .events()
            .filter(|event| !event.reason().is_empty())
            .map(|event| (event.reason().to_string(), sharing.get(event).into()))
            .collect();
        let value =
            if reasons.is_empty() { sharing.sum(kind).into() } else { Value::Object(reasons) };
        object[about(kind).0] = value;
    }
}

impl Text {
    /// A process that has shared nothing has no samples: most never will.
    pub(super) fn sharing(&mut self, processes: &[Figures]) {
        for kind in Kind::ALL {
            let (name, help) = about(kind);
            let name = format!("{name}_total");
            self.begin(&name, "counter", help);
            for figures in processes.iter().filter(|figures| !figures.sharing.is_empty()) {
                for event in kind.events() {
                    let mut labels = labels(figures);
                    if !event.reason().is_empty() {
                        labels += &format!(",reason=\"{}\"", event.reason());
                    }
                    self.sample(&name, &labels, figures.sharing.get(event));
                }
            }
        }
    }
}
