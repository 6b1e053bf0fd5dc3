//! One message through one transaction: MAIL, RCPT, DATA, the message, the final dot.
//!
//! Everything before the dot ends in `Err` or a refusal, and nobody got the message; from the dot on only a reply that
//! can be read, to the end, settles it.

use futures_util::stream::{self, Stream, StreamExt as _};
use model::crash::{self, Point};
use tokio::time::Instant;

use super::reply::{Class, Reply};
use super::stuffing::{DotStuffer, FINAL_DOT};
use super::{Envelope, Outcome, RecipientState, Session, Step, Submission, auth};
use crate::error::{Error, Kind, Phase};

/// How many commands are sent before their replies are read. Bounds what both sides must buffer (RFC 2920 section 3.1
/// warns of the deadlock when neither reads).
const GROUP: usize = 100;
/// How much of a message is gathered for one write.
const WRITE_SIZE: usize = 64 * 1024;

/// A whole message in memory, as [`Session::submit`] takes it.
pub fn whole<E>(message: &[u8]) -> impl Stream<Item = Result<&[u8], E>> + Unpin {
    stream::iter([Ok(message)])
}

#[derive(Clone, Copy)]
enum Command {
    Mail,
    Recipient(usize),
    Data,
}

/// Where the envelope led.
enum Envelopment {
    /// The server waits for the message.
    GoOn(Vec<RecipientState>),
    /// It is over: nobody gets it.
    Over(Submission),
}

impl Session {
    /// Gives one message to the server.
    ///
    /// `message` is the raw message in pieces cut anywhere; line ends and dots are seen to here. `before_final_dot` is
    /// awaited when everything but the final dot has left: the last moment to think better of it. When it fails the
    /// connection is reset.
    ///
    /// `Err` always means *not sent*: the message was not accepted for anybody. When only the envelope was impossible
    /// ([`Envelope::obstacle`]) the session stays open. If this future is dropped, how far it went is not known.
    #[tracing::instrument(name = "smtp.submit", skip_all, fields(recipients = envelope.recipients.len(), size = envelope.size))]
    pub async fn submit<B, E>(
        &mut self,
        envelope: &Envelope,
        message: impl Stream<Item = Result<B, E>>,
        before_final_dot: impl Future<Output = Result<(), E>>,
    ) -> Result<Submission, E>
    where
        B: AsRef<[u8]>,
        E: From<Error>,
    {
        if let Some(kind) = envelope.obstacle(&self.capabilities) {
            return Err(self.wire(Phase::Envelope)?.error(kind).into());
        }
        self.begin(Phase::Envelope).await?;
        if self.unfinished {
            self.forget_transaction().await?;
        }
        self.unfinished = true;
        self.dot_left = false;
        let recipients = match self.envelope(envelope).await? {
            Envelopment::GoOn(recipients) => recipients,
            Envelopment::Over(submission) => {
                self.end();
                return Ok(submission);
            }
        };
        let given = self.give(envelope, message).await;
        let agreed = match given {
            Ok(()) => before_final_dot.await,
            Err(error) => Err(error),
        };
        if let Err(error) = agreed {
            self.connection = None;
            return Err(error);
        }
        // The server may have left while the caller thought: then the dot stays here and nothing is in doubt.
        self.open_wire()?.begin(Phase::Data);
        self.hear_nothing().await?;
        Ok(self.finish(recipients).await?)
    }

    /// MAIL, every RCPT and DATA, in groups where the server announced PIPELINING (RFC 2920), else one by one.
    async fn envelope(&mut self, envelope: &Envelope) -> Result<Envelopment, Error> {
        let count = envelope.recipients.len();
        let mut commands = vec![Command::Mail];
        commands.extend((0..count).map(Command::Recipient));
        commands.push(Command::Data);

        let mut states = Vec::with_capacity(count);
        let mut sender_refused = None;
        let mut data = None;
        for group in commands.chunks(if self.capabilities.pipelining { GROUP } else { 1 }) {
            let nobody = states.len() == count && !states.iter().any(RecipientState::is_accepted);
            if sender_refused.is_some() || nobody {
                break;
            }
            self.open_wire()?.begin(Phase::Envelope);
            let lines: String = group.iter().map(|command| self.line(*command, envelope)).collect();
            self.say(lines.as_bytes()).await?;
            for command in group {
                let reply = self.reply().await?;
                self.gone(&reply)?;
                match command {
                    Command::Mail => {
                        self.answered(&reply)?;
                        if let Some(kind) = auth::verdict(&reply) {
                            return Err(self.failed(kind, &reply));
                        }
                        sender_refused = (reply.class() != Class::Done).then_some(reply);
                    }
                    Command::Recipient(_) => {
                        self.answered(&reply)?;
                        states.push(RecipientState::of(reply));
                    }
                    Command::Data => data = Some(reply),
                }
            }
        }
        self.weigh(count, states, sender_refused, data).await
    }

    fn line(&self, command: Command, envelope: &Envelope) -> String {
        match command {
            Command::Mail => format!("{}\r\n", envelope.mail_command(&self.capabilities)),
            Command::Recipient(index) => match envelope.recipients.get(index) {
                Some(recipient) => {
                    format!("{}\r\n", envelope.recipient_command(recipient, &self.capabilities))
                }
                None => String::new(),
            },
            Command::Data => "DATA\r\n".to_owned(),
        }
    }

    /// What the replies to an envelope amount to.
    async fn weigh(
        &mut self,
        count: usize,
        states: Vec<RecipientState>,
        sender_refused: Option<Reply>,
        data: Option<Reply>,
    ) -> Result<Envelopment, Error> {
        if let Some(reply) = &data
            && (reply.class() == Class::Done || (reply.class() == Class::GoOn && reply.code() != 354))
        {
            return Err(self.refused(reply));
        }
        let waits = data.as_ref().is_some_and(|reply| reply.class() == Class::GoOn);
        let submission = if let Some(reply) = sender_refused {
            let state = match reply.class() {
                Class::Temporary => RecipientState::Deferred(reply.clone()),
                _ => RecipientState::Refused(reply.clone()),
            };
            Submission {
                outcome: Outcome::Refused { step: Step::Sender, reply },
                recipients: vec![state; count],
            }
        } else if states.iter().any(RecipientState::is_accepted) {
            match data {
                Some(reply) if !waits => refusal(Step::Data, reply, states),
                _ => return Ok(Envelopment::GoOn(states)),
            }
        } else {
            // Whatever could still be tried again is the better word for the whole.
            let word =
                states.iter().find(|state| matches!(state, RecipientState::Deferred(_))).or(states.first());
            let Some(reply) = word.map(|state| state.reply().clone()) else {
                return Err(self
                    .open_wire()?
                    .error(Kind::Unspeakable("a message needs at least one recipient")));
            };
            Submission { outcome: Outcome::Refused { step: Step::Recipients, reply }, recipients: states }
        };
        if waits {
            self.give_nothing().await;
        }
        Ok(Envelopment::Over(submission))
    }

    /// A lone dot, for a server that wants data although it turned everybody away (RFC 2920 section 3.1). Its answer
    /// changes nothing: an empty message to nobody. If none comes the session is closed.
    async fn give_nothing(&mut self) {
        if self.say(FINAL_DOT).await.is_ok()
            && let Ok(reply) = self.reply().await
            && reply.closes()
        {
            self.connection = None;
        }
    }

    /// The message without its final dot.
    async fn give<B, E>(
        &mut self,
        envelope: &Envelope,
        message: impl Stream<Item = Result<B, E>>,
    ) -> Result<(), E>
    where
        B: AsRef<[u8]>,
        E: From<Error>,
    {
        let until = Instant::now() + self.settings.message_timeout;
        let wire = self.open_wire()?;
        let idle = wire.phase_deadline();
        wire.begin_stream(Phase::Data, idle, until);
        self.hear_nothing().await?;
        let mut message = std::pin::pin!(message);
        let mut stuffer = DotStuffer::new();
        let mut out = Vec::new();
        while let Some(piece) = message.next().await {
            for part in piece?.as_ref().chunks(WRITE_SIZE) {
                stuffer.push(part, &mut out);
                if out.len() >= WRITE_SIZE {
                    self.say(&out).await?;
                    out.clear();
                }
            }
        }
        stuffer.end(&mut out);
        if stuffer.saw_eight_bit() && !envelope.eight_bit {
            let wrong = Kind::Unspeakable("the message has 8-bit content and was announced without");
            return Err(self.open_wire()?.error(wrong).into());
        }
        Ok(self.say(&out).await?)
    }

    /// The final dot and its answer. From here on nothing is an error that does not know the message's fate.
    async fn finish(&mut self, recipients: Vec<RecipientState>) -> Result<Submission, Error> {
        let patience = self.settings.verdict_timeout;
        self.open_wire()?.begin_stream(Phase::Verdict, patience, Instant::now() + patience);
        self.dot_left = true;
        let answer = match self.say(FINAL_DOT).await {
            Ok(()) => {
                crash::point(Point::DotAfter);
                self.reply().await
            }
            Err(error) => Err(error),
        };
        let reply = match answer {
            Ok(reply) if reply.class() == Class::GoOn => Err(self.refused(&reply)),
            other => other,
        };
        match reply {
            Err(error) => {
                let recipients = recipients.into_iter().map(RecipientState::in_doubt).collect();
                Ok(Submission { outcome: Outcome::Unknown(error), recipients })
            }
            Ok(reply) if reply.class() == Class::Done => {
                self.unfinished = false;
                self.end();
                Ok(Submission { outcome: Outcome::Sent(reply), recipients })
            }
            Ok(reply) => {
                // 421 here is a clear no, and the server's: it is said as before the dot.
                self.open_wire()?.rename_phase(Phase::Data);
                self.gone(&reply)?;
                self.end();
                Ok(refusal(Step::Message, reply, recipients))
            }
        }
    }
}

fn refusal(step: Step, reply: Reply, recipients: Vec<RecipientState>) -> Submission {
    let recipients = recipients.into_iter().map(|state| state.refused_with(&reply)).collect();
    Submission { outcome: Outcome::Refused { step, reply }, recipients }
}
