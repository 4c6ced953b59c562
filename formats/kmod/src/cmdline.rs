//! What the kernel command line says about modules.
//!
//! The kernel hands `module.parameter=value` only to what is built in; for a module modprobe reads it from
//! `/proc/cmdline`, and so must an init. Source: modprobe.d(5), `modprobe.blacklist=` and "module options … on the kernel
//! command line"; the kernel's `Documentation/admin-guide/kernel-parameters.rst`.

use crate::name;

/// Module parameters and the blacklist of one command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleOptions {
    parameters: Vec<(String, String)>,
    blacklist: Vec<String>,
}

impl ModuleOptions {
    /// Reads a kernel command line. A value may be quoted (`x.y="a b"`); words after `--` are init's own and ignored.
    #[must_use]
    pub fn parse(cmdline: &str) -> Self {
        let mut options = Self::default();
        for word in words(cmdline).take_while(|word| *word != "--") {
            let (key, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
            let Some((module, parameter)) = key.split_once('.') else { continue };
            if !module.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
                continue;
            }
            let module = name::normalise(module);
            if module == "modprobe" && parameter == "blacklist" {
                let names = value.unwrap_or_default().split(',').filter(|name| !name.is_empty());
                options.blacklist.extend(names.map(|name| name::normalise(name).into_owned()));
            } else if !module.is_empty() && !parameter.is_empty() {
                let text = word[module.len() + 1..].to_owned();
                options.parameters.push((module.into_owned(), text));
            }
        }
        options
    }

    /// What to hand to `finit_module(2)` for the module: `a=1 b`, empty for none.
    #[must_use]
    pub fn parameters(&self, module: &str) -> String {
        let module = name::normalise(module);
        let mut text = String::new();
        for (_, parameter) in self.parameters.iter().filter(|(name, _)| *name == module) {
            if !text.is_empty() {
                text.push(' ');
            }
            text += parameter;
        }
        text
    }

    /// Whether the module must not be loaded for a device. By name, or because another needs it, it still may.
    #[must_use]
    pub fn is_blacklisted(&self, module: &str) -> bool {
        let module = name::normalise(module);
        self.blacklist.iter().any(|name| *name == module)
    }
}

/// The words of a command line; quotes keep spaces inside a word and stay in it, as the kernel's own parser wants them.
fn words(cmdline: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    cmdline
        .split(move |letter: char| {
            quoted ^= letter == '"';
            letter.is_ascii_whitespace() && !quoted
        })
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_blacklist() {
        let options = ModuleOptions::parse(
            "BOOT_IMAGE=vmlinuz ro i40e.debug=16 usb-storage.quirks=\"a b\" i40e.flag modprobe.blacklist=a-b,c \
             BASEFS=http://10.1.1.1/x.y quiet -- i40e.late=1",
        );
        assert_eq!(options.parameters("i40e"), "debug=16 flag");
        assert_eq!(options.parameters("usb_storage"), "quirks=\"a b\"");
        assert_eq!(options.parameters("BASEFS=http://10"), "");
        assert!(options.is_blacklisted("a_b") && options.is_blacklisted("c"));
        assert!(!options.is_blacklisted("i40e"));
        assert_eq!(ModuleOptions::parse("\"unclosed x.y=1"), ModuleOptions::default());
    }
}
