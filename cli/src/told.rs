//! What a person can do about an error: hints travel beside messages, and are found wherever in the chain of causes they are.

use std::error::Error as StdError;
use std::fmt;

/// Something that the user must put right: what is wrong, and what to do.
#[derive(Debug)]
pub(crate) struct Told {
    message: String,
    help: String,
}

/// An error of our own, with its remedy.
pub(crate) fn told(message: impl Into<String>, help: impl Into<String>) -> anyhow::Error {
    Told { message: message.into(), help: help.into() }.into()
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Told {}

/// The first hint in the chain. An error that wraps another one transparently forwards its hint: here only the outer is seen.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(told) = error.downcast_ref::<Told>() {
        return Some(told.help.clone());
    }
    // Of namespaces, too, the kernel says that there is no space for another one (unshare(2)).
    let of_namespaces = error.chain().any(|cause| cause.is::<overboot_build::Refusal>());
    if !of_namespaces && error.chain().any(is_full) {
        return Some("Free some space there and run it again: what was finished stays, and what was fetched is gone on with.".to_owned());
    }
    error.chain().find_map(of)
}

/// Is it a disk without space? Whoever met it, there is one remedy.
fn is_full(error: &(dyn StdError + 'static)) -> bool {
    use std::io::{Error, ErrorKind};
    let kind = error.downcast_ref::<Error>().map(Error::kind);
    matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

fn of(error: &(dyn StdError + 'static)) -> Option<String> {
    macro_rules! of_any {
        ($($kind:ty),*) => {
            $(if let Some(error) = error.downcast_ref::<$kind>() {
                return error.hint().map(Into::into);
            })*
        };
    }
    if let Some(told) = error.downcast_ref::<Told>() {
        return Some(told.help.clone());
    }
    of_any!(
        overboot_build::Error,
        overboot_build::Refusal,
        overboot_inspect::Error,
        overboot_registry::Error,
        overboot_store::Error,
        overboot_bootset::Error,
        overboot_server::Error,
        overboot_state::Error,
        overboot_vm::Error
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_hint_is_found_at_any_depth() {
        let store = || overboot_store::Store::open("/nonexistent").unwrap_err();
        let wanted = store().hint().map(str::to_owned);
        assert!(wanted.is_some());
        assert_eq!(hint(&store().into()), wanted);
        let wrapped = overboot_build::Error::from(store());
        assert_eq!(hint(&wrapped.into()), wanted, "wrapped transparently");
        let nested = Err::<(), _>(overboot_server::Error::Store(store())).context("serving");
        assert_eq!(hint(&nested.unwrap_err()), wanted, "two below");
        let ours = Err::<(), _>(told("it is late", "go home")).context("working");
        assert_eq!(hint(&ours.unwrap_err()).as_deref(), Some("go home"));
        assert_eq!(hint(&anyhow::anyhow!("no help")), None);
    }
}
