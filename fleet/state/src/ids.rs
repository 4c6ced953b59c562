//! Names of things. A node's id can never be taken for a lookup's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Timestamp;

/// A text that is not an id of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not {expected}", text.escape_default())]
pub struct BadId {
    text: String,
    expected: &'static str,
}

/// 24 hexadecimal digits, as the ids of a MongoDB: seconds since 1970, then chance.
///
/// RackHD's jobs and clients insist on this form for nodes, so it stays.
fn new_object_id() -> String {
    let seconds = Timestamp::now().as_millis() / 1000;
    let chance = Uuid::new_v4();
    let mut text = format!("{:08x}", seconds & 0xffff_ffff);
    for byte in &chance.as_bytes()[8..] {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn object_id(text: &str) -> Result<String, BadId> {
    if text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(BadId { text: shorten(text), expected: "an id of 24 hexadecimal digits" })
    }
}

fn new_uuid() -> String {
    Uuid::new_v4().to_string()
}

fn uuid(text: &str) -> Result<String, BadId> {
    Uuid::try_parse(text)
        .map(|uuid| uuid.to_string())
        .map_err(|_| BadId { text: shorten(text), expected: "a UUID" })
}

/// Enough of a hostile text to recognise it.
fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $new:path, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// A new one, unlike all others.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "a default that differs each time surprises")]
            pub fn new() -> Self {
                Self($new())
            }

            /// As text, in lower case.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                $check(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A node: 24 hexadecimal digits.
    NodeId, new_object_id, object_id
);
id!(
    /// A lookup: 24 hexadecimal digits.
    LookupId, new_object_id, object_id
);
id!(
    /// An OBM record: 24 hexadecimal digits.
    ObmId, new_object_id, object_id
);
id!(
    /// A catalog: a UUID.
    CatalogId, new_uuid, uuid
);
id!(
    /// One run of a graph, RackHD's `instanceId`: a UUID.
    WorkflowId, new_uuid, uuid
);
id!(
    /// One task of one run, RackHD's task `instanceId`: a UUID.
    TaskId, new_uuid, uuid
);
id!(
    /// The record of a run, RackHD's `id` of a graph object: 24 hexadecimal digits.
    RecordId, new_object_id, object_id
);
id!(
    /// One boot of one machine: a UUID.
    BootId, new_uuid, uuid
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_have_their_form() {
        let (one, two) = (NodeId::new(), NodeId::new());
        assert_ne!(one, two);
        assert_eq!(one.as_str().parse::<NodeId>().unwrap(), one);
        let task = TaskId::new();
        assert_eq!(task.as_str().parse::<TaskId>().unwrap(), task);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "0123456789abcdef0123456", "0123456789abcdef0123456g", "ééééééééé"]
        {
            assert!(text.parse::<NodeId>().is_err());
            assert!(text.parse::<TaskId>().is_err());
        }
        let upper = "0123456789ABCDEF01234567".parse::<NodeId>().unwrap();
        assert_eq!(upper.as_str(), "0123456789abcdef01234567");
    }
}
