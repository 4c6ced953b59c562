//! The login window: an sshd of our own while it is open, nobody inside once it is closed.
//!
//! It fails closed. Who is let in is noted in a file before the account is opened, and the note goes when the account is locked
//! again: also by a worker that was started anew, and again and again where that fails.

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

/// Below the unified hierarchy; all that a login starts is in it, and ends with it.
const GROUP: &str = "/sys/fs/cgroup/overboot-login";

/// How often an open login is looked at, and one that could not be locked is tried again.
const LOOK: Duration = Duration::from_secs(2);

/// Is told, for the server, what is wrong with the login, and when that is over.
pub type Tell<'a> = &'a dyn Fn(Result<String, String>);

/// Brings the login to the states that come through `wanted`, and closes it when its time is over. Ends with the channel.
pub fn keep(wanted: &Receiver<Login>, log: &Log, tell: Tell<'_>) {
    let mut keeper = Keeper::new(Place::default(), log, tell);
    // A window left open by an agent that died is not ours to continue: the server says anew what it wants.
    keeper.shut();
    loop {
        match wanted.recv_timeout(keeper.pause()) {
            Ok(login) => keeper.change(login.window),
            Err(RecvTimeoutError::Disconnected) => return keeper.shut(),
            Err(RecvTimeoutError::Timeout) => {}
        }
        keeper.look();
    }
}

/// An open window.
#[derive(Debug)]
struct Open {
    window: Window,
    until: Instant,
    sshd: Child,
    /// When sshd was started, so that one that cannot run is not started in a loop.
    started: Instant,
    /// How often in a row it has ended by itself.
    ended: u32,
}

struct Keeper<'a> {
    place: Place,
    open: Option<Open>,
    log: &'a Log,
    tell: Tell<'a>,
    /// What is wrong, as it was told last.
    trouble: Option<String>,
}

impl<'a> Keeper<'a> {
    fn new(place: Place, log: &'a Log, tell: Tell<'a>) -> Self {
        Self { place, open: None, log, tell, trouble: None }
    }

    fn pause(&self) -> Duration {
        match &self.open {
            Some(open) => open.until.saturating_duration_since(Instant::now()).min(LOOK),
            None if self.place.noted().is_some() => LOOK,
            None => Duration::from_secs(3600),
        }
    }

    fn change(&mut self, window: Option<Window>) {
        let Some(window) = window.filter(|window| window.seconds > 0) else {
            return self.shut();
        };
        let until = Instant::now() + Duration::from_secs(window.seconds.min(30 * 86_400));
        if let Some(open) = self.open.as_mut().filter(|open| same_login(&open.window, &window)) {
            open.until = until;
            return;
        }
        self.shut();
        match self.place.open(&window) {
            Ok(sshd) => {
                let time = match window.seconds {
                    seconds @ ..120 => format!("{seconds} s"),
                    seconds => format!("{} minutes", seconds / 60),
                };
                self.log.line(&format!("login open for {} for {time}", window.user));
                self.open = Some(Open { window, until, sshd, started: Instant::now(), ended: 0 });
            }
            Err(error) => {
                let open = format!("cannot open the login: {}", crate::error::chain(&error));
                let trouble = match self.lock_out() {
                    Some(Err(lock)) => format!("{open}; {lock}"),
                    _ => open,
                };
                self.worry(trouble);
            }
        }
    }

    fn shut(&mut self) {
        match self.lock_out() {
            None => {}
            Some(Ok(closed)) => {
                self.log.line(&closed);
                self.relief(closed);
            }
            Some(Err(trouble)) => self.worry(trouble),
        }
    }

    /// Locks the account of whoever was let in, if anybody was, and ends what is theirs. What came of it, in words.
    fn lock_out(&mut self) -> Option<Result<String, String>> {
        let open = self.open.take();
        let user = open.as_ref().map(|open| open.window.user.clone());
        let user = user.or_else(|| self.place.noted())?;
        let locked = self.place.lock(&user);
        self.place.end_processes(&user);
        if let Some(Open { mut sshd, .. }) = open {
            let _gone = sshd.kill();
            let _reaped = sshd.wait();
        }
        Some(match locked {
            Ok(()) => Ok(format!("login closed for {user}")),
            Err(error) => Err(format!("cannot lock {user}: {}", crate::error::chain(&error))),
        })
    }

    fn look(&mut self) {
        match &self.open {
            Some(open) if Instant::now() < open.until => self.restart_if_dead(),
            // Over; or it could not be locked when it was.
            _ => self.shut(),
        }
    }

    /// The image's own sshd may hold the port for a moment more; then ours ended and is started again.
    fn restart_if_dead(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.started.elapsed() < LOOK {
            return;
        }
        let Ok(Some(status)) = open.sshd.try_wait() else {
            open.ended = 0;
            let well = format!("login open for {}", open.window.user);
            return self.relief(well);
        };
        open.started = Instant::now();
        open.ended += 1;
        let again = open.ended > 1;
        let started = self.place.start_sshd().map(|sshd| open.sshd = sshd);
        let ended = format!("sshd ended ({status}); see {STATE}/sshd.log; starting it again");
        match started {
            Err(error) => self.worry(crate::error::chain(&error)),
            Ok(()) if again => self.worry(ended),
            Ok(()) => self.log.line(&ended),
        }
    }

    /// Says what is wrong, once.
    fn worry(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            self.log.line(&trouble);
            (self.tell)(Err(trouble.clone()));
            self.trouble = Some(trouble);
        }
    }

    /// Says that nothing is wrong any more.
    fn relief(&mut self, well: String) {
        if self.trouble.take().is_some() {
            (self.tell)(Ok(well));
        }
    }
}

fn same_login(a: &Window, b: &Window) -> bool {
    (&a.user, &a.password_hash, &a.authorized_keys)
        == (&b.user, &b.password_hash, &b.authorized_keys)
}

/// Where the parts of the login are.
struct Place {
    /// `passwd` and `shadow`.
    etc: PathBuf,
    /// What is ours.
    state: PathBuf,
    sshd: PathBuf,
    /// The empty folder that sshd wants (Debian's own unit makes it; ours runs without that unit).
    empty: PathBuf,
}

impl Default for Place {
    fn default() -> Self {
        let [etc, state, sshd, empty] =
            ["/etc", STATE, "/usr/sbin/sshd", "/run/sshd"].map(PathBuf::from);
        Self { etc, state, sshd, empty }
    }
}

impl Place {
    /// Lets in whom the window names. After an error, part of it may be done: it is to be locked.
    fn open(&self, window: &Window) -> Result<Child, Error> {
        self.check(window)?;
        if let Some(user) = self.noted() {
            return Err(refused(&format!("that of {user} before it could not be locked")));
        }
        self.make_user(&window.user)?;
        replace(&self.keys(), &lines(&window.authorized_keys), 0o644)?;
        let key = self.host_key()?;
        replace(&self.config(), &config(window, &key, &self.keys()), 0o600)?;
        replace(&self.note(), &window.user, 0o600)?;
        let password = window.password_hash.as_deref().map_or(Password::None, Password::Hash);
        self.set_password(&window.user, password)?;
        self.start_sshd()
    }

    /// Whose account may be open.
    fn noted(&self) -> Option<String> {
        fs_err::read_to_string(self.note()).ok().filter(|user| accounts::is_user(user))
    }

    fn lock(&self, user: &str) -> Result<(), Error> {
        // Removed so that even an sshd of the image would not take the keys.
        let _absent = fs_err::remove_file(self.keys());
        self.set_password(user, Password::Locked)?;
        let _absent = fs_err::remove_file(self.note());
        Ok(())
    }

    fn note(&self) -> PathBuf {
        self.state.join("login-user")
    }

    fn keys(&self) -> PathBuf {
        self.state.join("authorized_keys")
    }

    fn config(&self) -> PathBuf {
        self.state.join("sshd_config")
    }

    fn check(&self, window: &Window) -> Result<(), Error> {
        check(window)?;
        if self.sshd.exists() {
            return Ok(());
        }
        Err(refused("the image has no sshd; add openssh-server to its packages"))
    }

    fn passwd(&self) -> Result<String, Error> {
        Ok(fs_err::read_to_string(self.etc.join("passwd"))?)
    }

    fn make_user(&self, user: &str) -> Result<(), Error> {
        if accounts::uid(&self.passwd()?, user).is_some() {
            return Ok(());
        }
        let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
        run("useradd", &["--create-home", "--shell", shell, user])
    }

    fn set_password(&self, user: &str, password: Password<'_>) -> Result<(), Error> {
        let path = self.etc.join("shadow");
        let before = fs_err::metadata(&path)?;
        let text = accounts::with_password(&fs_err::read_to_string(&path)?, user, password);
        let aside = self.etc.join(".shadow.overboot");
        // Never readable by others, not even while it is written.
        let _absent = fs_err::remove_file(&aside);
        replace(&aside, "", 0o600)?;
        fs_err::write(&aside, text)?;
        chown(&aside, Some(before.uid()), Some(before.gid()))?;
        fs_err::set_permissions(&aside, std::fs::Permissions::from_mode(before.mode() & 0o640))?;
        fs_err::rename(&aside, &path)?;
        Ok(())
    }

    /// The host key of this boot, made when it is first needed: no image has one.
    fn host_key(&self) -> Result<PathBuf, Error> {
        let key = self.state.join("ssh_host_ed25519_key");
        if !key.exists() {
            let path = key.display().to_string();
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "overboot", "-f", &path])?;
        }
        Ok(key)
    }

    fn start_sshd(&self) -> Result<Child, Error> {
        fs_err::create_dir_all(&self.empty)?;
        fs_err::set_permissions(&self.empty, std::fs::Permissions::from_mode(0o755))?;
        free_port();
        let sshd = self.sshd.display();
        let command = format!(
            "{}exec {sshd} -D -f {} -E {}",
            if make_group() { format!("echo $$ > {GROUP}/cgroup.procs; ") } else { String::new() },
            self.config().display(),
            self.state.join("sshd.log").display()
        );
        Command::new("/bin/sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| Error::System { what: format!("start {sshd}"), source })
    }

    /// Ends every process of the login: by its control group; and where there is no such group, our sshd by its
    /// configuration, and what the user has started by the user.
    fn end_processes(&self, user: &str) {
        let group = Path::new(GROUP);
        if group.exists() {
            let _refused = fs_err::write(group.join("cgroup.kill"), "1");
        }
        let passwd = self.passwd().unwrap_or_default();
        let uid = accounts::uid(&passwd, user).filter(|uid| *uid != 0);
        let config = self.config().display().to_string();
        // Again and again: a process may have forked between the look and the signal.
        for _ in 0..5 {
            let pids = processes(uid, &config);
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

fn refused(reason: &str) -> Error {
    let source = std::io::Error::other(reason.to_owned());
    Error::System { what: "open a login".to_owned(), source }
}

fn check(window: &Window) -> Result<(), Error> {
    if !accounts::is_user(&window.user) {
        return Err(refused("the server named no proper user"));
    }
    if window.password_hash.as_deref().is_some_and(|hash| !accounts::is_hash(hash)) {
        return Err(refused("the server sent no proper password hash"));
    }
    if window.authorized_keys.len() > 1000
        || !window.authorized_keys.iter().all(|key| accounts::is_key(key))
    {
        return Err(refused("the server sent keys that are none"));
    }
    Ok(())
}

fn config(window: &Window, key: &Path, keys: &Path) -> String {
    let root = if window.user == "root" { "yes" } else { "no" };
    let password = if window.password_hash.is_some() { "yes" } else { "no" };
    format!(
        "HostKey {}\nPidFile none\nUsePAM no\nAllowUsers {}\nPermitRootLogin {root}\n\
         PasswordAuthentication {password}\nKbdInteractiveAuthentication no\nPermitEmptyPasswords no\n\
         AuthorizedKeysFile {}\nUseDNS no\nPrintMotd no\nSubsystem sftp internal-sftp\n",
        key.display(),
        window.user,
        keys.display(),
    )
}

/// An sshd that the image starts by itself would answer in our place, without the window's rules.
fn free_port() {
    if Path::new("/run/systemd/system").exists() {
        let _absent =
            run("systemctl", &["--no-block", "stop", "ssh.socket", "ssh.service", "sshd.service"]);
    }
}

fn make_group() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.procs").exists() && fs_err::create_dir_all(GROUP).is_ok()
}

/// The processes of a user, and those whose command line names our configuration.
fn processes(uid: Option<u32>, config: &str) -> Vec<Pid> {
    let own = |entry: &fs_err::DirEntry| {
        uid.is_some() && entry.metadata().ok().map(|metadata| metadata.uid()) == uid
    };
    let ours = |entry: &fs_err::DirEntry| {
        let said = fs_err::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&said).contains(config)
    };
    fs_err::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| own(entry) || ours(entry))
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
        let text = config(&window(), Path::new("/run/k"), Path::new("/run/a"));
        for line in
            ["AllowUsers monorail", "PermitRootLogin no", "PasswordAuthentication yes", "UsePAM no"]
        {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        let keys = Window { password_hash: None, user: "root".into(), ..window() };
        let text = config(&keys, Path::new("/run/k"), Path::new("/run/a"));
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

    const LOCKED: &str = "root:*:19000:0:99999:7:::\nmonorail:!:19000:0:99999:7:::\n";

    /// A machine whose user has no processes.
    fn place(folder: &Path) -> Place {
        let [etc, state] = ["etc", "state"].map(|name| folder.join(name));
        for folder in [&etc, &state] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(etc.join("passwd"), "monorail:x:54321:54321::/:/bin/sh\n").unwrap();
        std::fs::write(etc.join("shadow"), LOCKED).unwrap();
        std::fs::write(state.join("ssh_host_ed25519_key"), "").unwrap();
        Place { etc, state, sshd: "/bin/true".into(), empty: folder.join("empty") }
    }

    #[test]
    fn a_login_that_cannot_be_opened_stays_locked_and_the_server_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let shadow = place.etc.join("shadow");
        // The account is opened, but sshd cannot be started.
        std::fs::write(&place.empty, "").unwrap();
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |said| told.borrow_mut().push(said);
        let log = Log::new();
        let mut keeper = Keeper::new(place, &log, &tell);
        keeper.change(Some(window()));
        assert!(keeper.open.is_none() && keeper.place.noted().is_none());
        assert_eq!(std::fs::read_to_string(&shadow).unwrap(), LOCKED);
        keeper.change(Some(window()));
        let told = told.borrow();
        let [Err(said)] = &told[..] else { panic!("said once: {told:?}") };
        assert!(said.starts_with("cannot open the login: "), "{said}");
    }

    #[test]
    fn whoever_was_let_in_before_is_locked_out_as_soon_as_that_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let shadow = place.etc.join("shadow");
        // An agent has opened the account and died.
        place.set_password("monorail", Password::Hash("$6$salt$0123456789")).unwrap();
        std::fs::write(place.note(), "monorail").unwrap();
        std::fs::write(place.keys(), "ssh-ed25519 AAAA x\n").unwrap();
        let away = folder.path().join("shadow");
        std::fs::rename(&shadow, &away).unwrap();
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |said| told.borrow_mut().push(said);
        let log = Log::new();
        let mut keeper = Keeper::new(place, &log, &tell);
        keeper.shut();
        assert!(keeper.place.noted().is_some() && keeper.pause() <= LOOK, "tried again");
        keeper.change(Some(Window { user: "root".into(), ..window() }));
        assert!(keeper.open.is_none(), "nobody else is let in before");
        assert_eq!(keeper.place.noted().as_deref(), Some("monorail"));
        std::fs::rename(&away, &shadow).unwrap();
        keeper.look();
        assert_eq!(std::fs::read_to_string(&shadow).unwrap(), LOCKED);
        assert!(keeper.place.noted().is_none() && !keeper.place.keys().exists());
        let told = told.borrow();
        assert_eq!(told.last(), Some(&Ok("login closed for monorail".to_owned())), "{told:?}");
    }
}
