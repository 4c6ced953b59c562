//! What node and server say to each other.
//!
//! | module | what it fixes |
//! |---|---|
//! | [`task`] | the task document: commands down, results up (RackHD's, with three additions) |
//! | [`stage`] | a node's report that it reached a boot stage, or why it did not |
//! | [`cmdline`] | the kernel command line that the server writes and init reads |
//! | [`path`] | the URLs of all of it |
//!
//! Types and their text forms only: no I/O, no clock, no decision. It must stay free of dependencies
//! beyond serde, because the static init carries it.

pub mod cmdline;
pub mod path;
pub mod stage;
pub mod task;

pub use cmdline::{Cmdline, CmdlineError, Ip, StaticIp};
pub use stage::{Stage, StageReport};
pub use task::{Bootstrap, Login, OutputReport, Task, TaskDoc, TaskError, TaskFailure, Window};

/// A MAC address in the one form used on the wire, `52:54:00:12:34:56`; `None` if `text` is none.
///
/// Takes colons or dashes, either case, and `BOOTIF`'s leading hardware type (`01-`, pxelinux).
#[must_use]
pub fn mac(text: &str) -> Option<String> {
    let text = text.trim();
    let text = match text.len() {
        20 => text.strip_prefix("01-").or_else(|| text.strip_prefix("01:"))?,
        17 => text,
        _ => return None,
    };
    let octets: Vec<&str> = text.split([':', '-']).collect();
    let well_formed = octets.len() == 6
        && octets.iter().all(|o| o.len() == 2 && o.bytes().all(|b| b.is_ascii_hexdigit()));
    well_formed.then(|| octets.join(":").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::mac;

    #[test]
    fn a_mac_has_one_form_whatever_the_loader_wrote() {
        let want = Some("52:54:00:ab:cd:ef".to_owned());
        for text in [
            "52:54:00:ab:cd:ef",
            "52-54-00-AB-CD-EF",
            "01-52-54-00-ab-cd-ef",
            "01-52:54:00:ab:cd:ef",
            " 52:54:00:AB:CD:EF\n",
        ] {
            assert_eq!(mac(text), want, "{text}");
        }
        for bad in [
            "",
            "01-",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:eg",
            "02-52-54-00-ab-cd-ef",
            "é:é:é:é:é:é",
        ] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }
}
