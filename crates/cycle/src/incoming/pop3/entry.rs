//! The way in: sign in and list, and again without sending ahead where a server turns out to lose what it announced to
//! take.

use mail::pop3::{Limits, Listed, Session};
use model::crash::{self, Point};

use super::Reading;
use super::cursor::Cursor;
use crate::access::{Access, Keeper};
use crate::ending::Interrupted;
use crate::start::Cycle;

/// An open session with what it listed.
pub(super) struct Entry {
    pub(super) session: Session,
    pub(super) listed: Vec<Listed>,
}

impl Reading<'_> {
    /// Signs in and lists. Nothing was changed on the server when that fails, so that one more try is harmless; where
    /// the server wants pauses between sign-ins, the next cycle makes it.
    pub(super) async fn enter(&mut self) -> Result<Entry, Interrupted> {
        let cycle = self.intake.cycle;
        let mut access = cycle.access(None).await?;
        let pipelining = !cycle.mailbox.sends_nothing_ahead;
        let mut entered = enter(cycle, &access, pipelining).await;
        if let Err(error) = &entered
            && Keeper::may_renew(&access, error)
        {
            // A token may have been taken back before its end.
            access = cycle.access(Some(&access)).await?;
            entered = enter(cycle, &access, pipelining).await;
        }
        match entered {
            Err(error) if error.was_sent_ahead() => {
                self.lost_what_was_sent_ahead(&error).await?;
                if cycle.login_delay.get().is_some() {
                    return Err(error.into());
                }
                Ok(enter(cycle, &access, false).await?)
            }
            entered => Ok(entered?),
        }
    }

    /// Remembers, for a day, to send this server nothing ahead.
    pub(super) async fn lost_what_was_sent_ahead(&mut self, error: &mail::Error) -> Result<(), Interrupted> {
        tracing::info!("the server seems to lose what is sent ahead, so nothing more will be: {error}");
        let cursor = Cursor { loses_what_is_sent_ahead: true, ..self.read_cursor().await? };
        self.leave(cursor).await
    }
}

async fn enter(cycle: &Cycle, access: &Access, pipelining: bool) -> Result<Entry, mail::Error> {
    let mail = &cycle.parts.mail;
    let (settings, limits) = (mail.transport(&cycle.mailbox)?, mail.pop3_limits());
    let endpoint = &cycle.mailbox.server.incoming;
    let limits = Limits { pipelining, ..limits };
    let mut session = Session::sign_in(endpoint, &settings, limits, &access.login, access.proof()).await?;
    crash::point(Point::SignInAfter);
    cycle.note_login_delay(session.capabilities().login_delay);
    let listed = session.list().await?;
    Ok(Entry { session, listed })
}
