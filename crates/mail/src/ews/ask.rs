//! One request and its answer, and what a status means.

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::http::response::Parts;
use tokio::time::Instant;

use super::FolderRef;
use super::answer::Answer;
use super::code::{Fault, Said};
use super::session::{Heard, Held, Session, Way};
use super::xml::Element;
use crate::error::{Busy, Error, Kind, Phase};
use crate::http::{Feeder, Reading, Sending, retry_after};

/// No web service answers at the address.
pub(crate) const NOT_HERE: &str = "Exchange Web Services at this address";
/// Whoever is at the address sends on.
pub(crate) const LEADS_ELSEWHERE: &str = "its answer leads elsewhere, and that is not followed";

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    /// What the conversation is about.
    pub(super) phase: Phase,
    /// The operation, as the schema calls it.
    pub(super) operation: &'static str,
    /// The element that asks for it.
    pub(super) body: &'a str,
    /// Whether it may be asked for twice when the connection ends before there is an answer.
    pub(super) again: bool,
}

impl<'a> Ask<'a> {
    /// A question that changes nothing.
    pub(super) fn reading(phase: Phase, operation: &'static str, body: &'a str) -> Self {
        Self { phase, operation, body, again: true }
    }

    /// A request that changes something, said once.
    pub(super) fn changing(phase: Phase, operation: &'static str, body: &'a str) -> Self {
        Self { phase, operation, body, again: false }
    }
}

/// Why a request has no answer.
pub(super) struct Unsaid {
    pub(super) error: Error,
    /// Some of the request may have left.
    pub(super) left: bool,
}

impl From<Error> for Unsaid {
    fn from(error: Error) -> Self {
        Self { error, left: false }
    }
}

impl From<Unsaid> for Error {
    fn from(unsaid: Unsaid) -> Self {
        unsaid.error
    }
}

impl Session {
    /// Asks, and reads the answer whole. The version steps down until the server knows it.
    pub(super) async fn ask<T>(
        &mut self,
        ask: Ask<'_>,
        read: impl Fn(&Element) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        loop {
            let until = self.soon();
            let (head, body) = self.say(ask, until).await?;
            let answer = self.answer(ask.phase, head, body, until).await?;
            let told = answer.response().and_then(&read);
            match told {
                Ok(told) => {
                    self.schema.confirmed = true;
                    return Ok(told);
                }
                Err(fault) if self.step_down(&fault) => {}
                Err(fault) => return Err(self.fault(ask.phase, fault)),
            }
        }
    }

    /// Whether the fault is about the version, and there is an older one to try.
    fn step_down(&mut self, fault: &Fault) -> bool {
        match (fault, self.schema.version.older()) {
            (Fault::Refused(said), Some(older)) if said.wants_older() && !self.schema.confirmed => {
                self.schema.version = older;
                true
            }
            _ => false,
        }
    }

    /// The error that a fault is.
    pub(super) fn fault(&self, phase: Phase, fault: Fault) -> Error {
        match fault {
            Fault::Refused(said) => self.refusal(phase, &said),
            Fault::Broken(why) => self.error(phase, Kind::Violation(why)),
        }
    }

    /// The error that a refusal is.
    pub(super) fn refusal(&self, phase: Phase, said: &Said) -> Error {
        said.error(phase).at(self.place())
    }

    /// Finds the version out, before something is asked whose answer is not read whole.
    pub(super) async fn confirm(&mut self, phase: Phase) -> Result<(), Error> {
        if self.schema.confirmed {
            return self.connect(phase).await;
        }
        self.get_folder(&FolderRef::Inbox).await.map(drop)
    }

    /// Finds out everything that a first answer tells, how to sign in too, before something is said that can be said only
    /// once.
    pub(super) async fn confirm_all(&mut self, phase: Phase) -> Result<(), Error> {
        let may_turn = self.way == Way::Each
            && self.settings.schemes.ntlm
            && matches!(self.proof, Held::Password(_))
            && self.heard != Heard::Welcome;
        if may_turn {
            return self.get_folder(&FolderRef::Inbox).await.map(drop);
        }
        self.confirm(phase).await
    }

    /// Until when a server that has much to do is waited for.
    pub(super) fn patiently(&self) -> Instant {
        Instant::now() + self.limits().verdict_timeout
    }

    /// Says a request, and waits for the head of its answer. One that a kept connection did not survive is said again over
    /// a new one, where it may be or where nothing of it had left.
    pub(super) async fn say(&mut self, ask: Ask<'_>, until: Instant) -> Result<(Parts, Incoming), Unsaid> {
        let mut tried = false;
        loop {
            self.connect(ask.phase).await?;
            let envelope = self.envelope(ask.body);
            let proof = self.authorization()?;
            let request = self.request(ask.operation, proof, Sending::whole(envelope))?;
            self.count();
            let Some(channel) = &mut self.channel else {
                return Err(self.error(ask.phase, Kind::Closed).into());
            };
            self.busy = true;
            let answer = channel.send(request, until).await;
            let was_used = channel.was_used();
            self.busy = false;
            match answer {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    self.heard = self.heard.max(Heard::Answer);
                    if head.status != StatusCode::UNAUTHORIZED {
                        self.heard = Heard::Welcome;
                    } else if self.turn_to_handshake(&head.headers) {
                        self.pass_over(body, until).await.map_err(|kind| self.lose(Phase::SignIn, kind))?;
                        continue;
                    }
                    return Ok((head, body));
                }
                Err(unanswered) => {
                    let again = unanswered.kind == Kind::Closed
                        && was_used
                        && !tried
                        && (ask.again || !unanswered.left);
                    let left = unanswered.left;
                    let error = self.lose(ask.phase, unanswered.kind);
                    if !again {
                        return Err(Unsaid { error, left });
                    }
                    tried = true;
                }
            }
        }
    }

    /// Says a request whose body `feed` gives, and waits for the head of its answer. An error of phase
    /// [`Phase::Verdict`] means that all of it may have left.
    pub(super) async fn say_fed<E: From<Error>>(
        &mut self,
        phase: Phase,
        operation: &'static str,
        length: u64,
        until: Instant,
        feed: impl AsyncFnOnce(&Feeder) -> Result<(), E>,
    ) -> Result<(Parts, Incoming), E> {
        self.connect(phase).await?;
        let (body, feeder) = Sending::fed(length);
        let proof = self.authorization()?;
        let request = self.request(operation, proof, body)?;
        let verdict = self.limits().verdict_timeout;
        self.count();
        let Some(channel) = &mut self.channel else {
            return Err(self.error(phase, Kind::Closed).into());
        };
        self.busy = true;
        let answer = channel.send_fed(request, feed(&feeder), until, verdict).await;
        self.busy = false;
        match answer {
            Ok(Ok(answer)) => {
                self.heard = self.heard.max(Heard::Answer);
                Ok(answer.into_parts())
            }
            Ok(Err(unanswered)) => {
                let phase = if unanswered.left { Phase::Verdict } else { phase };
                Err(self.lose(phase, unanswered.kind).into())
            }
            Err(error) => {
                // The server waits for the rest of a message that will not come.
                self.lose(phase, Kind::TimedOut);
                Err(error)
            }
        }
    }

    /// Reads the body of an answer for nothing but what comes after it.
    async fn pass_over(&mut self, body: Incoming, until: Instant) -> Result<(), Kind> {
        let Some(channel) = &mut self.channel else { return Err(Kind::Closed) };
        let reading = Reading::new(
            body,
            until,
            self.settings.transport.phase_deadline,
            self.settings.limits.answer_bytes,
        );
        reading.whole(channel).await.map(drop)
    }

    /// Reads an answer whole, and judges its status. What comes back may still be a refusal in SOAP: it says more than the
    /// status that it came with.
    pub(super) async fn answer(
        &mut self,
        phase: Phase,
        head: Parts,
        body: Incoming,
        until: Instant,
    ) -> Result<Answer, Error> {
        let reading =
            Reading::new(body, until, self.settings.transport.phase_deadline, self.limits().answer_bytes);
        let Some(channel) = &mut self.channel else {
            return Err(self.error(phase, Kind::Closed));
        };
        self.busy = true;
        let read = reading.whole(channel).await;
        self.busy = false;
        self.note(&head);
        let body = match read {
            Ok(body) => body,
            Err(kind) => {
                let error = self.lose(phase, kind);
                // What stands beside a status may be anything.
                return Err(if head.status.is_success() { error } else { self.status(phase, &head) });
            }
        };
        match Answer::parse(&body) {
            Ok(mut answer) if head.status.is_success() || answer.explains() => {
                self.server = answer.server.or(self.server);
                answer.pause = retry_after(&head.headers);
                Ok(answer)
            }
            Err(why) if head.status.is_success() => Err(self.error(phase, Kind::Violation(why))),
            _ => Err(self.status(phase, &head)),
        }
    }

    /// Keeps what the fields of an answer are kept for.
    pub(super) fn note(&mut self, head: &Parts) {
        if let Some(affinity) = &mut self.affinity {
            affinity.note(&head.headers);
        }
    }

    /// What a status without a fault means.
    pub(super) fn status(&self, phase: Phase, head: &Parts) -> Error {
        let pause = retry_after(&head.headers);
        let kind = match head.status {
            StatusCode::UNAUTHORIZED => return self.unauthorized(&head.headers),
            StatusCode::TOO_MANY_REQUESTS => Kind::Throttled(Busy::Server),
            StatusCode::SERVICE_UNAVAILABLE if pause.is_some() => Kind::Throttled(Busy::Server),
            // Web services are switched off for the mailbox, or for what we call ourselves.
            StatusCode::FORBIDDEN => return self.said(Phase::SignIn, Kind::MailboxDisabled, head),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                Kind::Unsupported(NOT_HERE)
            }
            StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge("the message"),
            StatusCode::REQUEST_TIMEOUT => Kind::Unavailable,
            status if status.is_server_error() => Kind::Unavailable,
            status if status.is_redirection() => Kind::Violation(LEADS_ELSEWHERE),
            status if status.is_success() => Kind::Violation("its answer is not SOAP"),
            _ => Kind::PermanentlyRefused,
        };
        let error = self.said(phase, kind, head);
        match pause {
            Some(pause) => error.with_retry_after(pause),
            None => error,
        }
    }

    fn said(&self, phase: Phase, kind: Kind, head: &Parts) -> Error {
        self.error(phase, kind).with_said(format!("HTTP {}", head.status))
    }
}
