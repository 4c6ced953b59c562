//! From what a workflow wants booted to kernel, initrds and command line. Pure.

use overboot_bootset::{BootSet, Card, Firmware};
use overboot_dhcp::Mac;
use overboot_digest::Digest;
use overboot_netboot::BootPlan;
use overboot_wire::{Cmdline, CmdlineError, path};
use serde_json::{Map, Value};

/// The names that RackHD's overlay files have beside what they are called.
const OVERLAY_SUFFIXES: [&str; 4] =
    [".overlay.cpio.gz", ".cpio.gz", ".overlay.squashfs", ".squashfs"];

/// The kernel's file name in the built-in task; another one asks for another kernel than that of the boot set.
const DEFAULT_KERNEL_FILE: &str = "vmlinuz";

/// The overlay of the built-in task, as RackHD has it; another one asks for the boot set of its name.
const DEFAULT_OVERLAY_FILE: &str = "discovery.overlay.cpio.gz";

/// Where the booting machine finds us, and who it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// `http://host:port`.
    pub(crate) http: &'a str,
    /// `host:port`.
    pub(crate) api: &'a str,
    /// Host that takes its log.
    pub(crate) syslog: Option<&'a str>,
    /// Further servers that have the blobs.
    pub(crate) mirrors: &'a [String],
    /// The interface it boots from.
    pub(crate) mac: Mac,
    /// Its network cards; `None` where it is not known what one is.
    pub(crate) cards: &'a [Option<Card>],
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PlanError {
    /// Neither a boot set nor files.
    #[error("there is no boot set \"{set}\" here, and the options name no {missing}")]
    Nothing {
        /// The boot set that was looked for.
        set: String,
        /// The option that would have done.
        missing: &'static str,
    },
    /// The command line cannot be written.
    #[error(transparent)]
    Cmdline(#[from] CmdlineError),
}

/// The boot set that a task's options ask for: `bootSet`, unless that is this server's `default` (which every built-in
/// task says) and `overlayfsFile` names another one that exists, which is how RackHD's workflows choose an overlay.
/// Nothing when they ask for a kernel of their own.
pub(crate) fn wanted_set(
    options: &Map<String, Value>,
    default: &str,
    exists: impl Fn(&str) -> bool,
) -> Option<String> {
    if text(options, "kernelFile").is_some_and(|file| file != DEFAULT_KERNEL_FILE) {
        return None;
    }
    let asked = text(options, "bootSet").unwrap_or(default);
    let file = text(options, "overlayfsFile").filter(|file| *file != DEFAULT_OVERLAY_FILE);
    let by_overlay = file.map(overlay_name).filter(|name| asked == default && exists(name));
    Some(by_overlay.unwrap_or(asked).to_owned())
}

fn overlay_name(file: &str) -> &str {
    OVERLAY_SUFFIXES.iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or(file)
}

/// Boots a set, the one of that manifest: everything by digest from here, checked by the node.
pub(crate) fn of_set(
    set: &BootSet,
    manifest: &Digest,
    options: &Map<String, Value>,
    place: &Place<'_>,
) -> Result<BootPlan, PlanError> {
    let blob = |hex: String| format!("{}{}", place.http, path::blob(&hex));
    let cmdline = Cmdline {
        set: Some(format!("{}{}", place.http, path::set_of(&set.name, &manifest.hex()))),
        mirrors: place.mirrors.to_vec(),
        others: words(&format!("{PANIC} {}", set.cmdline), options),
        ..common(place)
    };
    let firmware = set.firmware.iter().filter(|firmware| firmware.is_needed(place.cards));
    let initrds = set.initrd.iter().copied().chain(firmware.map(Firmware::blob));
    Ok(BootPlan {
        name: set.name.clone(),
        kernel: blob(set.kernel.digest.hex()),
        initrds: initrds.map(|part| blob(part.digest.hex())).collect(),
        cmdline: cmdline.format()?,
    })
}

/// Boots the files that the options name, as RackHD's `linux.ipxe` does.
pub(crate) fn of_files(
    options: &Map<String, Value>,
    place: &Place<'_>,
    set: &str,
) -> Result<BootPlan, PlanError> {
    let needed = |missing: &'static str| {
        let nothing = || PlanError::Nothing { set: set.to_owned(), missing };
        text(options, missing).map(str::to_owned).ok_or_else(nothing)
    };
    let kernel = needed("kernelUri")?;
    let initrd = needed("initrdUri")?;
    // RackHD's scripts look at these two as well.
    let mut others = vec!["auto=true".to_owned()];
    others.extend(words("", options));
    let cmdline = Cmdline {
        basefs: text(options, "basefsUri").map(str::to_owned),
        overlayfs: text(options, "overlayfsUri")
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        others,
        ..common(place)
    };
    let name = text(options, "kernelFile").unwrap_or(DEFAULT_KERNEL_FILE).to_owned();
    Ok(BootPlan { name, kernel, initrds: vec![initrd], cmdline: cmdline.format()? })
}

/// The files below our own `/common/` that iPXE will fetch for a plan.
pub(crate) fn common_files<'a>(plan: &'a BootPlan, http: &'a str) -> impl Iterator<Item = &'a str> {
    let urls = std::iter::once(&plan.kernel).chain(&plan.initrds);
    urls.filter_map(move |url| url.strip_prefix(http)?.strip_prefix("/common/"))
}

fn common(place: &Place<'_>) -> Cmdline {
    Cmdline {
        syslog_server: place.syslog.map(str::to_owned),
        api_cb: Some(place.api.to_owned()),
        bootif: Some(place.mac.to_string()),
        ..Cmdline::default()
    }
}

/// What a kernel does that can go on no more: by itself it would stand for ever, and nobody is there to press a button. Ten
/// seconds are for who looks at the console. What comes after it on the command line overrides it.
const PANIC: &str = "panic=10";

/// The boot set's own words, a console unless they name one, then the task's `kargs`.
fn words(own: &str, options: &Map<String, Value>) -> Vec<String> {
    let mut words: Vec<String> = own.split_whitespace().map(str::to_owned).collect();
    if !words.iter().any(|word| word.starts_with("console=")) {
        words.push("console=tty0".to_owned());
        if let Some(port) = text(options, "comport") {
            words.push(format!("console={port},115200n8"));
        }
    }
    match options.get("kargs") {
        Some(Value::String(kargs)) => words.extend(kargs.split_whitespace().map(str::to_owned)),
        Some(Value::Object(kargs)) => words.extend(kargs.iter().map(|(name, value)| match value {
            Value::String(value) => format!("{name}={value}"),
            Value::Null => name.clone(),
            value => format!("{name}={value}"),
        })),
        _ => {}
    }
    words
}

fn text<'a>(options: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    options.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use overboot_bootset::{Blob, Layer, LayerFormat};
    use serde_json::json;

    const PLACE: Place<'static> = Place {
        http: "http://192.0.2.1:9090",
        api: "192.0.2.1:9090",
        syslog: Some("192.0.2.1"),
        mirrors: &[],
        mac: Mac::new([0x52, 0x54, 0, 0, 0, 1]),
        cards: &[],
    };

    fn options(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    fn set(cmdline: &str) -> BootSet {
        let digest = Digest::of(b"x");
        BootSet {
            format: BootSet::FORMAT,
            name: "discovery".to_owned(),
            kernel: Blob { digest, size: 1 },
            initrd: vec![Blob { digest, size: 1 }],
            firmware: None,
            modules: None,
            base: Layer {
                name: "base".to_owned(),
                digest,
                size: 1,
                format: LayerFormat::Squashfs,
                chunk_size: 4 << 20,
                chunks: vec![digest],
            },
            overlays: Vec::new(),
            cmdline: cmdline.to_owned(),
            ram_min: 0,
        }
    }

    #[test]
    fn a_set_boots_by_digest_with_everything_the_node_needs_to_know() {
        let hex = Digest::of(b"x").hex();
        let options = options(json!({"comport": "ttyS1", "kargs": {"acpi": "off", "quiet": null}}));
        let plan = of_set(&set("panic=60"), &Digest::of(b"m"), &options, &PLACE).unwrap();
        assert_eq!(plan.kernel, format!("http://192.0.2.1:9090/boot/blobs/sha256/{hex}"));
        assert_eq!(plan.initrds, std::slice::from_ref(&plan.kernel));
        let manifest = Digest::of(b"m").hex();
        assert_eq!(
            plan.cmdline,
            format!(
                "SYSLOGSERVER=192.0.2.1 API_CB=192.0.2.1:9090 BOOTIF=01-52:54:00:00:00:01 \
                 overboot.set=http://192.0.2.1:9090/boot/sets/discovery.json?manifest={manifest} \
                 panic=10 panic=60 console=tty0 console=ttyS1,115200n8 acpi=off quiet"
            )
        );
    }

    #[test]
    fn firmware_comes_along_where_a_card_needs_it_or_may() {
        let digest = Digest::of(b"firmware");
        let cards = vec!["14e4:164c".parse().unwrap(), "4040:*".parse().unwrap()];
        let set = BootSet { firmware: Some(Firmware { digest, size: 1, cards }), ..set("") };
        let initrds = |cards: &[&str]| {
            let cards: Vec<_> = cards.iter().map(|card| card.parse().ok()).collect();
            let place = Place { cards: &cards, ..PLACE };
            of_set(&set, &Digest::of(b"m"), &options(json!({})), &place).unwrap().initrds
        };
        let firmware = format!("http://192.0.2.1:9090/boot/blobs/sha256/{}", digest.hex());
        for needing in
            [&["14e4:164c"][..], &["1af4:1000", "14e4:164c"], &["4040:0001"], &["?"], &[]]
        {
            assert_eq!(initrds(needing).len(), 2, "{needing:?}");
            assert_eq!(initrds(needing)[1], firmware, "{needing:?}");
        }
        for without in [&["1af4:1000"][..], &["14e4:164d", "8086:100e"]] {
            assert_eq!(initrds(without).len(), 1, "{without:?}");
        }
    }

    #[test]
    fn a_set_that_names_its_console_keeps_it() {
        let options = options(json!({"comport": "ttyS0"}));
        let plan = of_set(&set("console=ttyAMA0"), &Digest::of(b"m"), &options, &PLACE);
        let cmdline = plan.unwrap().cmdline;
        assert!(cmdline.ends_with(" console=ttyAMA0"), "{cmdline}");
    }

    #[test]
    fn files_boot_as_in_rackhds_profile() {
        let options = options(json!({
            "kernelFile": "vmlinuz-3.16.0-25-generic", "kernelUri": "http://f/k", "initrdUri": "http://f/i",
            "basefsUri": "http://f/b", "overlayfsUri": "http://f/o", "comport": "ttyS0", "kargs": "a=b c",
        }));
        let plan = of_files(&options, &PLACE, "discovery").unwrap();
        assert_eq!(
            (plan.kernel.as_str(), plan.initrds),
            ("http://f/k", vec!["http://f/i".to_owned()])
        );
        assert_eq!(
            plan.cmdline,
            "SYSLOGSERVER=192.0.2.1 API_CB=192.0.2.1:9090 BASEFS=http://f/b OVERLAYFS=http://f/o \
             BOOTIF=01-52:54:00:00:00:01 auto=true console=tty0 console=ttyS0,115200n8 a=b c"
        );
        let nothing = of_files(&Map::new(), &PLACE, "discovery").unwrap_err();
        assert!(nothing.to_string().contains("kernelUri"), "{nothing}");
    }

    #[test]
    fn an_overlay_file_chooses_the_set_of_its_name() {
        let exists = |name: &str| ["secure-erase", "discovery"].contains(&name);
        let wanted = |value| wanted_set(&options(value), "discovery", exists);
        assert_eq!(wanted(json!({})).as_deref(), Some("discovery"));
        let default = json!({"bootSet": "discovery", "overlayfsFile": "discovery.overlay.cpio.gz"});
        assert_eq!(wanted(default).as_deref(), Some("discovery"));
        let erase =
            json!({"bootSet": "discovery", "overlayfsFile": "secure-erase.overlay.cpio.gz"});
        assert_eq!(wanted(erase).as_deref(), Some("secure-erase"));
        let unknown = json!({"overlayfsFile": "other.overlay.cpio.gz"});
        assert_eq!(wanted(unknown).as_deref(), Some("discovery"));
        let own_set = json!({"bootSet": "raid", "overlayfsFile": "secure-erase.overlay.cpio.gz"});
        assert_eq!(wanted(own_set).as_deref(), Some("raid"));
        assert_eq!(wanted(json!({"kernelFile": "vmlinuz-3.16.0-25-generic"})), None);

        // A server whose own set has another name: the built-in task's overlay asks for nothing, others do.
        let wanted = |value| wanted_set(&options(value), "rescue", exists);
        assert_eq!(wanted(json!({})).as_deref(), Some("rescue"));
        let built_in = json!({"bootSet": "rescue", "overlayfsFile": "discovery.overlay.cpio.gz"});
        assert_eq!(wanted(built_in).as_deref(), Some("rescue"));
        let erase = json!({"bootSet": "rescue", "overlayfsFile": "secure-erase.overlay.cpio.gz"});
        assert_eq!(wanted(erase).as_deref(), Some("secure-erase"));
    }
}
