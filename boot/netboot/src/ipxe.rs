//! iPXE scripts.
//!
//! iPXE ends a script at the first command that fails without an `||`, splits commands at white space only, expands
//! `${...}` anywhere and knows no quoting (its `core/exec.c`). So text from outside is either checked, where it is a
//! part of a command's meaning, or made harmless, where it is only shown.
//!
//! Scripts nest: the redirect script chains to what the server decides and asks again when that ends with an error.
//! A script that wants to be asked for again therefore ends with status 1, one that is done with status 0. Settings are
//! shared between nested scripts: each kind of script has names of its own.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use overboot_dhcp::Mac;

use crate::decide::{BootDecision, BootPlan, Exit};

/// How often a script is asked for before the machine goes to its next boot device.
const TRIES: u32 = 20;
/// How often kernel and initrds are fetched before the script is asked for again, which may name others.
const BOOT_TRIES: u32 = 5;
/// Seconds between two tries.
const PAUSE: u32 = 3;
/// How many interfaces the redirect script looks at (RackHD's number).
const MAX_INTERFACES: u32 = 100;

/// A text that cannot be part of a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// iPXE would see a setting, an operator or a comment in it.
    #[error("iPXE cannot carry \"{word}\" in {what}: {why}")]
    Word {
        /// Which part of the boot it is.
        what: &'static str,
        /// The word, shortened.
        word: String,
        /// What iPXE would make of it.
        why: &'static str,
    },
    /// A URL with white space in it, or none at all.
    #[error("{what} is \"{url}\", want a URL without white space")]
    Url {
        /// Which part of the boot it is.
        what: &'static str,
        /// What was given.
        url: String,
    },
}

/// What a script knows about the request it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Context {
    /// The interface that asked: it is the one that is used.
    pub interface: Option<Mac>,
    /// Where iPXE sends its log.
    pub syslog: Option<Ipv4Addr>,
}

/// The script that carries `decision`; a `Chain` is the [`redirect_script`].
///
/// # Errors
/// A plan with a text that no script can carry.
pub fn script(decision: &BootDecision, context: Context) -> Result<String, ScriptError> {
    match decision {
        BootDecision::Boot { plan, reason } => boot_script(plan, reason, context),
        BootDecision::LocalDisk { exit, reason } => Ok(local_disk_script(*exit, reason)),
        BootDecision::Wait { seconds, reason } => Ok(wait_script(*seconds, reason)),
        BootDecision::Chain { url, .. } => redirect_script(url, context),
        BootDecision::Loader { reason, .. }
        | BootDecision::HttpLoader { reason, .. }
        | BootDecision::Ignore { reason } => Ok(error_script(reason)),
    }
}

/// The name under which iPXE (1.21 and later) looks for a script where it was itself loaded from.
pub const AUTOEXEC: &str = "autoexec.ipxe";

/// What iPXE does instead of its own start, which configures IPv6 and everything else it knows before the first script:
/// on a network without IPv6 routers that is a wait for nothing. It changes no decision: `url` is what iPXE is told by
/// DHCP as well.
///
/// # Errors
/// [`ScriptError::Url`].
pub fn autoexec_script(url: &str) -> Result<String, ScriptError> {
    let url = checked_url("the URL of the profiles", url)?;
    let mut out = header("asking for an address", Context::default());
    // Also where UEFI has handed on the address that the firmware got: the interface is closed all the same.
    let dhcp = "ifconf --configurator dhcp";
    let _ = write!(
        out,
        "{dhcp} || {dhcp} || {dhcp} || autoboot || exit 1
chain --autofree {url} ||
{NEXT_DEVICE}"
    );
    Ok(out)
}

/// Tells the server all interfaces with their addresses, and runs what it answers:
/// `<url>?macs=<m0>&ips=<ip0>&nics=<busid0>&macs=<m1>&ips=&nics=<busid1>&...`, for each `macs` an `ips` and a `nics`, maybe empty. A
/// discovered node is known by all its addresses this way, whichever interface it boots from, and what its cards need by their numbers.
///
/// # Errors
/// [`ScriptError::Url`].
pub fn redirect_script(url: &str, context: Context) -> Result<String, ScriptError> {
    let url = checked_url("the URL of the profiles", url)?;
    let mut out = header("looking for this machine's boot script", context);
    let _ = write!(
        out,
        "set query:string
set i:int32 0
:interface
isset ${{net${{i}}/mac}} || goto interfaces-done
set mac ${{net${{i}}/mac:hex}}
set ip:string
set nic:string
isset ${{net${{i}}/ip}} && set ip ${{net${{i}}/ip}} ||
isset ${{net${{i}}/busid}} && set nic ${{net${{i}}/busid:hexraw}} ||
set one macs=${{mac}}&ips=${{ip}}&nics=${{nic}}
isset ${{query}} && set query ${{query}}&${{one}} || set query ${{one}}
echo overboot: net${{i}} ${{mac}} ${{ip}}
inc i
iseq ${{i}} {MAX_INTERFACES} || goto interface
:interfaces-done
set asked:int32 0
:ask
chain --autofree {url}?${{query}} && goto done ||
inc asked
iseq ${{asked}} {TRIES} && goto give-up ||
echo overboot: no script yet (attempt ${{asked}} of {TRIES}), asking again in {PAUSE} s
sleep {PAUSE}
goto ask
:give-up
echo overboot: {url} gave no script, going on to the next boot device
:done
{NEXT_DEVICE}"
    );
    Ok(out)
}

/// Loads and starts a kernel, trying again where a download fails.
///
/// # Errors
/// A plan with a text that no script can carry.
pub fn boot_script(plan: &BootPlan, reason: &str, context: Context) -> Result<String, ScriptError> {
    let kernel = checked_url("the kernel's URL", &plan.kernel)?;
    let mut arguments = String::new();
    let mut initrds = String::new();
    // What was loaded is freed before the next try, last first and by name: the script that chained to this one is an
    // image too.
    let mut free = String::from(":failed1\nimgfree vmlinuz ||\n");
    for (index, url) in plan.initrds.iter().enumerate() {
        let url = checked_url("an initrd's URL", url)?;
        // UEFI kernels look the initrd up by this name; a BIOS kernel ignores it.
        let _ = write!(arguments, " initrd=initrd{index}.img");
        let _ =
            writeln!(initrds, "initrd --name initrd{index}.img {url} || goto failed{}", index + 1);
        free = format!(":failed{}\nimgfree initrd{index}.img ||\n{free}", index + 2);
    }
    let all = plan.initrds.len() + 1;
    for word in plan.cmdline.split_whitespace() {
        let _ = write!(arguments, " {}", checked_word("the kernel's command line", word)?);
    }
    let name = shown(&plan.name);
    let mut out = header(&format!("booting {}: {}", plan.name, reason), context);
    let _ = write!(
        out,
        "set tried:int32 0
:try
kernel --name vmlinuz {kernel}{arguments} || goto failed0
{initrds}boot || goto failed{all}
{free}:failed0
inc tried
iseq ${{tried}} {BOOT_TRIES} && goto give-up ||
echo overboot: {name} did not start (attempt ${{tried}} of {BOOT_TRIES}), trying again in {PAUSE} s
sleep {PAUSE}
goto try
:give-up
echo overboot: giving {name} up
exit 1
"
    );
    Ok(out)
}

/// Sends the machine to its next boot device.
#[must_use]
pub fn local_disk_script(exit: Exit, reason: &str) -> String {
    let mut out = header(&format!("going on to the local disk: {reason}"), Context::default());
    match exit {
        Exit::Firmware => {}
        Exit::FirstDisk => {
            out.push_str("iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||\n");
        }
    }
    // Status 0 tells the redirect script that this is an answer; it then leaves the way the firmware wants.
    out.push_str("exit 0\n");
    out
}

/// Lets the machine ask again after `seconds`.
#[must_use]
pub fn wait_script(seconds: u32, reason: &str) -> String {
    let mut out = header(&format!("waiting: {reason}"), Context::default());
    let _ = write!(out, "sleep {seconds}\nexit 1\n");
    out
}

/// Shows why there is nothing to boot, and lets the machine ask again.
#[must_use]
pub fn error_script(reason: &str) -> String {
    let mut out = header(&format!("cannot boot: {reason}"), Context::default());
    let _ = write!(out, "sleep {PAUSE}\nexit 1\n");
    out
}

/// UEFI takes a status of 0 for "booted, show the menu" (UEFI 3.1.3); a BIOS does not care.
const NEXT_DEVICE: &str = "iseq ${platform} efi && exit 1 || exit 0\n";

/// The first lines of every script: what happens, the log, and the interface that asked, with an address.
fn header(what: &str, context: Context) -> String {
    let mut out = format!("#!ipxe\necho overboot: {}\n", shown(what));
    if let Some(syslog) = context.syslog {
        let _ = writeln!(out, "set syslog {syslog} ||");
    }
    if let Some(mac) = context.interface {
        // Not finding it is no reason to stop: the script itself came over some interface that works.
        let _ = write!(
            out,
            "set n:int32 0
:find
isset ${{net${{n}}/mac}} || goto configured
iseq ${{net${{n}}/mac}} {mac} && goto found ||
inc n
iseq ${{n}} {MAX_INTERFACES} && goto configured || goto find
:found
isset ${{net${{n}}/ip}} && goto configured ||
ifconf --configurator dhcp net${{n}} || ifconf --configurator dhcp net${{n}} || ifconf --configurator dhcp net${{n}} ||
:configured
"
        );
    }
    out
}

/// A word that means to iPXE what it says.
fn checked_word<'a>(what: &'static str, word: &'a str) -> Result<&'a str, ScriptError> {
    let why = if word.contains("${") {
        "${ begins a setting"
    } else if word.starts_with('#') {
        "# begins a comment"
    } else if matches!(word, "||" | "&&" | ";") {
        "it separates commands"
    } else if word.bytes().any(|byte| !byte.is_ascii_graphic()) {
        "only printable ASCII"
    } else {
        return Ok(word);
    };
    let word = word.chars().map(|c| if c.is_control() { '?' } else { c }).take(80).collect();
    Err(ScriptError::Word { what, word, why })
}

fn checked_url<'a>(what: &'static str, url: &'a str) -> Result<&'a str, ScriptError> {
    if !url.contains("://") || url.contains(char::is_whitespace) {
        return Err(ScriptError::Url { what, url: url.chars().take(200).collect() });
    }
    checked_word(what, url)
}

/// Text for `echo`: one line of plain ASCII that iPXE reads as nothing else.
fn shown(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| match c {
            '$' | '#' | '|' | '&' | ';' => '_',
            ' '..='~' => c,
            _ => '?',
        })
        .take(300)
        .collect();
    // echo takes words that begin with a dash for its options.
    plain.split_whitespace().map(|word| word.trim_start_matches('-')).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "ipxe_tests.rs"]
mod tests;
