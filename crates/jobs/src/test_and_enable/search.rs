//! Finds a mailbox's server before it is tested, where the profile names none. What is found is written down under the job's claim
//! before anything connects to it.

use std::time::Duration;

use cycle::access::{Keeper, NoAccess};
use cycle::{Finding, lease_request};
use model::workload::ServiceClass;
use store::mailbox::{MailboxForCycle, Service};
use store::{job, mailbox};
use throttle::Denied;

use super::away;
use crate::handler::Context;

/// Looks for the mailbox's server under a lease at whoever is asked, and leads the mailbox there. What was found in vain ends the
/// test.
pub(super) async fn search(
    context: &Context<'_>,
    mailbox: &mut MailboxForCycle,
) -> store::Result<Result<Result<Service, Finding>, Denied>> {
    let request = lease_request(&context.parts.mail, &cycle::sought(mailbox), ServiceClass::Jobs);
    let (mail, ends) = context.parts.mail.with_ends();
    let lease = match context.under.acquire(request, &ends).await {
        Ok(lease) => lease,
        Err(denied) => return Ok(Err(denied)),
    };
    let keeper = Keeper {
        store: context.store(),
        keys: &context.parts.keys,
        mail: &mail,
        organization: context.organization,
    };
    let by = context.author();
    let answer = tokio::select! {
        biased;
        () = lease.lost() => None,
        () = context.under.lost.cancelled() => None,
        answer = Box::pin(cycle::find(&keeper, mailbox, &by)) => Some(answer),
    };
    let answer = answer.filter(|_| !ends.is_silent());
    lease.release().await;
    let service = match answer {
        Some(Ok(Ok(service))) => service,
        Some(Ok(Err(finding))) => return Ok(Ok(Err(finding))),
        Some(Err(NoAccess::Store(error))) => return Err(error),
        Some(Err(_)) | None => return Ok(Err(away(context))),
    };
    let tenant = context.store().tenant(context.organization).await?;
    job::fence(&tenant, context.claim).await?;
    if !mailbox::keep_found(&tenant, mailbox, &service, &by).await? {
        // Found by what no longer holds: at once again, with what does.
        return Ok(Err(Denied::NoCapacity { retry_after: Duration::ZERO }));
    }
    tenant.commit().await?;
    mailbox.lead_to(&service);
    Ok(Ok(Ok(service)))
}
