//! A term in which another coordinator holds the pen: what workers say here goes to it, and its answers come back. As
//! soon as anything may have been lost on the way the term is over.

use std::collections::HashMap;

use model::clock;
use throttle::v1::{self, parcel::Content};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::rules::SILENT;
use super::search::Other;
use super::{Answers, Ask, Desk, Role};
use crate::ledger::line::Post;

/// An administrator who waits for a word of the holder of the pen.
enum Call {
    Status(oneshot::Sender<v1::StatusReply>),
    Free(oneshot::Sender<bool>),
}

#[derive(Default)]
struct Following {
    streams: HashMap<Uuid, Answers>,
    calls: HashMap<Uuid, Call>,
    parcels: Vec<v1::Parcel>,
}

impl Desk {
    /// Passes on until shutdown, or until the other has lost the pen or cannot be reached.
    pub(super) async fn follow(&mut self, other: Other, shutdown: &CancellationToken) {
        let Other { pen, mut connection, mut line } = other;
        tracing::info!(%pen, "another coordinator decides");
        self.begin_term(Role::Follows);
        let mut post = Post::new(connection.clone());
        let mut beat = tokio::time::interval(self.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut moved = Instant::now();
        let mut following = Following::default();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                relay = line.hear() => match relay {
                    Some(relay) if relay.term == pen.to_string() => following.hear(relay),
                    Some(_) => {}
                    None => return,
                },
                _ = post.lost() => return,
                _ = beat.tick() => {
                    let Ok(seen) = connection.seen().await else { return };
                    if seen.pen != Some(pen) {
                        return;
                    }
                    if self.known.sequence != seen.sequence {
                        moved = Instant::now();
                    }
                    self.known.learn(&seen);
                    if moved.elapsed() > self.beat * SILENT {
                        tracing::warn!(%pen, "the coordinator that decides does nothing; taking over");
                        self.known.silent = Some(pen);
                        return;
                    }
                }
                ask = self.inbox.recv() => {
                    let Some(ask) = ask else { return };
                    following.asked(ask);
                    for _ in 1..self.batch {
                        let Ok(ask) = self.inbox.try_recv() else { break };
                        following.asked(ask);
                    }
                    let parcels = std::mem::take(&mut following.parcels);
                    if !parcels.is_empty() {
                        let (term, from) = (pen.to_string(), line.id.to_string());
                        post.send(pen, v1::Relay { term, from, parcels });
                    }
                }
            }
        }
    }
}

impl Following {
    fn asked(&mut self, ask: Ask) {
        let (id, content) = match ask {
            Ask::Opened { stream, answers } => {
                self.streams.insert(stream, answers);
                return;
            }
            // It was for the desk of another term.
            Ask::Heard { .. } => return,
            Ask::Passed { stream, message } => (stream, Content::Said(message)),
            Ask::Ended { stream } => {
                self.streams.remove(&stream);
                (stream, Content::Ended(true))
            }
            Ask::Status { begins, reply } => {
                let call = clock::new_id();
                self.calls.insert(call, Call::Status(reply));
                (call, Content::AsksStatus(v1::StatusRequest { key_prefix: begins }))
            }
            Ask::Free { id, reply } => {
                let call = clock::new_id();
                self.calls.insert(call, Call::Free(reply));
                (call, Content::AsksFree(v1::FreeRequest { lease_id: id.to_string() }))
            }
        };
        self.parcels.push(v1::Parcel { id: id.as_bytes().to_vec(), content: Some(content) });
    }

    fn hear(&mut self, relay: v1::Relay) {
        for parcel in relay.parcels {
            let Ok(id) = Uuid::from_slice(&parcel.id) else { continue };
            match parcel.content {
                // A stream that ended meanwhile is told of its end: the grant is free with the end of its lease.
                Some(Content::Answered(message)) => {
                    if let Some(answers) = self.streams.get(&id) {
                        answers.send(Ok(message)).ok();
                    }
                }
                Some(Content::Status(status)) => {
                    if let Some(Call::Status(reply)) = self.calls.remove(&id) {
                        reply.send(status).ok();
                    }
                }
                Some(Content::Freed(freed)) => {
                    if let Some(Call::Free(reply)) = self.calls.remove(&id) {
                        reply.send(freed.freed).ok();
                    }
                }
                _ => {}
            }
        }
    }
}
