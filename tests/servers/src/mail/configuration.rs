//! The configuration files of Dovecot and Postfix, filled in for one instance.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use super::{Options, TokenServer};
use crate::{Error, account::Account, certificates::Certificates, ports, supervised::Supervised};

/// Where Dovecot listens; POP3 with STLS on 127.0.0.2, everything else on 127.0.0.1.
#[derive(Clone, Copy)]
pub(super) struct DovecotPorts {
    pub(super) pop3: u16,
    pub(super) pop3s: u16,
    pub(super) imap: u16,
    pub(super) imaps: u16,
    pub(super) lmtp: u16,
    pub(super) sasl: u16,
}

pub(super) fn dovecot(
    server: &Supervised,
    account: &Account,
    certificates: &Certificates,
    tokens: Option<&TokenServer>,
    mechanisms: &str,
) -> Result<DovecotPorts, Error> {
    let directory = server.directory().display();
    let [pop3, pop3s, imap, imaps, lmtp, sasl] = ports::free()?;
    let values = [
        ("DIRECTORY", directory.to_string()),
        ("USER", account.name.clone()),
        ("UID", account.uid.to_string()),
        ("GID", account.gid.to_string()),
        ("GROUP", account.group()?),
        ("POP3", pop3.to_string()),
        ("POP3S", pop3s.to_string()),
        ("IMAP", imap.to_string()),
        ("IMAPS", imaps.to_string()),
        ("LMTP", lmtp.to_string()),
        ("SASL", sasl.to_string()),
        ("MECHANISMS", mechanisms.to_owned()),
        ("TOKENS", tokens.map(|_| include_str!("tokens.conf").to_owned()).unwrap_or_default()),
        ("INTROSPECTION", tokens.map(TokenServer::introspection_url).unwrap_or_default()),
    ];
    // What names a token's mailbox in the answer about it, and what that is compared with.
    for (of, attribute, compared) in [("user", "login", "%Lu"), ("domain", "organization", "%Ld")] {
        let asked = [("ATTRIBUTE", attribute.to_owned()), ("COMPARED", compared.to_owned())];
        let asked = fill(&fill(include_str!("introspection.conf"), &values), &asked);
        server.write(&format!("introspection-{of}.conf"), &asked)?;
    }
    let values = values.map(|(name, value)| (name, value.replace("@DIRECTORY@", &directory.to_string())));
    server.write("dovecot.conf", &fill(include_str!("dovecot.conf"), &values))?;
    server.write("passwords.conf", &fill(include_str!("passwords.conf"), &values))?;
    write_certificate(server, certificates)?;
    server.write(
        "run",
        &format!("ulimit -n 65536 2>/dev/null\nexec /usr/sbin/dovecot -F -c {directory}/dovecot.conf\n"),
    )?;
    Ok(DovecotPorts { pop3, pop3s, imap, imaps, lmtp, sasl })
}

/// The ports with STARTTLS and with TLS from the first byte.
pub(super) fn postfix(
    server: &Supervised,
    certificates: &Certificates,
    dovecot: DovecotPorts,
    policy_port: u16,
    options: &Options,
) -> Result<[u16; 2], Error> {
    let directory = server.directory().display();
    let [submission, submissions] = ports::free()?;
    let values = [
        ("DIRECTORY", directory.to_string()),
        ("SUBMISSION", submission.to_string()),
        ("SUBMISSIONS", submissions.to_string()),
        ("LMTP", dovecot.lmtp.to_string()),
        ("SASL", dovecot.sasl.to_string()),
        ("POLICY", policy_port.to_string()),
        ("SIZE", options.message_size_limit.to_string()),
    ];
    let postfix_account = Account::for_server(&["postfix"])?;
    for (name, owned) in [("etc", false), ("queue", false), ("data", true)] {
        let path = server.directory().join(name);
        let doing = || Error::io("cannot make Postfix's directories");
        fs::create_dir_all(&path).map_err(doing())?;
        fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(doing())?;
        if owned {
            postfix_account.own(&path)?;
        }
    }
    server.write("etc/main.cf", &fill(include_str!("main.cf"), &values))?;
    server.write("etc/master.cf", &fill(include_str!("master.cf"), &values))?;
    write_certificate(server, certificates)?;
    server.write("run", &fill(include_str!("postfix.sh"), &values))?;
    Ok([submission, submissions])
}

fn write_certificate(server: &Supervised, certificates: &Certificates) -> Result<(), Error> {
    server.write("certificate.pem", &certificates.certificate)?;
    server.write("key.pem", &certificates.key)?;
    Ok(())
}

fn fill(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}
