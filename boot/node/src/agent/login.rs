//! The login window: an sshd of our own while it is open, nobody inside once it is closed.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use overboot_wire::{Login, Window};
use rustix::process::{Pid, Signal, kill_process};

use super::accounts::{self, Password};
use crate::Error;
use crate::handover::replace;
use crate::init::mounts::STATE;
use crate::log::Log;

const SSHD: &str = "/usr/sbin/sshd";
/// Below the unified hierarchy; all that a login starts is in it, and ends with it.
const GROUP: &str = "/sys/fs/cgroup/overboot-login";

/// Brings the login to the states that come through `wanted`, and closes it when its time is over. Ends with the channel.
pub fn keep(wanted: &Receiver<Login>, log: &Log) {
    // A window left open by an agent that died is not ours to continue: the server says anew what it wants.
    end_processes(None);
    let mut open: Option<Open> = None;
    loop {
        let pause = open.as_ref().map_or(Duration::from_secs(3600), |open| {
            open.until.saturating_duration_since(Instant::now()).min(Duration::from_secs(2))
        });
        match wanted.recv_timeout(pause) {
            Ok(login) => open = change(open.take(), login.window, log),
            Err(RecvTimeoutError::Disconnected) => {
                close(&mut open, log);
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if open.as_ref().is_some_and(|open| Instant::now() >= open.until) {
            close(&mut open, log);
        }
        if let Some(open) = &mut open {
            open.restart_if_dead(log);
        }
    }
}

fn change(mut open: Option<Open>, window: Option<Window>, log: &Log) -> Option<Open> {
    let Some(window) = window.filter(|window| window.seconds > 0) else {
        close(&mut open, log);
        return None;
    };
    let until = Instant::now() + Duration::from_secs(window.seconds.min(30 * 86_400));
    if let Some(mut open) = open {
        if same_login(&open.window, &window) {
            open.until = until;
            return Some(open);
        }
        open.close(log);
    }
    match Open::new(window, until) {
        Ok(open) => {
            let time = match open.window.seconds {
                seconds @ ..120 => format!("{seconds} s"),
                seconds => format!("{} minutes", seconds / 60),
            };
            log.line(&format!("login open for {} for {time}", open.window.user));
            Some(open)
        }
        Err(error) => {
            log.line(&format!("cannot open the login: {}", crate::error::chain(&error)));
            None
        }
    }
}

fn close(open: &mut Option<Open>, log: &Log) {
    if let Some(open) = open.take() {
        open.close(log);
    }
}

fn same_login(a: &Window, b: &Window) -> bool {
    (&a.user, &a.password_hash, &a.authorized_keys)
        == (&b.user, &b.password_hash, &b.authorized_keys)
}

/// An open window.
#[derive(Debug)]
struct Open {
    window: Window,
    until: Instant,
    sshd: Child,
    /// When sshd was started, so that one that cannot run is not started in a loop.
    started: Instant,
}

impl Open {
    fn new(window: Window, until: Instant) -> Result<Self, Error> {
        check(&window)?;
        make_user(&window.user)?;
        let password = window.password_hash.as_deref().map_or(Password::None, Password::Hash);
        set_password(&window.user, password)?;
        let state = Path::new(STATE);
        replace(&state.join("authorized_keys"), &lines(&window.authorized_keys), 0o644)?;
        let key = host_key(state)?;
        replace(&state.join("sshd_config"), &config(&window, &key), 0o600)?;
        free_port();
        let sshd = start_sshd(state)?;
        Ok(Self { window, until, sshd, started: Instant::now() })
    }

    /// The image's own sshd may hold the port for a moment more; then ours ended and is started again.
    fn restart_if_dead(&mut self, log: &Log) {
        if self.started.elapsed() < Duration::from_secs(2) {
            return;
        }
        if let Ok(Some(status)) = self.sshd.try_wait() {
            log.line(&format!("sshd ended ({status}); see {STATE}/sshd.log; starting it again"));
            match start_sshd(Path::new(STATE)) {
                Ok(sshd) => self.sshd = sshd,
                Err(error) => log.line(&crate::error::chain(&error)),
            }
            self.started = Instant::now();
        }
    }

    fn close(mut self, log: &Log) {
        let user = self.window.user.clone();
        if let Err(error) = set_password(&user, Password::Locked) {
            log.line(&format!("cannot lock {user}: {}", crate::error::chain(&error)));
        }
        // Removed so that even an sshd of the image would not take the keys.
        let _absent = fs_err::remove_file(Path::new(STATE).join("authorized_keys"));
        let passwd = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
        let _gone = self.sshd.kill();
        end_processes(accounts::uid(&passwd, &user).filter(|uid| *uid != 0));
        let _reaped = self.sshd.wait();
        log.line(&format!("login closed for {user}"));
    }
}

fn check(window: &Window) -> Result<(), Error> {
    let refuse = |reason: &str| Error::System {
        what: "open a login".to_owned(),
        source: std::io::Error::other(reason.to_owned()),
    };
    if !accounts::is_user(&window.user) {
        return Err(refuse("the server named no proper user"));
    }
    if window.password_hash.as_deref().is_some_and(|hash| !accounts::is_hash(hash)) {
        return Err(refuse("the server sent no proper password hash"));
    }
    if window.authorized_keys.len() > 1000
        || !window.authorized_keys.iter().all(|key| accounts::is_key(key))
    {
        return Err(refuse("the server sent keys that are none"));
    }
    if !Path::new(SSHD).exists() {
        return Err(refuse("the image has no sshd; add openssh-server to its packages"));
    }
    Ok(())
}

fn make_user(user: &str) -> Result<(), Error> {
    let passwd = fs_err::read_to_string("/etc/passwd")?;
    if accounts::uid(&passwd, user).is_some() {
        return Ok(());
    }
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    run("useradd", &["--create-home", "--shell", shell, user])
}

fn set_password(user: &str, password: Password<'_>) -> Result<(), Error> {
    let path = Path::new("/etc/shadow");
    let before = fs_err::metadata(path)?;
    let text = accounts::with_password(&fs_err::read_to_string(path)?, user, password);
    let aside = PathBuf::from("/etc/.shadow.overboot");
    // Never readable by others, not even while it is written.
    let _absent = fs_err::remove_file(&aside);
    replace(&aside, "", 0o600)?;
    fs_err::write(&aside, text)?;
    chown(&aside, Some(before.uid()), Some(before.gid()))?;
    fs_err::set_permissions(&aside, std::fs::Permissions::from_mode(before.mode() & 0o640))?;
    fs_err::rename(&aside, path)?;
    Ok(())
}

/// The host key of this boot, made when it is first needed: no image has one.
fn host_key(state: &Path) -> Result<PathBuf, Error> {
    let key = state.join("ssh_host_ed25519_key");
    if !key.exists() {
        let path = key.display().to_string();
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "overboot", "-f", &path])?;
    }
    Ok(key)
}

fn config(window: &Window, key: &Path) -> String {
    let root = if window.user == "root" { "yes" } else { "no" };
    let password = if window.password_hash.is_some() { "yes" } else { "no" };
    format!(
        "HostKey {}\nPidFile none\nUsePAM no\nAllowUsers {}\nPermitRootLogin {root}\n\
         PasswordAuthentication {password}\nKbdInteractiveAuthentication no\nPermitEmptyPasswords no\n\
         AuthorizedKeysFile {STATE}/authorized_keys\nUseDNS no\nPrintMotd no\nSubsystem sftp internal-sftp\n",
        key.display(),
        window.user,
    )
}

/// An sshd that the image starts by itself would answer in our place, without the window's rules.
fn free_port() {
    if Path::new("/run/systemd/system").exists() {
        let _absent =
            run("systemctl", &["--no-block", "stop", "ssh.socket", "ssh.service", "sshd.service"]);
    }
}

fn start_sshd(state: &Path) -> Result<Child, Error> {
    // Debian's own unit makes it; ours runs without that unit.
    fs_err::create_dir_all("/run/sshd")?;
    fs_err::set_permissions("/run/sshd", std::fs::Permissions::from_mode(0o755))?;
    let log = state.join("sshd.log");
    let config = state.join("sshd_config");
    let group = make_group();
    let command = format!(
        "{}exec {SSHD} -D -f {} -E {}",
        if group { format!("echo $$ > {GROUP}/cgroup.procs; ") } else { String::new() },
        config.display(),
        log.display()
    );
    Command::new("/bin/sh")
        .args(["-c", &command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| Error::System { what: format!("start {SSHD}"), source })
}

fn make_group() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.procs").exists() && fs_err::create_dir_all(GROUP).is_ok()
}

/// Ends every process of the login: by its control group, and by its user where there is no such group.
fn end_processes(uid: Option<u32>) {
    let group = Path::new(GROUP);
    if group.exists() {
        let _refused = fs_err::write(group.join("cgroup.kill"), "1");
    }
    if let Some(uid) = uid {
        // Again and again: a process may have forked between the look and the signal.
        for _ in 0..5 {
            let pids = processes_of(uid);
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                let _gone = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn processes_of(uid: u32) -> Vec<Pid> {
    fs_err::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.metadata().is_ok_and(|m| m.uid() == uid))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Error> {
    let what = || format!("run {program}");
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::System { what: what(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let source = std::io::Error::other(format!("{}: {}", output.status, said.trim()));
    Err(Error::System { what: what(), source })
}

fn lines(keys: &[String]) -> String {
    keys.iter().map(|key| format!("{key}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window {
            user: "monorail".into(),
            password_hash: Some("$6$salt$0123456789".into()),
            authorized_keys: vec!["ssh-ed25519 AAAA x".into()],
            seconds: 60,
        }
    }

    #[test]
    fn the_configuration_lets_one_user_in_and_no_other() {
        let text = config(&window(), Path::new("/run/k"));
        for line in
            ["AllowUsers monorail", "PermitRootLogin no", "PasswordAuthentication yes", "UsePAM no"]
        {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        let keys = Window { password_hash: None, user: "root".into(), ..window() };
        let text = config(&keys, Path::new("/run/k"));
        for line in ["AllowUsers root", "PermitRootLogin yes", "PasswordAuthentication no"] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_a_server_must_not_ask_for_is_refused() {
        let refused = |window: Window| check(&window).unwrap_err().to_string();
        for bad in [
            Window { user: "a\nAllowUsers root".into(), ..window() },
            Window { password_hash: Some("$6$a:0:0".into()), ..window() },
            Window { authorized_keys: vec!["a\nb".into()], ..window() },
        ] {
            assert!(refused(bad).starts_with("cannot open a login"));
        }
    }

    #[test]
    fn only_the_time_may_change_without_a_new_login() {
        assert!(same_login(&window(), &Window { seconds: 5, ..window() }));
        assert!(!same_login(&window(), &Window { password_hash: None, ..window() }));
    }
}
