//! Random moments, and how a command is killed in one of them.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::project::succeeded;

/// A setting: the number that all moments follow from. It is printed, so that a run can be had again.
const SEED: &str = "OVERBOOT_SEED";

/// The system calls at whose beginnings a command is killed: those that change files, mounts, namespaces and processes.
const CALLS: &str = "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,mknodat,\
    creat,openat,write,pwrite64,ftruncate,fsync,fdatasync,syncfs,flock,fchmod,fchmodat,fchownat,utimensat,copy_file_range,\
    mount,umount2,pivot_root,unshare,clone,clone3,fork,vfork,execve,wait4,exit_group";

/// Numbers that follow from a seed (splitmix64, Steele and others 2014).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// For the test case of that name; from the environment's seed, or another each time.
    pub fn of(case: &str) -> Self {
        let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let seed = env::var(SEED).map_or_else(|_| now(), |seed| seed.parse().unwrap());
        eprintln!("{case}: {SEED}={seed} has the same moments again");
        Self(case.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31) ^ u64::from(byte)))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What a command does when nobody kills it.
#[derive(Debug)]
pub struct Course {
    /// How long it takes.
    length: Duration,
    /// How often each system call is made by the thread that makes most of them.
    calls: BTreeMap<String, u64>,
}

/// When, and how.
#[derive(Debug)]
pub enum Moment {
    /// After a while, with all of its process group: as a terminal that is closed has it.
    Group(Duration),
    /// After a while, the program alone: as the kernel has it that is out of memory.
    Program(Duration),
    /// When a thread, of the program or of what it started, makes that system call for the nth time.
    Call(String, u64),
}

impl Course {
    /// Of a command that takes so long when nobody watches it, and is carried out once more here.
    pub fn of(command: &Command, length: Duration) -> Self {
        let trace = tempfile::NamedTempFile::new().unwrap();
        let mut traced = traced(command, trace.path());
        traced.args(["--seccomp-bpf", "-e", &format!("trace={CALLS}"), "--"]);
        run_on(&mut traced, command);
        succeeded(&traced.output().unwrap());
        // `PID name(…`: strace(1).
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let text = String::from_utf8_lossy(&fs::read(trace.path()).unwrap()).into_owned();
        for line in text.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            // A call that others interrupted stands there twice, the second time as `<... name resumed>`.
            let Some((name, _)) = rest.trim_start().split_once('(') else { continue };
            if name.starts_with('<') {
                continue;
            }
            *counts.entry((thread, name)).or_default() += 1;
        }
        let mut calls = BTreeMap::new();
        for ((_, name), count) in counts {
            let most: &mut u64 = calls.entry(name.to_owned()).or_default();
            *most = count.max(*most);
        }
        assert!(calls.len() > 5, "{calls:?}");
        Self { length, calls }
    }

    /// One of its moments: half of them by time, half of them by what it does, where rare calls are as likely as frequent ones.
    pub fn moment(&self, dice: &mut Dice) -> Moment {
        let length = u64::try_from(self.length.as_micros()).unwrap();
        match dice.below(4) {
            0 => Moment::Group(Duration::from_micros(dice.below(length))),
            1 => Moment::Program(Duration::from_micros(dice.below(length))),
            _ => {
                let which = usize::try_from(dice.below(self.calls.len() as u64)).unwrap();
                let (name, most) = self.calls.iter().nth(which).unwrap();
                Moment::Call(name.clone(), 1 + dice.below(*most))
            }
        }
    }
}

impl Moment {
    /// Runs a command and kills it then. Had it not ended well before?
    pub fn strikes(&self, command: &mut Command) -> bool {
        let (within, all) = match self {
            Self::Group(within) => (*within, true),
            Self::Program(within) => (*within, false),
            Self::Call(name, nth) => {
                let mut traced = traced(command, Path::new("/dev/null"));
                let inject = format!("inject={name}:signal=KILL:when={nth}");
                traced.args(["-e", &format!("trace={name}"), "-e", &inject, "--"]);
                run_on(&mut traced, command);
                traced.stdout(Stdio::null()).stderr(Stdio::null());
                return !traced.status().unwrap().success();
            }
        };
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < within {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return false;
            }
            thread::sleep(Duration::from_micros(500));
        }
        let id = Pid::from_child(&child);
        let kill = if all { kill_process_group } else { kill_process };
        kill(id, Signal::KILL).unwrap();
        !child.wait().unwrap().success()
    }
}

/// strace(1) for all threads and processes of a command. With `--seccomp-bpf` it would stop them at what is traced alone; it
/// does nothing to them then, either.
fn traced(command: &Command, to: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["--follow-forks", "--quiet=all", "--output"]).arg(to);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

fn run_on(traced: &mut Command, command: &Command) {
    traced.arg(command.get_program()).args(command.get_args());
}
