//! The places where a process can be made to die or to stand still, for tests that prove that this costs nothing: before and
//! after every effect that others see. Absent from release builds, and from every build without the feature `crash-points`;
//! nothing here may ever decide what the product does.

#[cfg(all(feature = "crash-points", debug_assertions))]
mod armed;

use std::fmt;
use std::str::FromStr;

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident $name:literal $role:literal;)*) => {
        /// One place. The names say the effect, and whether it has happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Point { $($(#[$doc])* $point,)* }

        impl Point {
            /// Every place there is, in the order in which work passes them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// What it is called, such as `dot.after`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }

            /// The role whose process passes it.
            pub const fn role(self) -> &'static str {
                match self { $(Self::$point => $role,)* }
            }
        }
    };
}

points! {
    /// A person's request is carried out and not committed.
    RequestBefore "request.before" "api";
    /// It is committed, and nobody was told.
    RequestAfter "request.after" "api";
    /// Due workloads are about to be queued.
    QueueBefore "queue.before" "scheduler";
    /// They are queued, and no message is published.
    QueueAfter "queue.after" "scheduler";
    /// The broker confirmed the messages.
    PublishAfter "publish.after" "scheduler";
    /// A delivery is in hand, its cycle not claimed.
    ClaimBefore "claim.before" "worker";
    /// The cycle is claimed, the delivery not acked.
    ClaimAfter "claim.after" "worker";
    /// The delivery is acked.
    AckAfter "ack.after" "worker";
    /// A lease is about to be asked for.
    LeaseBefore "lease.before" "worker";
    /// The lease is held, nothing is connected.
    LeaseAfter "lease.after" "worker";
    /// Signed in at the mail server.
    SignInAfter "sign_in.after" "worker";
    /// Messages are about to be fetched.
    FetchBefore "fetch.before" "worker";
    /// They are fetched, and nothing is written.
    FetchAfter "fetch.after" "worker";
    /// Everything is written, and not committed.
    CommitBefore "commit.before" "worker";
    /// It is committed.
    CommitAfter "commit.after" "worker";
    /// The wish to delete is committed, and nothing is said.
    DeleBefore "dele.before" "worker";
    /// DELE is answered; nothing is deleted before QUIT.
    DeleAfter "dele.after" "worker";
    /// The server deleted, and it is not written down.
    QuitAfter "quit.after" "worker";
    /// Sending is about to be committed.
    SendingBefore "sending.before" "worker";
    /// Sending is committed, nothing has left.
    SendingAfter "sending.after" "worker";
    /// The envelope is about to be given.
    DataBefore "data.before" "worker";
    /// The message is given, but for its final dot.
    DataAfter "data.after" "worker";
    /// The id of a message's draft is committed, and the server is not told to send it. Passed at Exchange servers alone.
    LaidDownAfter "laid_down.after" "worker";
    /// The final dot has left, or the word to send a draft, and its answer is not read.
    DotAfter "dot.after" "worker";
    /// The server took the message, and it is not written down.
    VerdictAfter "verdict.after" "worker";
    /// The answer is written and not committed.
    SentBefore "sent.before" "worker";
    /// Sent is committed.
    SentAfter "sent.after" "worker";
    /// The connection is closed, its lease not given back.
    ReleaseBefore "release.before" "worker";
    /// The lease is given back.
    ReleaseAfter "release.after" "worker";
    /// The end of the cycle is written and not committed.
    FinishBefore "finish.before" "worker";
    /// It is committed.
    FinishAfter "finish.after" "worker";
    /// A job's delivery is in hand, the job not claimed.
    JobClaimBefore "job_claim.before" "jobs";
    /// The job is claimed, the delivery not acked.
    JobClaimAfter "job_claim.after" "jobs";
    /// The delivery is acked.
    JobAckAfter "job_ack.after" "jobs";
    /// The job's end is written and not committed.
    JobEndBefore "job_end.before" "jobs";
    /// It is committed.
    JobEndAfter "job_end.after" "jobs";
    /// The ledger is about to be asked.
    GrantBefore "grant.before" "coordinator";
    /// The ledger has decided, and nobody was told.
    GrantAfter "grant.after" "coordinator";
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Point {
    type Err = Unarmed;

    fn from_str(text: &str) -> Result<Self, Unarmed> {
        Self::ALL.iter().copied().find(|point| point.name() == text).ok_or(Unarmed::Unreadable)
    }
}

/// Why no death could be arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unarmed {
    /// Not of the form `point`, `point:pass` or `point:pass:stop`.
    #[error(
        "it must name a point and the pass at which to die, such as dot.after:1, or to stop, such as dot.after:1:stop"
    )]
    Unreadable,
    /// One is arranged already.
    #[error("a process dies once")]
    Twice,
    /// Built without crash points.
    #[error("this program is built without crash points")]
    Absent,
}

/// Passes a place: when that is arranged, dies there by SIGKILL, without another instruction, or stands still by SIGSTOP
/// until somebody lets it go on.
#[inline]
pub fn point(point: Point) {
    #[cfg(all(feature = "crash-points", debug_assertions))]
    armed::pass(point);
    #[cfg(not(all(feature = "crash-points", debug_assertions)))]
    let _ = point;
}

/// What happens to a process at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// SIGKILL.
    Dies,
    /// SIGSTOP.
    StandsStill,
}

/// Arranges the process's death, given as `point:pass`, the first pass being 1; with `:stop` it only stands still.
pub fn arm(text: &str) -> Result<(), Unarmed> {
    let (text, fate) = match text.strip_suffix(":stop") {
        Some(text) => (text, Fate::StandsStill),
        None => (text, Fate::Dies),
    };
    let (name, pass) = text.split_once(':').unwrap_or((text, "1"));
    let point: Point = name.parse()?;
    let pass: std::num::NonZeroU32 = pass.parse().map_err(|_| Unarmed::Unreadable)?;
    #[cfg(all(feature = "crash-points", debug_assertions))]
    return armed::arm(point, pass, fate);
    #[cfg(not(all(feature = "crash-points", debug_assertions)))]
    {
        let _ = (point, pass, fate);
        Err(Unarmed::Absent)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own_and_is_found_by_it() {
        let names: HashSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
        for point in Point::ALL {
            assert_eq!(point.name().parse(), Ok(*point));
        }
    }

    #[test]
    fn what_cannot_be_read_arranges_nothing() {
        for text in [
            "",
            "dot",
            "dot.after:",
            "dot.after:0",
            "dot.after:-1",
            "dot.after:1:1",
            "dot.after:1:stop:1",
            ":stop",
        ] {
            assert_eq!(arm(text), Err(Unarmed::Unreadable), "{text}");
        }
    }
}
