//! How a server is set up before it starts.

use std::path::PathBuf;
use std::time::Duration;

use crate::version::Version;

/// What a server offers and how it behaves when nothing is broken.
#[derive(Clone, Debug)]
pub struct Options {
    /// The newest version of the schema that it knows.
    pub version: Version,
    /// Which ways to sign in it offers, in the order of its `WWW-Authenticate` headers.
    pub offers: Vec<Offer>,
    /// The domain that it is responsible for beside those of its mailboxes: unknown recipients there come back.
    pub domain: String,
    /// Keeps a Message-ID that a client gave. Exchange itself gives its own when it sends.
    pub keeps_message_id: bool,
    /// How a sent message comes to its folder.
    pub sent_copy: SentCopy,
    /// Writes bodies and messages anew when they are saved, as Exchange does.
    pub rewrites_bodies: bool,
    /// The largest request, in bytes.
    pub max_request: usize,
    /// The most changes of one `SyncFolderItems`. Exchange's own limit is 512.
    pub max_changes: usize,
    /// How many connections may be used for one mailbox at once; what comes on another is refused with
    /// `ErrorExceededConnectionCount`, as by the policy `EwsMaxConcurrency`.
    pub max_connections: Option<usize>,
    /// How many servers stand behind the endpoint. Each mailbox is at home on one; a subscription is known to the one it
    /// was made on, which `X-AnchorMailbox` and the cookie `X-BackEndOverrideCookie` lead to.
    pub backends: u32,
    /// How often a streaming connection says that it lives.
    pub heartbeat: Duration,
    /// The file that mailboxes are kept in between one start and the next; in memory only otherwise.
    pub data: Option<PathBuf>,
    /// A fixed port on 127.0.0.1; a free one otherwise.
    pub port: Option<u16>,
    /// Names that the certificate is for, beside `localhost` and 127.0.0.1.
    pub names: Vec<String>,
    /// A certificate chain and its key as PEM, instead of an own authority.
    pub certificate: Option<(String, String)>,
}

/// A way to sign in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// RFC 7617.
    Basic,
    /// RFC 6750, with the tokens that were told to the server.
    Bearer,
    /// MS-NLMP over HTTP: the connection is signed in, not the request.
    Ntlm,
}

/// How a sent message comes to its folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SentCopy {
    /// It is there when the request is answered.
    AtOnce,
    /// It is nowhere for a while: the draft is gone, the copy is not yet there.
    Late(Duration),
    /// It stays in the Outbox for a while.
    ThroughOutbox(Duration),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::default(),
            offers: vec![Offer::Basic, Offer::Bearer],
            domain: "example.org".to_owned(),
            keeps_message_id: false,
            sent_copy: SentCopy::AtOnce,
            rewrites_bodies: false,
            max_request: 64 * 1024 * 1024,
            max_changes: 512,
            max_connections: None,
            backends: 1,
            heartbeat: Duration::from_secs(10),
            data: None,
            port: None,
            names: Vec::new(),
            certificate: None,
        }
    }
}
