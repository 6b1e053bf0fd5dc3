//! Where mail leaves: an SMTP connection or a session at an Exchange server. What is alike for both is said once, by whoever
//! asks it.

use mail::ews::FolderRef;
use mail::{ews, smtp};
use model::profile::ProfileKind;
use model::rate::RateUnit;

use super::begun::Begun;
use super::copies::Station;
use super::{Sending, Sent};
use crate::Mail;
use crate::access::Keeper;
use crate::ending::Interrupted;
use crate::start::Cycle;

/// An open way out.
pub(super) enum Outlet {
    /// An SMTP connection that is signed in.
    Smtp(Box<smtp::Session>),
    /// A session at an Exchange server that was answered once.
    Exchange(Box<Station>),
}

impl Outlet {
    pub(super) async fn open(cycle: &Cycle) -> Result<Self, Interrupted> {
        match cycle.mailbox.server.kind {
            ProfileKind::Pop3Smtp => Ok(Self::Smtp(Box::new(cycle.open().await?))),
            ProfileKind::ExchangeEws => {
                let access = cycle.access(None).await?;
                let mut session = cycle.exchange(&access, None).await?;
                match asked(&mut session).await {
                    // A token may have been taken back before its end.
                    Err(error) if Keeper::may_renew(&access, &error) => {
                        session.renew(cycle.access(Some(&access)).await?.proof());
                        asked(&mut session).await?;
                    }
                    answered => answered?,
                }
                let station = Station::open(session, cycle.mailbox.save_sent_items).await?;
                Ok(Self::Exchange(Box::new(station)))
            }
        }
    }

    /// Whether another message may leave here.
    pub(super) fn is_open(&mut self) -> bool {
        match self {
            Self::Smtp(session) => session.is_open(),
            Self::Exchange(station) => station.session.is_usable(),
        }
    }

    pub(super) async fn submit(&mut self, sending: &Sending<'_>, begun: Begun) -> Result<Sent, Interrupted> {
        match self {
            Self::Smtp(session) => sending.submit(session, begun).await,
            // On the heap: a message over SMTP should not carry what one at an Exchange server takes.
            Self::Exchange(station) => Box::pin(sending.submit_at_exchange(station, begun)).await,
        }
    }

    /// Counts the bytes of a message that left. An Exchange session counts by itself.
    pub(super) fn count(&self, cycle: &Cycle, bytes: u64) {
        if matches!(self, Self::Smtp(_)) {
            cycle.pace.spend(RateUnit::BytesUp, bytes);
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Smtp(session) => {
                session.quit().await;
            }
            Self::Exchange(station) => station.session.close(),
        }
    }
}

/// Signs in with a question that changes nothing: a message is given to no server that may refuse its sender.
async fn asked(session: &mut ews::Session) -> Result<(), mail::Error> {
    match session.get_folder(&FolderRef::Drafts).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Mail::first_word(session, error)),
    }
}
