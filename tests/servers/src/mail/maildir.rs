//! Mailboxes as files: who may sign in with what, and the messages. Written past the mail servers, so that hundreds
//! of messages are there in a moment; every write is a rename, so that Dovecot never sees half a file.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::UNIX_EPOCH,
};

use crate::{Error, account::Account};

pub(super) struct Maildirs {
    root: PathBuf,
    account: Account,
    written: AtomicU64,
}

impl Maildirs {
    /// Below `root` come `mail/DOMAIN/LOCAL/Maildir` and one file for each mailbox in `passwords/passdb`.
    pub(super) fn new(root: &Path, account: Account) -> Result<Self, Error> {
        let maildirs = Self { root: root.to_owned(), account, written: AtomicU64::new(0) };
        for directory in ["mail", "passwords", "passwords/passdb"] {
            let made = maildirs.make_directory(&root.join(directory));
            made.map_err(Error::io("cannot make the directories of the mailboxes"))?;
        }
        Ok(maildirs)
    }

    /// Makes the mailbox if it is not there, and sets its password.
    pub(super) fn add(&self, address: &str, password: &str) -> io::Result<()> {
        let address = address.to_lowercase();
        let (_, domain) = split(&address)?;
        self.make_directory(&self.root.join("mail").join(domain))?;
        let maildir = self.maildir(&address)?;
        if let Some(home) = maildir.parent() {
            self.make_directory(home)?;
        }
        self.make_directory(&maildir)?;
        for part in ["tmp", "new", "cur"] {
            self.make_directory(&maildir.join(part))?;
        }
        // Hexadecimal, so that no character of the password means anything to Dovecot or JSON.
        let password = password.bytes().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        });
        let fresh = self.root.join("passwords").join(format!("fresh.{}", self.number()));
        fs::write(&fresh, format!(r#"{{"password":"{{PLAIN.HEX}}{password}"}}"#))?;
        self.give(&fresh)?;
        fs::rename(fresh, self.password_file(&address))
    }

    /// Nobody can sign in any more and nothing is delivered; the messages go with it.
    pub(super) fn remove(&self, address: &str) -> io::Result<()> {
        let address = address.to_lowercase();
        fs::remove_file(self.password_file(&address))?;
        fs::remove_dir_all(self.maildir(&address)?)
    }

    pub(super) fn deliver(&self, address: &str, message: &[u8]) -> io::Result<()> {
        let maildir = self.maildir(&address.to_lowercase())?;
        let number = self.number();
        let temporary = maildir.join("tmp").join(format!("{number}.lockstep"));
        fs::write(&temporary, message)?;
        self.give(&temporary)?;
        // The name begins with the second of delivery, which the file system knows.
        let modified = fs::metadata(&temporary)?.modified()?;
        let seconds = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let size = message.len();
        fs::rename(&temporary, maildir.join("new").join(format!("{seconds}.M{number:06}.lockstep,S={size}")))
    }

    /// Every message, in the order of delivery.
    pub(super) fn messages(&self, address: &str) -> io::Result<Vec<Vec<u8>>> {
        let maildir = self.maildir(&address.to_lowercase())?;
        let mut files = Vec::new();
        for part in ["new", "cur"] {
            for entry in fs::read_dir(maildir.join(part))? {
                let entry = entry?;
                // Dovecot may move a file from `new` to `cur` at any moment: then it is found there.
                if let Ok(content) = fs::read(entry.path()) {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let unique = name.split(':').next().unwrap_or_default().to_owned();
                    files.push((unique, content));
                }
            }
        }
        files.sort_by(|(one, _), (other, _)| one.cmp(other));
        files.dedup_by(|(one, _), (other, _)| one == other);
        Ok(files.into_iter().map(|(_, content)| content).collect())
    }

    fn maildir(&self, address: &str) -> io::Result<PathBuf> {
        let (local, domain) = split(address)?;
        Ok(self.root.join("mail").join(domain).join(local).join("Maildir"))
    }

    fn password_file(&self, address: &str) -> PathBuf {
        self.root.join("passwords/passdb").join(address)
    }

    fn number(&self) -> u64 {
        self.written.fetch_add(1, Ordering::SeqCst)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.give(path)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.account.uid), Some(self.account.gid))
    }
}

fn split(address: &str) -> io::Result<(&str, &str)> {
    let parts = address.split_once('@').filter(|(local, domain)| {
        let fits = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('/');
        fits(local) && fits(domain)
    });
    parts.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "not an address that can be a mailbox here")
    })
}
