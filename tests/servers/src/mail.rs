//! A private mail provider: Dovecot for POP3 and IMAP, Postfix for submission, and mailboxes that tests make.
//! Whatever Postfix takes goes to Dovecot; nothing ever leaves the machine.

mod configuration;
mod maildir;
mod refusals;
mod tokens;

use std::path::Path;

use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{
    CountingProxy, Error,
    account::{self, Account},
    certificates::Certificates,
    error::require,
    or_panic,
    supervised::{Kind, Supervised},
};
use maildir::Maildirs;
use refusals::{Refusals, Refused};
pub use tokens::{TokenClient, TokenServer};

const DOVECOT: Kind = Kind { name: "Dovecot", slug: "dovecot", stop: "TERM", end: "TERM", grace_seconds: 5 };
const POSTFIX: Kind = Kind { name: "Postfix", slug: "postfix", stop: "TERM", end: "TERM", grace_seconds: 5 };
/// Dovecot takes this source of connections for another machine, see `dovecot.conf`.
const STRANGER: &str = "127.0.0.2";

/// What differs between one mail provider and another.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The largest message that submission takes, in bytes; announced by SIZE.
    pub message_size_limit: u64,
    /// A token server beside them, whose tokens open mailboxes.
    pub tokens: Option<TokenOptions>,
}

/// What the token server knows, and how a token is shown to the mail servers.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// The applications that it knows.
    pub clients: Vec<TokenClient>,
    /// How long an access token holds, in seconds.
    pub access_token_seconds: u32,
    /// The SASL mechanisms that are announced, such as `xoauth2 oauthbearer`.
    pub mechanisms: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self { message_size_limit: 25 * 1024 * 1024, tokens: None }
    }
}

impl Options {
    /// Another limit for the size of a message, in bytes.
    #[must_use]
    pub fn message_size_limit(mut self, bytes: u64) -> Self {
        self.message_size_limit = bytes;
        self
    }

    /// With a token server.
    #[must_use]
    pub fn tokens(mut self, tokens: TokenOptions) -> Self {
        self.tokens = Some(tokens);
        self
    }
}

/// A running mail provider on 127.0.0.1, ended when dropped. Its certificate is for `localhost` and `127.0.0.1`.
pub struct MailServers {
    dovecot: Supervised,
    postfix: Supervised,
    front: CountingProxy,
    /// Where Dovecot itself listens for POP3, behind the front.
    behind_front: u16,
    maildirs: Maildirs,
    refusals: Refusals,
    authority: String,
    /// The token server, where one was asked for.
    pub tokens: Option<TokenServer>,
    /// POP3 with STLS; a password without TLS is refused.
    pub pop3_port: u16,
    /// POP3 with TLS from the first byte.
    pub pop3s_port: u16,
    /// IMAP, for looking: takes passwords without TLS.
    pub imap_port: u16,
    /// IMAP with TLS from the first byte.
    pub imaps_port: u16,
    /// Submission with STARTTLS, which it insists on, as on AUTH.
    pub submission_port: u16,
    /// Submission with TLS from the first byte; insists on AUTH.
    pub submissions_port: u16,
}

impl MailServers {
    /// Starts Dovecot and Postfix, without any mailbox yet.
    ///
    /// # Panics
    /// When they cannot be started, with the cause.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts Dovecot and Postfix with other options.
    ///
    /// # Panics
    /// When they cannot be started, with the cause.
    pub async fn start_with(options: Options) -> Self {
        or_panic("cannot start the mail servers", Self::try_start(options).await)
    }

    /// Like [`MailServers::start_with`], for programs that report the error themselves.
    pub async fn try_start(options: Options) -> Result<Self, Error> {
        require("/usr/sbin/dovecot", "dovecot-core")?;
        require("/usr/lib/dovecot/pop3", "dovecot-pop3d")?;
        require("/usr/lib/dovecot/imap", "dovecot-imapd")?;
        require("/usr/lib/dovecot/lmtp", "dovecot-lmtpd")?;
        require("/usr/sbin/postfix", "postfix")?;
        if !account::is_root()? {
            return Err(Error::Account(
                "Postfix switches between accounts and so has to be started by root: use sudo or a container"
                    .to_owned(),
            ));
        }
        let certificates = Certificates::issue()?;
        let tokens = match &options.tokens {
            None => None,
            Some(known) => {
                Some(TokenServer::try_start(&certificates, &known.clients, known.access_token_seconds).await?)
            }
        };
        let mechanisms = options.tokens.as_ref().map_or("", |known| known.mechanisms);
        let account = Account::for_server(&["mail"])?;
        let dovecot = Supervised::new(&DOVECOT)?;
        let maildirs = Maildirs::new(dovecot.directory(), account.clone())?;
        let configure =
            || configuration::dovecot(&dovecot, &account, &certificates, tokens.as_ref(), mechanisms);
        let at = dovecot.first_start(configure, async |at| greets(STRANGER, at.pop3, "+OK").await).await?;

        let refusals = Refusals::start().await?;
        let postfix = Supervised::new(&POSTFIX)?;
        let configure = || configuration::postfix(&postfix, &certificates, at, refusals.port, &options);
        let [starttls, implicit_tls] = postfix
            .first_start(configure, async |[submission, _]| greets("127.0.0.1", *submission, "220").await)
            .await?;
        let front = CountingProxy::try_start(format!("{STRANGER}:{}", at.pop3)).await?;
        Ok(Self {
            pop3_port: front.port(),
            pop3s_port: at.pop3s,
            imap_port: at.imap,
            imaps_port: at.imaps,
            submission_port: starttls,
            submissions_port: implicit_tls,
            authority: certificates.authority,
            tokens,
            dovecot,
            postfix,
            front,
            behind_front: at.pop3,
            maildirs,
            refusals,
        })
    }

    /// The certificate of the authority that nobody trusts until told to, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// The directories of Dovecot and Postfix, each with its `log`.
    pub fn directories(&self) -> [&Path; 2] {
        [self.dovecot.directory(), self.postfix.directory()]
    }

    /// Makes a mailbox; one signs in with the whole address. Until then mail to it bounces.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn add_mailbox(&self, address: &str, password: &str) {
        or_panic("cannot add a mailbox", self.maildirs.add(address, password));
    }

    /// Changes the password, from the next sign-in on.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn set_password(&self, address: &str, password: &str) {
        or_panic("cannot set a password", self.maildirs.add(address, password));
    }

    /// Removes a mailbox with its messages.
    ///
    /// # Panics
    /// When there is no such mailbox.
    pub fn remove_mailbox(&self, address: &str) {
        or_panic("cannot remove a mailbox", self.maildirs.remove(address));
    }

    /// Puts a message into a mailbox as it is, byte for byte, past SMTP.
    ///
    /// # Panics
    /// When there is no such mailbox.
    pub fn deliver(&self, address: &str, message: &[u8]) {
        or_panic("cannot deliver", self.maildirs.deliver(address, message));
    }

    /// The messages of a mailbox as its files hold them, in the order of their delivery.
    ///
    /// # Panics
    /// When there is no such mailbox.
    pub fn messages(&self, address: &str) -> Vec<Vec<u8>> {
        or_panic("cannot read a mailbox", self.maildirs.messages(address))
    }

    /// Answers `RCPT TO` for this address with `reply`, such as `450 4.2.0 try later` or `550 5.1.1 who?`; with
    /// `None` the address is taken again. An address that is not refused and has no mailbox bounces.
    pub fn refuse_recipient(&self, address: &str, reply: Option<&str>) {
        self.refusals.set(Refused::Recipient(address.to_lowercase()), reply);
    }

    /// Answers the final dot of each message from this envelope sender with `reply`; with `None` they pass again.
    pub fn refuse_messages_from(&self, sender: &str, reply: Option<&str>) {
        self.refusals.set(Refused::MessageFrom(sender.to_lowercase()), reply);
    }

    /// Ends POP3, IMAP and the checking of passwords; connections are refused until the start.
    pub async fn stop_dovecot(&self) {
        self.front.refuse(true);
        self.dovecot.stop().await;
    }

    /// Starts Dovecot again with all mailboxes, on the same ports.
    ///
    /// # Panics
    /// When it runs already or does not start.
    pub async fn start_dovecot(&self) {
        let port = self.behind_front;
        let started = self.dovecot.start_again(async || greets(STRANGER, port, "+OK").await).await;
        or_panic("cannot start Dovecot again", started);
        self.front.refuse(false);
        while !greets("127.0.0.1", self.pop3_port, "+OK").await {
            tokio::task::yield_now().await;
        }
    }

    /// Where one who connects from the same address may sign in without TLS, as nobody else may.
    pub fn plain_pop3(&self) -> (&'static str, u16) {
        (STRANGER, self.behind_front)
    }

    /// Ends submission; connections are refused until the start.
    pub async fn stop_postfix(&self) {
        self.postfix.stop().await;
    }

    /// Starts Postfix again with its queue, on the same ports.
    ///
    /// # Panics
    /// When it runs already or does not start.
    pub async fn start_postfix(&self) {
        let answers = async || greets("127.0.0.1", self.submission_port, "220").await;
        or_panic("cannot start Postfix again", self.postfix.start_again(answers).await);
    }
}

/// Whether a server on that port begins by saying `greeting`.
async fn greets(host: &str, port: u16, greeting: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect((host, port)).await else { return false };
    let mut heard = vec![0; greeting.len()];
    stream.read_exact(&mut heard).await.is_ok() && heard == greeting.as_bytes()
}
