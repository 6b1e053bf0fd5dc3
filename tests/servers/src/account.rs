//! Who runs a server: Postgres refuses root, and Dovecot and Postfix want accounts of their own.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use crate::Error;

/// An account of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// The first of `names` that exists when this process is root, else the account it runs as.
    pub(crate) fn for_server(names: &[&str]) -> Result<Self, Error> {
        let own = fs::metadata("/proc/self").map_err(Error::io("cannot read /proc/self"))?.uid();
        let known = fs::read_to_string("/etc/passwd").map_err(Error::io("cannot read /etc/passwd"))?;
        let accounts: Vec<Self> = known.lines().filter_map(parse).collect();
        let found = if own == 0 {
            names.iter().find_map(|name| accounts.iter().find(|account| account.name == **name))
        } else {
            accounts.iter().find(|account| account.uid == own)
        };
        found.cloned().ok_or_else(|| {
            Error::Account(format!(
                "none of the accounts {names:?} exists, nor one for user id {own}: run `make setup`"
            ))
        })
    }

    /// The name of its group.
    pub(crate) fn group(&self) -> Result<String, Error> {
        let groups = fs::read_to_string("/etc/group").map_err(Error::io("cannot read /etc/group"))?;
        let named = groups.lines().find_map(|line| {
            let (name, rest) = line.split_once(':')?;
            (rest.split(':').nth(1)?.parse() == Ok(self.gid)).then(|| name.to_owned())
        });
        named.ok_or_else(|| Error::Account(format!("group {} of {} has no name", self.gid, self.name)))
    }

    /// Gives `path` to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io(format!(
            "cannot give {} to {}",
            path.display(),
            self.name
        )))
    }

    /// The beginning of a command line that runs the rest under this account; empty when it is the present one.
    pub(crate) fn prefix(&self) -> Result<String, Error> {
        Ok(if is_root()? {
            format!("setpriv --reuid={} --regid={} --clear-groups", self.uid, self.gid)
        } else {
            String::new()
        })
    }
}

/// Whether this process may become other users.
pub(crate) fn is_root() -> Result<bool, Error> {
    Ok(fs::metadata("/proc/self").map_err(Error::io("cannot read /proc/self"))?.uid() == 0)
}

/// One line of passwd(5).
fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}
