//! One `lockstep` process: started, signalled, and never left behind. Its log is a file that is shown when a test fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::lockstep;

/// How long a process may take to end when it is told to.
const END_LIMIT: Duration = Duration::from_secs(60);

/// A running process; SIGKILL when dropped, and by the kernel when this process dies first.
pub struct Process {
    /// What it is, for people: its roles.
    pub name: String,
    child: Child,
    log: PathBuf,
}

/// What a process can be told.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// End in good order; the second time: at once.
    Terminate,
    /// Gone, without a chance to do anything about it.
    Kill,
    /// Frozen until continued.
    Stop,
    /// Goes on.
    Continue,
}

impl Process {
    /// Starts `lockstep` with these arguments and this configuration file; its output goes to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub(crate) fn start(
        name: &str,
        arguments: &[&str],
        configuration: &Path,
        log: PathBuf,
        environment: &[(String, String)],
    ) -> Self {
        let output = File::create(&log).expect("a log file");
        let errors = output.try_clone().expect("a log file");
        let child = command(arguments, configuration)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("lockstep can be started");
        Self { name: name.to_owned(), child, log }
    }

    /// The process id; none once it has ended and that was seen.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything it has said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Where its log is.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Sends a signal, unless it has ended already.
    ///
    /// # Panics
    /// When no signal can be sent.
    pub async fn signal(&mut self, signal: Signal) {
        // Not reaped yet, so that the id is still its own.
        let Some(id) = self.child.id() else { return };
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "kill -s \"$1\" \"$2\"", "kill", name, &id.to_string()]);
        assert!(shell.status().await.expect("a shell runs").success(), "process {id} cannot be signalled");
    }

    /// SIGKILL; returns when it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a process can be killed");
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::Terminate).await;
        self.ended().await
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub async fn ended(&mut self) -> ExitStatus {
        let Ok(status) = timeout(END_LIMIT, self.child.wait()).await else {
            panic!("{} did not end within {} s", self.name, END_LIMIT.as_secs())
        };
        status.expect("a process can be waited for")
    }

    /// Its exit status, when it has ended.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a process can be waited for")
    }

    /// The memory it holds, in kilobytes: `VmRSS` of proc(5). None once it has ended.
    pub fn memory_kilobytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
    }
}

/// `lockstep` with a configuration file and nothing of this process's environment but the path. The kernel kills it
/// when the thread that started it is gone, however that came about (prctl(2), `PR_SET_PDEATHSIG`).
pub fn command(arguments: &[&str], configuration: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(lockstep())
        .arg("--config")
        .arg(configuration)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        // Ctrl-C at a terminal is for the harness, which decides who ends when.
        .process_group(0)
        .kill_on_drop(true);
    command
}
