//! The beginning of a watch: each mailbox is subscribed to in its owner's name, over the one connection. What the server refuses
//! of a single mailbox is that mailbox's; the others are listened to.

use std::collections::HashMap;
use std::time::Duration;

use mail::error::{Busy, Kind};
use mail::ews::{FolderRef, Session, SubscriptionId};
use model::address::EmailAddress;
use model::clock;
use model::failure::clamped;
use model::id::MailboxId;
use model::watch::pause;
use store::watch::{self, Member};

use super::{Broken, Scene, Watch, author};
use crate::Mail;
use crate::access::{Access, Keeper};

/// How long a server that listens for nobody but owners is not asked again.
const A_DAY: Duration = Duration::from_secs(86_400);

/// What is listened to.
pub(super) struct Heard {
    /// In the order in which it was subscribed to.
    pub(super) ids: Vec<SubscriptionId>,
    pub(super) by: HashMap<SubscriptionId, MailboxId>,
    /// The mailbox in whose name all of them are listened to.
    pub(super) anchor: EmailAddress,
}

impl Heard {
    pub(super) fn mailboxes(&self) -> Vec<MailboxId> {
        self.by.values().copied().collect()
    }
}

impl Watch {
    /// Subscribes to what can be, and makes due whatever was listened to before: between two watches nobody told. `None` when
    /// the server refuses each of them.
    pub(super) async fn subscribe(
        &self,
        session: &mut Session,
        scene: &Scene<'_>,
        keeper: &Keeper<'_>,
        mut access: Access,
    ) -> Result<Option<Heard>, Broken> {
        let (mut ids, mut by, mut anchor) = (Vec::new(), HashMap::new(), None);
        let (mut refused, mut renewed) = (Vec::new(), false);
        for member in &scene.members {
            let Ok(address) = member.address.parse::<EmailAddress>() else { continue };
            if anchor.is_none() {
                session.keep_affinity(address.clone());
            }
            session.turn_to(address.clone());
            let mut asked = session.subscribe(&[FolderRef::Inbox]).await;
            if let Err(error) = &asked
                && !renewed
                && Keeper::may_renew(&access, error)
            {
                renewed = true;
                access = keeper.access(&scene.anchor, Some(&access), &author(scene.anchor.id)).await?;
                session.renew(access.proof());
                asked = session.subscribe(&[FolderRef::Inbox]).await;
            }
            match asked {
                Ok(id) => {
                    anchor.get_or_insert(address);
                    by.insert(id.clone(), member.mailbox);
                    ids.push(id);
                }
                Err(error) if session.is_usable() && is_of_the_mailbox(&error) => {
                    tracing::info!(mailbox.id = %member.mailbox, "it cannot be listened to: {error}");
                    self.hold_mailbox_back(scene, member.mailbox, &error);
                    refused.push((member.mailbox, left_alone(member, &error)));
                }
                Err(error) => return Err(Mail::first_word(session, error).into()),
            }
        }
        let tenant = self.parts.store.tenant(self.claimed.organization).await?;
        for (mailbox, pause) in refused {
            watch::put_off(&tenant, self.claimed.id, &[mailbox], pause, None).await?;
        }
        let mailboxes: Vec<_> = by.values().copied().collect();
        let ours = watch::heard(&tenant, self.claimed.id, &mailboxes).await?;
        tenant.commit().await?;
        by.retain(|_, mailbox| ours.contains(mailbox));
        ids.retain(|id| by.contains_key(id));
        let missed: Vec<_> = scene
            .members
            .iter()
            .filter(|member| member.heard && ours.contains(&member.mailbox))
            .map(|member| member.mailbox)
            .collect();
        if !missed.is_empty() {
            self.wish(&missed).await?;
        }
        Ok(anchor.filter(|_| !ids.is_empty()).map(|anchor| Heard { ids, by, anchor }))
    }

    /// A mailbox that is asked too much is left alone by everybody; one that has subscriptions enough, only by watches.
    fn hold_mailbox_back(&self, scene: &Scene<'_>, mailbox: MailboxId, error: &mail::Error) {
        let Some(asked) = error.retry_after() else { return };
        if *error.kind() == Kind::Throttled(Busy::Mailbox) {
            let endpoint = scene.anchor.endpoint();
            self.under.throttle.report_mailbox_back_off(mailbox, endpoint, clamped(asked));
        }
    }
}

/// Whether what the server said is about one mailbox, and not about itself or who asks.
fn is_of_the_mailbox(error: &mail::Error) -> bool {
    matches!(
        error.kind(),
        Kind::ImpersonationRefused
            | Kind::NoSuchMailbox
            | Kind::MailboxDisabled
            | Kind::AccessDenied
            | Kind::NotFound
            | Kind::Throttled(Busy::Mailbox)
            | Kind::TemporarilyRefused
            | Kind::PermanentlyRefused
    )
}

fn left_alone(member: &Member, error: &mail::Error) -> Duration {
    if error.code() == Some("ErrorSubscriptionDelegateAccessNotSupported") {
        return A_DAY;
    }
    let asked = error.retry_after().map(clamped).unwrap_or_default();
    pause(member.failures.saturating_add(1), clock::random_fraction()).max(asked)
}
