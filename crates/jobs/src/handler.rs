//! What happens to a job's delivery: claim it or drop it; ack; run; end it.

use std::time::Duration;

use broker::{Claimed, Delivery, Handler, Invitation, JobInvitation};
use cycle::hand::{Hand, until_heard};
use cycle::life::Under;
use model::actor::Actor;
use model::crash::{self, Point};
use model::id::OrganizationId;
use model::job::{Backoff, JobKind, Setback, Step, Verdict, after};
use serde_json::Value;
use store::change::Author;
use store::job::{self, Claim, ClaimedJob, Later};
use store::{Error, Store, Tenant};

use crate::{clean_up, key_rotation, re_examine, test_and_enable, test_profile};

/// Runs jobs for one session.
pub(crate) struct Jobs {
    parts: cycle::Parts,
    under: Under,
    backoff: Backoff,
    hand: Hand<Claim>,
}

/// How a job went; nothing else decides what happens to it.
pub(crate) enum Outcome {
    /// Ended as wished.
    Succeeded(Value),
    /// Ended otherwise: trying again by itself would not help, a person must act first.
    Failed(Value),
    /// To go on later: its turn is over, no connection was free, or one of our own parts was away. Does not count.
    Snooze(Duration),
}

/// What a job runs with.
pub(crate) struct Context<'a> {
    pub(crate) parts: &'a cycle::Parts,
    pub(crate) under: &'a Under,
    pub(crate) organization: OrganizationId,
    pub(crate) claim: Claim,
    pub(crate) retry: Duration,
}

impl Context<'_> {
    pub(crate) fn store(&self) -> &Store {
        &self.parts.store
    }

    /// Whom the change log names for what the job does.
    pub(crate) fn author(&self) -> Author {
        Author::new(Actor::Job { id: self.claim.job }, "job")
    }

    /// Shows how far the job is. Fails as [`Error::Fenced`] when it was withdrawn.
    pub(crate) async fn progress(&self, steps: &[Step]) -> store::Result<()> {
        self.store()
            .in_tenant(self.organization, async |tenant| job::progress(tenant, self.claim, steps).await)
            .await
    }
}

impl Handler for Jobs {
    async fn handle(&self, delivery: Delivery) -> Claimed {
        let Invitation::Job(invitation) = delivery.invitation else { return Claimed::Asked };
        crash::point(Point::JobClaimBefore);
        let Some(_in_hand) = self.hand.take(Claim { job: invitation.job, number: invitation.claim }) else {
            return Claimed::Asked;
        };
        let claimed = match until_heard("a claim", &self.under.lost, |unheard| {
            self.claim(&invitation, unheard)
        })
        .await
        {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!("the claim cannot be asked: {error}");
                return Claimed::Unasked;
            }
        };
        if claimed.is_none() && self.under.is_dead(&self.parts.store, invitation.organization).await {
            return Claimed::Unasked;
        }
        crash::point(Point::JobClaimAfter);
        delivery.ack().await;
        let Some(claimed) = claimed else { return Claimed::Asked };
        crash::point(Point::JobAckAfter);
        let run = self.run(invitation.organization, claimed);
        if self.under.lost.run_until_cancelled(run).await.is_none() {
            tracing::warn!(job.id = %invitation.job, "stopped: the session is lost");
        }
        Claimed::Asked
    }

    async fn can_ask(&self) -> bool {
        self.parts.store.ring().await.is_ok()
    }
}

impl Jobs {
    pub(crate) fn new(parts: cycle::Parts, under: Under, backoff: Backoff) -> Self {
        Self { parts, under, backoff, hand: Hand::default() }
    }

    async fn claim(&self, invitation: &JobInvitation, unheard: bool) -> store::Result<Option<ClaimedJob>> {
        let claim = Claim { job: invitation.job, number: invitation.claim };
        self.parts
            .store
            .in_tenant(invitation.organization, async |tenant| {
                if unheard {
                    return job::claim_unheard(tenant, claim, self.under.session).await;
                }
                job::claim(tenant, claim, self.under.session).await
            })
            .await
    }

    #[tracing::instrument(name = "job", skip_all, fields(job.id = %claimed.claim.job, job.kind = %claimed.kind))]
    async fn run(&self, organization: OrganizationId, claimed: ClaimedJob) {
        let context = Context {
            parts: &self.parts,
            under: &self.under,
            organization,
            claim: claimed.claim,
            retry: self.backoff.first,
        };
        let result = match claimed.kind {
            JobKind::TestAndEnable => test_and_enable::run(&context, &claimed.payload).await,
            JobKind::TestProfile => {
                test_profile::run(&context, &claimed.payload, claimed.cursor.as_ref()).await
            }
            JobKind::ReExamine => re_examine::run(&context, &claimed.payload, claimed.cursor.as_ref()).await,
            JobKind::KeyRotation => key_rotation::run(&context, claimed.cursor.as_ref()).await,
            JobKind::CleanUp => clean_up::run(&context, claimed.cursor.as_ref()).await,
        };
        self.end(&context, &claimed, &result).await;
    }

    /// Writes the end down; while Postgres is away it is tried again, for as long as the session lives.
    async fn end(&self, context: &Context<'_>, claimed: &ClaimedJob, result: &store::Result<Outcome>) {
        match until_heard("the end of a job", &self.under.lost, |_| self.written(context, claimed, result))
            .await
        {
            Ok(()) => {}
            Err(Error::Fenced) => tracing::info!("the job was withdrawn or is somebody else's"),
            Err(error) => {
                tracing::error!("the end of the job could not be written and is left to the sweep: {error}");
            }
        }
    }

    async fn written(
        &self,
        context: &Context<'_>,
        claimed: &ClaimedJob,
        result: &store::Result<Outcome>,
    ) -> store::Result<()> {
        let tenant = self.parts.store.tenant(context.organization).await?;
        match result {
            Ok(Outcome::Succeeded(result)) => job::finish(&tenant, claimed.claim, true, result).await?,
            Ok(Outcome::Failed(result)) => job::finish(&tenant, claimed.claim, false, result).await?,
            Ok(Outcome::Snooze(delay)) => {
                let later = Later { delay: *delay, counts: false, error: None };
                job::retry_later(&tenant, claimed.claim, later).await?;
            }
            Err(Error::Fenced) => return Err(Error::Fenced),
            Err(error) => self.set_back(&tenant, claimed, error).await?,
        }
        crash::point(Point::JobEndBefore);
        tenant.commit().await?;
        crash::point(Point::JobEndAfter);
        Ok(())
    }

    /// What a failure that nobody foresaw does to the job.
    async fn set_back(&self, tenant: &Tenant, claimed: &ClaimedJob, error: &Error) -> store::Result<()> {
        let setback = match error {
            Error::Away(_) => Setback::NotTried,
            _ => Setback::Fault,
        };
        let verdict = after(setback, claimed.claim.job, claimed.attempt, claimed.max_attempts, self.backoff);
        let said = error.to_string();
        match verdict {
            Verdict::Again { delay, counts } => {
                tracing::warn!(counts, "the job is tried again in {} s: {said}", delay.as_secs());
                let later = Later { delay, counts, error: Some(&said) };
                job::retry_later(tenant, claimed.claim, later).await
            }
            Verdict::End => {
                tracing::error!("the job failed for the last time: {said}");
                let remedy = "report this; when its cause is mended, `lockstep job retry` begins anew";
                let result = serde_json::json!({"error": said, "remedy": remedy});
                job::finish(tenant, claimed.claim, false, &result).await
            }
        }
    }
}
