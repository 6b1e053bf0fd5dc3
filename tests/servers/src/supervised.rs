//! One server under its supervisor: a small `sh` that ends the server and removes its directory when this process
//! lets go of a pipe or dies. Pipes and a thread of the standard library, never of a runtime: a test's runtime ends
//! long before a server that all tests share.

use std::{
    fs::{self, Permissions},
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::Error;

/// How long a server may take until it answers. Generous: a busy machine is no failure.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take over one question, before it is asked again.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How long a server may take to end, above its own grace.
const END_LIMIT: Duration = Duration::from_secs(60);
const PORT_CLASHES: usize = 5;

/// What a supervisor has to know of its server.
pub(crate) struct Kind {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Names its directory.
    pub(crate) slug: &'static str,
    /// The signal for an orderly end that keeps the data.
    pub(crate) stop: &'static str,
    /// The signal for the last end, after which the data is removed.
    pub(crate) end: &'static str,
    /// How long either may take before SIGKILL.
    pub(crate) grace_seconds: u32,
}

/// How often the server ended, and with which status the last time.
#[derive(Clone, Copy, Default)]
struct Ends {
    count: u64,
    status: i32,
}

pub(crate) struct Supervised {
    kind: &'static Kind,
    directory: PathBuf,
    commands: Mutex<ChildStdin>,
    starts: AtomicU64,
    ends: watch::Receiver<Ends>,
}

impl Supervised {
    /// Starts the supervisor, which makes the directory. The server itself is not started yet.
    pub(crate) fn new(kind: &'static Kind) -> Result<Self, Error> {
        let cannot = || format!("cannot start the supervisor of {}", kind.name);
        let mut supervisor = Command::new("/bin/sh")
            .arg("-c")
            .arg(include_str!("supervisor.sh"))
            .args(["supervisor", kind.slug, kind.stop, kind.end, &kind.grace_seconds.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            // Ctrl-C at a terminal reaches the foreground group; the supervisor has to outlive it.
            .process_group(0)
            .spawn()
            .map_err(Error::io(cannot()))?;
        let lost = || Error::io(cannot())(io::ErrorKind::BrokenPipe.into());
        let commands = supervisor.stdin.take().ok_or_else(lost)?;
        let mut lines = BufReader::new(supervisor.stdout.take().ok_or_else(lost)?).lines();
        let first = lines.next().ok_or_else(lost)?.map_err(Error::io(cannot()))?;
        let directory = PathBuf::from(first.strip_prefix("directory ").ok_or_else(lost)?);

        let (ended, ends) = watch::channel(Ends::default());
        thread::spawn(move || listen(supervisor, lines, &ended));
        Ok(Self { kind, directory, commands: Mutex::new(commands), starts: AtomicU64::new(0), ends })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file into the directory, readable for the server's account.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf, Error> {
        let path = self.directory.join(name);
        let doing = || Error::io(format!("cannot write {}", path.display()));
        fs::write(&path, content).map_err(doing())?;
        // Whatever this process's umask says.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).map_err(doing())?;
        Ok(path)
    }

    /// The first start: `configure` chooses ports and writes the `run` script and what it reads; `answers` says
    /// whether the server is of use yet. Another process may take a port in between: then the ports are chosen anew.
    pub(crate) async fn first_start<P>(
        &self,
        configure: impl Fn() -> Result<P, Error>,
        answers: impl AsyncFn(&P) -> bool,
    ) -> Result<P, Error> {
        let mut clashes = 0;
        loop {
            let ports = configure()?;
            self.write("log", "")?;
            match self.start_once(async || answers(&ports).await).await {
                Ok(()) => return Ok(ports),
                Err(error) if clashes < PORT_CLASHES && is_port_clash(&error) => {
                    clashes += 1;
                    self.kill().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts the server again on the data and the ports it had. A server that was killed may need a moment until
    /// the system has let go of what it held, so an early end is tried again.
    pub(crate) async fn start_again(&self, answers: impl AsyncFn() -> bool) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            match self.start_once(async || answers().await).await {
                Err(Error::Start { .. }) if !self.is_running() && tries < 20 => {
                    tries += 1;
                    sleep(Duration::from_millis(200)).await;
                }
                other => return other,
            }
        }
    }

    /// Asks the server to end, keeps its data, and returns when it has ended.
    pub(crate) async fn stop(&self) {
        self.command("stop");
        self.wait_for_end().await;
    }

    /// SIGKILL to the server and everything it started; returns when it is gone.
    pub(crate) async fn kill(&self) {
        self.command("kill");
        self.wait_for_end().await;
    }

    async fn start_once(&self, answers: impl AsyncFn() -> bool) -> Result<(), Error> {
        assert!(!self.is_running(), "{} is running already", self.kind.name);
        self.starts.fetch_add(1, Ordering::SeqCst);
        self.command("start");
        let deadline = Instant::now() + START_LIMIT;
        let mut pause = Duration::from_millis(5);
        // A server that is half up may take a question and never answer it.
        while timeout(ANSWER_LIMIT, answers()).await != Ok(true) {
            if !self.is_running() {
                let status = self.ends.borrow().status;
                return Err(self.failure(format!("ended with status {status} instead of starting")));
            }
            if Instant::now() > deadline {
                return Err(self.failure(format!("did not answer within {} s", START_LIMIT.as_secs())));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        Ok(())
    }

    fn is_running(&self) -> bool {
        self.starts.load(Ordering::SeqCst) > self.ends.borrow().count
    }

    async fn wait_for_end(&self) {
        let mut ends = self.ends.clone();
        let starts = self.starts.load(Ordering::SeqCst);
        let limit = END_LIMIT + Duration::from_secs(self.kind.grace_seconds.into());
        let ended = timeout(limit, ends.wait_for(|ends| ends.count >= starts)).await;
        assert!(ended.is_ok(), "{} did not end within {} s", self.kind.name, limit.as_secs());
    }

    /// A supervisor that is gone has ended its server: a command to it has nothing left to do.
    fn command(&self, command: &str) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = commands.write_all(format!("{command}\n").as_bytes());
    }

    fn failure(&self, what: String) -> Error {
        let log = fs::read(self.directory.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let log = lines[lines.len().saturating_sub(30)..].join("\n");
        Error::Start { server: self.kind.name, what, log }
    }
}

/// Takes note of each end until the supervisor itself is gone, and reaps it.
fn listen(
    mut supervisor: Child,
    lines: impl Iterator<Item = io::Result<String>>,
    ended: &watch::Sender<Ends>,
) {
    for line in lines.map_while(Result::ok) {
        if let Some(status) = line.strip_prefix("exited ") {
            let status = status.parse().unwrap_or(-1);
            ended.send_modify(|ends| *ends = Ends { count: ends.count + 1, status });
        }
    }
    let _ = supervisor.wait();
}

fn is_port_clash(error: &Error) -> bool {
    let Error::Start { log, .. } = error else { return false };
    let log = log.to_lowercase();
    log.contains("address already in use") || log.contains("eaddrinuse") || log.contains("could not bind")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const KIND: Kind = Kind { name: "a script", slug: "script", stop: "TERM", end: "TERM", grace_seconds: 5 };

    #[tokio::test]
    async fn a_taken_port_is_given_up_for_another() {
        let server = Supervised::new(&KIND).unwrap();
        let configured = Cell::new(0);
        let configure = || {
            configured.set(configured.get() + 1);
            let first = configured.get() == 1;
            server.write(
                "run",
                if first { "echo Address already in use; exit 1" } else { ">up; exec sleep 600" },
            )?;
            Ok(configured.get())
        };
        let up = server.directory().join("up");
        assert_eq!(server.first_start(configure, async |_| up.exists()).await.unwrap(), 2);
        server.stop().await;
        assert!(!server.is_running());
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_shows_the_end_of_its_log() {
        let server = Supervised::new(&KIND).unwrap();
        let configure = || server.write("run", "seq 100; exit 7").map(|_| ());
        let error = server.first_start(configure, async |()| false).await.unwrap_err();
        let lines: Vec<String> = (71..=100).map(|line| line.to_string()).collect();
        let expected = "a script ended with status 7 instead of starting; the end of its log:\n";
        assert_eq!(error.to_string(), expected.to_owned() + &lines.join("\n"));
    }

    #[tokio::test]
    async fn what_does_not_end_when_asked_is_killed_with_all_it_started() {
        const SHORT: Kind = Kind { grace_seconds: 1, ..KIND };
        let server = Supervised::new(&SHORT).unwrap();
        let deaf = "trap '' TERM; sleep 600 & echo $! >child; >up; wait; wait";
        let up = server.directory().join("up");
        let configure = || server.write("run", deaf).map(|_| ());
        server.first_start(configure, async |()| up.exists()).await.unwrap();
        let child = fs::read_to_string(server.directory().join("child")).unwrap();
        server.stop().await;
        // A process that nobody has reaped yet has no command line any more.
        let command = fs::read(format!("/proc/{}/cmdline", child.trim())).unwrap_or_default();
        assert_eq!(command, b"");
    }
}
