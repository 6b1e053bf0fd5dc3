//! Debian's mail fetchers, one process per mailbox and all at once, as a person would run them: to files of their own,
//! leaving the messages on the server.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Trouble;
use super::house::PASSWORD;

/// The login without rights, and its group.
const NOBODY: u32 = 65_534;

/// How long getmail is looked at: it was seen to wait for minutes for a delivery, a process of its own, that had ended.
const ENOUGH: Duration = Duration::from_secs(20);
/// How long the others are.
const ALWAYS: Duration = Duration::from_secs(900);

/// A mailbox on a server of this machine, with TLS from the first byte.
pub(super) struct Account {
    pub(super) login: String,
    pub(super) port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Mpop,
    Fetchmail,
    Getmail,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mpop => "mpop",
            Self::Fetchmail => "fetchmail",
            Self::Getmail => "getmail",
        }
    }

    /// Fetches up to so many messages of each account; how many messages are in the files afterwards.
    pub(super) async fn fetch(self, accounts: &[Account], ca: &str, most: usize) -> Result<usize, Trouble> {
        let directory = tempfile::Builder::new().prefix("lockstep-bench.").tempdir()?;
        let ca_file = directory.path().join("ca.pem");
        fs::write(&ca_file, ca)?;
        let mut running = JoinSet::new();
        for (number, account) in accounts.iter().enumerate() {
            let home = directory.path().join(number.to_string());
            fs::create_dir(&home)?;
            let (settings, arguments) = match self {
                Self::Mpop => mpop(account, &home, &ca_file)?,
                Self::Fetchmail => fetchmail(account, &home, &ca_file, most),
                Self::Getmail => getmail(account, &home, &ca_file, most)?,
            };
            let file = home.join("settings");
            fs::write(&file, settings)?;
            fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            let mut command = Command::new(self.name());
            command.args(arguments).env("HOME", &home).env("FETCHMAILHOME", &home);
            if self == Self::Getmail && fs::metadata("/proc/self")?.uid() == 0 {
                // It runs no delivery as root.
                own(directory.path(), &home)?;
                command.uid(NOBODY).gid(NOBODY);
            }
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
            let patience = if self == Self::Getmail { ENOUGH } else { ALWAYS };
            running.spawn(timeout(patience, command.output()));
        }
        while let Some(ended) = running.join_next().await {
            // Stopped: what it brought until then is its rate.
            let Ok(ended) = ended? else { continue };
            let ended = ended.map_err(|error| format!("{} cannot be run: {error}", self.name()))?;
            // 13: fetchmail had more to fetch than it was to. getmail gives up an account when a delivery, a process of its
            // own for each message, takes long, or trips over one that ended at once: what it brought until then is its rate.
            let words = String::from_utf8_lossy(&ended.stderr);
            let tripped = ["waiting child pid", "_ForkingBase__orig_handler"];
            let expected = ended.status.success()
                || ended.status.code() == Some(13)
                || (self == Self::Getmail && tripped.iter().any(|trip| words.contains(trip)));
            if !expected {
                return Err(format!("{} ended with {}: {words}", self.name(), ended.status).into());
            }
        }
        (0..accounts.len()).map(|number| self.count(&directory.path().join(number.to_string()))).sum()
    }

    fn count(self, home: &Path) -> Result<usize, Trouble> {
        Ok(match self {
            Self::Mpop | Self::Getmail => fs::read_dir(home.join("mail/new"))?.count(),
            Self::Fetchmail => {
                let mail = fs::read(home.join("mail"))?;
                mail.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"MAIL FROM:")).count()
            }
        })
    }
}

fn maildir(home: &Path) -> Result<(), Trouble> {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(home.join("mail").join(part))?;
    }
    Ok(())
}

/// Gives an account's files to nobody, who may pass through the directory to them.
fn own(directory: &Path, home: &Path) -> Result<(), Trouble> {
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    for part in ["", "settings", "mail", "mail/cur", "mail/new", "mail/tmp"] {
        std::os::unix::fs::chown(home.join(part), Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}

/// It knows no limit, so it is only asked for everything.
fn mpop(account: &Account, home: &Path, ca: &Path) -> Result<(String, Vec<String>), Trouble> {
    maildir(home)?;
    let (login, port) = (&account.login, account.port);
    let (home, ca) = (home.display(), ca.display());
    let settings = format!(
        "account bench\nhost localhost\nport {port}\nuser {login}\npassword \"{PASSWORD}\"\ntls on\ntls_starttls off\n\
         tls_trust_file {ca}\nkeep on\ndelivery maildir {home}/mail\nuidls_file {home}/uidls\n"
    );
    Ok((settings, vec![format!("--file={home}/settings"), "--quiet".to_owned(), "bench".to_owned()]))
}

fn getmail(account: &Account, home: &Path, ca: &Path, most: usize) -> Result<(String, Vec<String>), Trouble> {
    maildir(home)?;
    let (login, port) = (&account.login, account.port);
    let (home, ca) = (home.display(), ca.display());
    let settings = format!(
        "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {port}\nusername = {login}\n\
         password = {PASSWORD}\nca_certs = {ca}\n[destination]\ntype = Maildir\npath = {home}/mail/\n\
         [options]\nread_all = true\ndelete = false\nverbose = 0\nmax_messages_per_session = {most}\n"
    );
    Ok((settings, vec![format!("--getmaildir={home}"), format!("--rcfile={home}/settings")]))
}

fn fetchmail(account: &Account, home: &Path, ca: &Path, most: usize) -> (String, Vec<String>) {
    let (login, port) = (&account.login, account.port);
    let (home, ca) = (home.display(), ca.display());
    let settings = format!(
        "set idfile \"{home}/ids\"\nset pidfile \"{home}/pid\"\nset no bouncemail\n\
         poll localhost service {port} protocol pop3 uidl\n  \
         user \"{login}\" password \"{PASSWORD}\" is reader here ssl sslcertck sslcertfile \"{ca}\"\n  \
         keep fetchall fetchlimit {most} no rewrite bsmtp \"{home}/mail\"\n"
    );
    (settings, vec![format!("--fetchmailrc={home}/settings"), "--silent".to_owned(), "--nosyslog".to_owned()])
}
