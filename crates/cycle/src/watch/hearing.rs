//! The middle of a watch: what the server tells becomes wishes, a few for many.

use std::time::Duration;

use mail::ews::{Event, Notice, Session, SubscriptionId};
use model::clock;
use model::id::MailboxId;
use model::watch::{LONGEST, WORKED, Wishes, pause};
use store::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::subscribing::Heard;
use super::{Broken, End, Scene, Told, Watch};

/// How often a watch looks whether its mailboxes are still its own, at least.
const LOOK: Duration = Duration::from_secs(30);

/// What a stream has said so far.
struct Stream<'a> {
    heard: &'a mut Heard,
    wishes: Wishes,
    begun: Instant,
    /// Nothing was told yet.
    silent: bool,
    /// Something of it is told of no more.
    diminished: bool,
}

impl Stream<'_> {
    fn forget(&mut self, mailboxes: &[MailboxId]) {
        for mailbox in mailboxes {
            self.wishes.forget(*mailbox);
        }
        self.heard.by.retain(|_, mailbox| !mailboxes.contains(mailbox));
    }
}

impl Watch {
    /// Listens until the server ends it, nothing is left, or it would better be begun anew.
    pub(super) async fn hear(
        &self,
        session: &mut Session,
        heard: &mut Heard,
        scene: &Scene<'_>,
    ) -> Result<End, Broken> {
        session.turn_to(heard.anchor.clone());
        let begun = Instant::now();
        let left = scene.until.saturating_duration_since(begun).min(LONGEST);
        let minutes = u8::try_from(left.as_secs() / 60).unwrap_or(u8::MAX).max(1);
        let ids = heard.ids.clone();
        let mut events = session.streaming_events(&ids, minutes).await?;
        let wishes = Wishes::new(self.terms.wish_every);
        let mut stream = Stream { heard, wishes, begun, silent: true, diminished: false };
        let every = LOOK.min(self.terms.join_after).max(Duration::from_millis(100));
        let mut looks = interval_at(begun + every, every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            let next = stream.wishes.next();
            tokio::select! {
                notice = events.next() => match notice? {
                    Some(Notice::Alive) => stream.silent = false,
                    Some(Notice::Changed { subscription, events }) => {
                        stream.silent = false;
                        self.note(&mut stream, &subscription, &events);
                    }
                    Some(Notice::Lost(lost, error)) => {
                        if self.lose(&mut stream, &lost).await? {
                            return Err(error.into());
                        }
                    }
                    None if begun.elapsed() < WORKED && !stream.diminished => return Err(Broken::AtOnce),
                    None => break End::Over,
                },
                () = sleep_until(begun + next.unwrap_or_default()), if next.is_some() => {
                    self.wish_for_due(&mut stream).await;
                }
                _ = looks.tick() => if self.look(&mut stream, scene).await {
                    break End::Over;
                },
            }
        };
        // What was told and not wished for yet need not wait for the next watch.
        let told = stream.wishes.due(Duration::MAX);
        if !told.is_empty() {
            self.wish(&told).await.ok();
        }
        Ok(end)
    }

    fn note(&self, stream: &mut Stream<'_>, subscription: &SubscriptionId, events: &[Event]) {
        let Some(mailbox) = stream.heard.by.get(subscription) else { return };
        (self.tell)(Told::Notified);
        if events.iter().any(|event| brings(*event)) {
            stream.wishes.note(*mailbox, stream.begun.elapsed());
        }
    }

    async fn wish_for_due(&self, stream: &mut Stream<'_>) {
        let due = stream.wishes.due(stream.begun.elapsed());
        if !due.is_empty() && self.wish(&due).await.is_err() {
            for mailbox in due {
                stream.wishes.note(mailbox, stream.begun.elapsed());
            }
        }
    }

    /// The server tells no more of these, or of none when it names none. They are made due; those that it never knew on this
    /// connection are known to another server behind the same address, and are listened to apart. True when nothing is left.
    async fn lose(&self, stream: &mut Stream<'_>, lost: &[SubscriptionId]) -> Result<bool, Broken> {
        let mailboxes: Vec<_> = lost.iter().filter_map(|id| stream.heard.by.remove(id)).collect();
        if mailboxes.is_empty() || stream.heard.by.is_empty() {
            return Ok(true);
        }
        stream.forget(&mailboxes);
        let (store, claimed) = (&self.parts.store, &self.claimed);
        let apart = stream.silent.then_some(claimed.id);
        let pause = pause(1, clock::random_fraction());
        store
            .in_tenant(claimed.organization, async |tenant| {
                watch::wish(tenant, &mailboxes).await?;
                watch::put_off(tenant, claimed.id, &mailboxes, pause, apart).await
            })
            .await?;
        stream.diminished = true;
        Ok(false)
    }

    /// Whether the watch would better be begun anew: nothing of it stands any more, or others wait that it has room for.
    /// While Postgres is away nobody can say so, and the watch goes on.
    async fn look(&self, stream: &mut Stream<'_>, scene: &Scene<'_>) -> bool {
        let (store, version) = (&self.parts.store, scene.anchor.server_version);
        let standing = store
            .in_tenant(self.claimed.organization, async |tenant| {
                watch::standing(tenant, &self.claimed, version, self.terms.most).await
            })
            .await;
        let standing = match standing {
            Ok(standing) => standing,
            Err(error) => {
                tracing::warn!("nobody can say whether the watch still stands: {error}");
                return false;
            }
        };
        let gone: Vec<_> =
            stream.heard.by.values().filter(|id| !standing.mailboxes.contains(id)).copied().collect();
        stream.forget(&gone);
        stream.heard.by.is_empty() || standing.others_wait && stream.begun.elapsed() >= self.terms.join_after
    }
}

/// Whether it may have brought something in. What was deleted is found by the next poll.
fn brings(event: Event) -> bool {
    match event {
        Event::NewMail | Event::Created | Event::Moved | Event::Other => true,
        Event::Deleted => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_wakes_nobody() {
        let all = [Event::NewMail, Event::Created, Event::Moved, Event::Other, Event::Deleted];
        assert_eq!(all.map(brings), [true, true, true, true, false]);
    }
}
