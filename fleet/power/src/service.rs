//! From the name of a service and its settings to something that can be switched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize as _;
use serde_json::Value;

use crate::{Error, Noop, Power, Qemu, QemuConfig};

/// The no-op service: any settings.
pub const NOOP_SERVICE: &str = "noop-obm-service";

/// QEMU virtual machines: settings as [`QemuConfig`].
pub const QEMU_SERVICE: &str = "qemu-obm-service";

/// Hands out power controls, the same one for the same machine, so that operations on a machine take turns and what
/// is to happen at its next start is remembered. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct Powers {
    machines: Arc<Mutex<HashMap<QemuConfig, Arc<Qemu>>>>,
}

impl Powers {
    /// Nothing handed out yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The names that [`Powers::for_service`] knows.
    #[must_use]
    pub fn services() -> &'static [&'static str] {
        &[NOOP_SERVICE, QEMU_SERVICE]
    }

    /// Whether `config` is usable for `service`, without touching any machine.
    ///
    /// # Errors
    ///
    /// As for [`Powers::for_service`].
    pub fn check(service: &str, config: &Value) -> Result<(), Error> {
        match service {
            NOOP_SERVICE => Ok(()),
            QEMU_SERVICE => qemu_config(config).map(drop),
            _ => Err(Error::UnknownService { service: service.to_owned() }),
        }
    }

    /// The control of one machine, from an OBM record's service name and its settings.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownService`] for a name not in [`Powers::services`], [`Error::Config`] for unusable settings.
    pub fn for_service(&self, service: &str, config: &Value) -> Result<Arc<dyn Power>, Error> {
        match service {
            NOOP_SERVICE => Ok(Arc::new(Noop)),
            QEMU_SERVICE => {
                let config = qemu_config(config)?;
                let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
                let machine = machines
                    .entry(config)
                    .or_insert_with_key(|config| Arc::new(Qemu::new(config.clone())));
                Ok(Arc::clone(machine) as Arc<dyn Power>)
            }
            _ => Err(Error::UnknownService { service: service.to_owned() }),
        }
    }
}

fn qemu_config(config: &Value) -> Result<QemuConfig, Error> {
    let refused = |reason: String| Error::Config { service: QEMU_SERVICE, reason };
    let config = QemuConfig::deserialize(config).map_err(|error| refused(error.to_string()))?;
    if !config.qmp.is_absolute() {
        return Err(refused(format!(
            "\"qmp\" must be an absolute path, not {}",
            config.qmp.display()
        )));
    }
    // The id becomes part of a QOM path.
    if config.device.is_empty()
        || !config.device.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        return Err(refused(format!(
            "\"device\" must be a device id, not \"{}\"",
            config.device.escape_default()
        )));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_machine_has_one_control() {
        let powers = Powers::new();
        let config = json!({ "qmp": "/run/vm.sock" });
        let one = powers.for_service(QEMU_SERVICE, &config).unwrap();
        let two = powers.clone().for_service(QEMU_SERVICE, &config).unwrap();
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn unusable_settings_are_named() {
        let bad = [
            (json!({}), "missing field `qmp`"),
            (json!({ "qmp": "vm.sock" }), "must be an absolute path"),
            (json!({ "qmp": "/a", "device": "../x" }), "must be a device id"),
            (json!({ "qmp": "/a", "host": "b" }), "unknown field `host`"),
            (json!(null), "expected struct"),
        ];
        for (config, expected) in bad {
            let error = Powers::check(QEMU_SERVICE, &config).unwrap_err().to_string();
            assert!(error.contains(expected), "{config}: {error}");
        }
    }

    #[test]
    fn an_unknown_service_says_which_are_known() {
        let error = Powers::new().for_service("ilo-obm-service", &json!({})).unwrap_err();
        assert!(error.to_string().contains("ilo-obm-service"));
        let hint = error.hint().unwrap();
        assert!(Powers::services().iter().all(|service| hint.contains(service)));
    }
}
