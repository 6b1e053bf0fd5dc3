//! The session: one kept-alive connection to a server's web services, and who asks over it.
//!
//! A server may close the connection between two requests; then another one is opened, and never beside one that it may
//! still count.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::HeaderValue;
use model::address::EmailAddress;
use model::endpoint::Endpoint;
use model::secret::Secret;
use tokio::time::Instant;

use super::affinity::Affinity;
use super::{Access, Identity, Limits, ServerVersion, Settings, Tally, Version};
use crate::error::{Error, Kind, Phase};
use crate::http::{Address, Channel};
use crate::sasl::Proof;
use crate::transport::Traffic;

/// A session with a server's web services. Requests follow one another on it; dropping it drops its connection.
pub struct Session {
    pub(super) address: Address,
    pub(super) endpoint: Endpoint,
    pub(super) settings: Settings,
    pub(super) login: String,
    pub(super) proof: Held,
    /// How the proof is said.
    pub(super) way: Way,
    /// What the next request says of who asks, and no other after it.
    pub(super) once: Option<HeaderValue>,
    pub(super) heard: Heard,
    pub(super) mailbox: EmailAddress,
    pub(super) access: Access,
    pub(super) channel: Option<Channel>,
    /// What earlier connections of this session carried.
    pub(super) spent: Traffic,
    pub(super) requests: u64,
    /// What of the traffic stands in the tally.
    pub(super) tallied: Traffic,
    pub(super) tally: Arc<Tally>,
    pub(super) schema: Schema,
    pub(super) server: Option<ServerVersion>,
    pub(super) affinity: Option<Affinity>,
    /// An answer is owed: what is set here when a request begins was left behind by one that was dropped.
    pub(super) busy: bool,
    /// The latest message may have been sent.
    pub(super) may_have_sent: bool,
    /// Why the session ended, once a connection was given up that the server may still count.
    pub(super) lost: Option<Kind>,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schema {
    /// The version that is asked for.
    pub(super) version: Version,
    /// The server has answered under it.
    pub(super) confirmed: bool,
}

/// What has come from the server so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heard {
    Nothing,
    /// What HTTP calls an answer.
    Answer,
    /// One from a server that has taken the proof.
    Welcome,
}

/// How a proof is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// With each request.
    Each,
    /// By a handshake on each connection, in the scheme of this name.
    Handshake {
        /// The scheme.
        scheme: &'static str,
        /// The connection that there is has been through it.
        done: bool,
    },
}

/// What proves who signs in, for as long as the session lasts.
pub(super) enum Held {
    Password(Secret),
    Token(Secret),
}

impl Session {
    /// Connects. Nothing is said yet, so nobody has judged the credentials.
    pub async fn open(address: &Address, settings: &Settings, identity: Identity<'_>) -> Result<Self, Error> {
        let endpoint = address.endpoint();
        let (proof, way) = super::sign_in::held(&identity, settings)?;
        let channel = Channel::open(&endpoint, &settings.transport).await?;
        Ok(Self {
            address: address.clone(),
            endpoint,
            login: identity.login.to_owned(),
            proof,
            way,
            once: None,
            heard: Heard::Nothing,
            mailbox: identity.mailbox,
            access: identity.access,
            channel: Some(channel),
            spent: Traffic::default(),
            requests: 0,
            tallied: Traffic::default(),
            tally: Arc::default(),
            schema: Schema {
                version: settings.version.unwrap_or(Version::NEWEST),
                confirmed: settings.version.is_some(),
            },
            settings: settings.clone(),
            server: None,
            affinity: None,
            busy: false,
            may_have_sent: false,
            lost: None,
        })
    }

    /// The version that the server answers under, once it has: worth keeping for the next session.
    pub fn version(&self) -> Option<Version> {
        Some(self.schema.version).filter(|_| self.schema.confirmed)
    }

    /// Whether the server has answered anything: one that never did may not be serving at all.
    pub fn was_answered(&self) -> bool {
        self.heard != Heard::Nothing
    }

    /// From now on the same account proves itself by something else, such as a token that was renewed. The connection stays.
    pub fn renew(&mut self, proof: Proof<'_>) {
        self.proof = proof.into();
        if let Way::Handshake { done, .. } = &mut self.way {
            *done = false;
        }
    }

    /// What the server says it is.
    pub fn server(&self) -> Option<ServerVersion> {
        self.server
    }

    /// Whose mailbox is meant.
    pub fn mailbox(&self) -> &EmailAddress {
        &self.mailbox
    }

    /// From now on another mailbox is meant, which the same account reaches in the same way.
    pub fn turn_to(&mut self, mailbox: EmailAddress) {
        self.mailbox = mailbox;
    }

    /// Requests said so far: servers count them.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// From now on what is asked is counted there, beside what others count there.
    pub fn count_in(&mut self, tally: &Arc<Tally>) {
        self.tally = Arc::clone(tally);
    }

    /// A request is about to be said.
    pub(super) fn count(&mut self) {
        self.requests += 1;
        self.tally.requests.fetch_add(1, Ordering::Relaxed);
        self.settle();
    }

    /// Counts in the tally what came and went until now. It is done by itself with each request and at the end.
    pub fn settle(&mut self) {
        let now = self.traffic();
        let tally = &self.tally;
        tally.bytes_up.fetch_add(now.sent - self.tallied.sent, Ordering::Relaxed);
        tally.bytes_down.fetch_add(now.received - self.tallied.received, Ordering::Relaxed);
        self.tallied = now;
    }

    /// Bytes on the wire so far, TLS included.
    pub fn traffic(&self) -> Traffic {
        let now = self.channel.as_ref().map(Channel::traffic).unwrap_or_default();
        Traffic { received: self.spent.received + now.received, sent: self.spent.sent + now.sent }
    }

    /// Whether further requests make sense. False after a deadline, a violation, or a request that was dropped.
    pub fn is_usable(&self) -> bool {
        self.lost.is_none() && !self.busy
    }

    /// Ends the session.
    pub fn close(self) {
        drop(self);
    }

    /// What bounds this session.
    pub(super) fn limits(&self) -> Limits {
        self.settings.limits
    }

    /// Until when a small request is answered.
    pub(super) fn soon(&self) -> Instant {
        Instant::now() + self.settings.transport.phase_deadline
    }

    /// Whose distinguished folders are meant, where a request has to say it.
    pub(super) fn folders_of(&self) -> Option<&EmailAddress> {
        Some(&self.mailbox).filter(|_| self.access == Access::Delegate)
    }

    pub(super) fn error(&self, phase: Phase, kind: Kind) -> Error {
        Error::new(phase, kind).at(self.place())
    }

    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.endpoint.host, self.endpoint.port)
    }

    /// An error after which the two sides may disagree about where they are, unless the server has closed.
    pub(super) fn lose(&mut self, phase: Phase, kind: Kind) -> Error {
        self.drop_channel();
        self.busy = false;
        if kind != Kind::Closed {
            self.lost = Some(kind.clone());
        }
        self.error(phase, kind)
    }

    pub(super) fn drop_channel(&mut self) {
        self.spent = self.traffic();
        self.channel = None;
        if let Way::Handshake { done, .. } = &mut self.way {
            *done = false;
        }
        self.once = None;
    }

    /// Sees to it that there is a connection that a request can be said over.
    pub(super) async fn connect(&mut self, phase: Phase) -> Result<(), Error> {
        if self.busy {
            // A call that was dropped may have said something: nobody knows how far it came.
            self.drop_channel();
            self.busy = false;
            self.lost.get_or_insert(Kind::Closed);
        }
        if let Some(kind) = &self.lost {
            return Err(self.error(phase, kind.clone()));
        }
        if !self.channel.as_mut().is_some_and(Channel::is_open) {
            self.drop_channel();
            self.channel = Some(Channel::open(&self.endpoint, &self.settings.transport).await?);
        }
        match self.way {
            Way::Handshake { scheme, done: false } => self.shake_hands(scheme).await,
            _ => Ok(()),
        }
    }
}

impl From<Proof<'_>> for Held {
    fn from(proof: Proof<'_>) -> Self {
        match proof {
            Proof::Password(password) => Self::Password(password.clone()),
            Proof::Token(token) => Self::Token(token.clone()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.settle();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("endpoint", &self.endpoint)
            .field("access", &self.access)
            .field("version", &self.version())
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
