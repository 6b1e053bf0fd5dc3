//! The switch of each workload: how it is delivered, what its test said, on and off.

use std::time::Duration;

use model::alert::AlertKind;
use model::cadence::DueReason;
use model::id::MailboxId;
use model::mailbox::{Approval, DeliveryMethod, TestResult};
use model::workload::Workload;

use super::{Mailbox, WorkloadState, locked, touch};
use crate::change::{Author, Change, Fields};
use crate::refusal::Refusal;
use crate::{Error, Result, Tenant, change, schedule};

/// Says how a workload is delivered. `None` stops it.
pub async fn set_method(
    tenant: &Tenant,
    id: MailboxId,
    workload: Workload,
    method: DeliveryMethod,
    by: &Author,
) -> Result<()> {
    let mailbox = locked(tenant, id, None).await?;
    let old = state(&mailbox, workload)?;
    if old.method == method {
        return Ok(());
    }
    if workload == Workload::Act && method != DeliveryMethod::None {
        return Err(Refusal::invalid(
            "act",
            "this profile's kind of server has no appointments, contacts and tasks",
            "leave the delivery method of `act` at `none`",
        )
        .into());
    }
    tenant
        .execute(
            "update mailbox_workloads set method = $3, enabled = enabled and $3 <> 'none'
             where mailbox_id = $1 and workload = $2",
            &[&id.0, &workload.as_str(), &method.as_str()],
        )
        .await?;
    if method == DeliveryMethod::None {
        schedule::bump(tenant, id, Some(workload)).await?;
    }
    let fields = Fields::new().changed(&format!("{workload}.method"), &old.method, &method);
    write(tenant, id, fields, by).await
}

/// Writes down what a test found; `said` is the server's word, printable and bounded by the caller.
pub async fn record_test(
    tenant: &Tenant,
    id: MailboxId,
    workload: Workload,
    result: TestResult,
    said: Option<&str>,
    by: &Author,
) -> Result<()> {
    let mailbox = locked(tenant, id, None).await?;
    let old = state(&mailbox, workload)?;
    tenant
        .execute(
            "update mailbox_workloads set test_result = $3, test_said = $4, tested_at = now()
             where mailbox_id = $1 and workload = $2",
            &[&id.0, &workload.as_str(), &result.as_str(), &said],
        )
        .await?;
    let fields = Fields::new().changed(&format!("{workload}.test_result"), &old.test_result, &result);
    if fields.is_empty() {
        return Ok(());
    }
    write(tenant, id, fields, by).await
}

/// Writes down that the mailbox was taken from whoever had marked it as its own at the server.
pub async fn record_taking(tenant: &Tenant, id: MailboxId, from: &str, by: &Author) -> Result<()> {
    locked(tenant, id, None).await?;
    write(tenant, id, Fields::new().changed("owner_mark", &from, &"this organization"), by).await
}

/// Switches a workload on and makes it due after `first_due`, spread over its first interval. Refused while the
/// mailbox is not approved or the workload not tested. The first time ever sets the floor: only what is received from
/// now on is processed, unless an administrator said otherwise.
pub async fn enable(
    tenant: &Tenant,
    id: MailboxId,
    workload: Workload,
    first_due: Duration,
    by: &Author,
) -> Result<()> {
    let mailbox = locked(tenant, id, None).await?;
    let old = state(&mailbox, workload)?;
    let left = tenant
        .query_one(
            "select exists (select from users u join mailboxes m on m.organization_id = u.organization_id
                                and m.user_id = u.id where m.id = $1 and not u.active)",
            &[&id.0],
        )
        .await?;
    let cause = if old.method == DeliveryMethod::None {
        Some("its delivery method is `none`; set it to `server_side` first")
    } else if mailbox.owner.is_none() {
        Some("nobody owns it; map it to a user or a queue first")
    } else if left.try_get(0)? {
        Some("its owner is no longer active; map it to somebody else, or make them active again")
    } else if mailbox.approval != Approval::Approved {
        Some("it is not approved; an administrator approves it first (`lockstep mailbox approve`)")
    } else if old.test_result != TestResult::Success {
        Some("its last test did not succeed; test it first (`lockstep mailbox test`)")
    } else {
        None
    };
    if let Some(cause) = cause {
        return Err(Refusal::NotReady { mailbox: mailbox.name, workload, cause }.into());
    }
    tenant
        .execute(
            "update mailboxes set first_enabled_at = coalesce(first_enabled_at, now()),
                 process_email_received_after = case when first_enabled_at is null
                     then coalesce(process_email_received_after, now()) else process_email_received_after end
             where id = $1",
            &[&id.0],
        )
        .await?;
    tenant
        .execute(
            "update mailbox_workloads set enabled = true, disabled_by = null where mailbox_id = $1 and workload = $2",
            &[&id.0, &workload.as_str()],
        )
        .await?;
    if old.enabled {
        return Ok(());
    }
    schedule::make_due(tenant, id, workload, DueReason::Enabled, first_due).await?;
    let fields = Fields::new().changed(&format!("{workload}.enabled"), &false, &true);
    write(tenant, id, fields, by).await
}

/// Switches a workload off: a running cycle stops at its next commit. `because` is the alert when Lockstep does it.
/// Says whether it was on until now.
pub async fn disable(
    tenant: &Tenant,
    id: MailboxId,
    workload: Workload,
    because: Option<AlertKind>,
    by: &Author,
) -> Result<bool> {
    let touched = tenant
        .execute(
            "update mailbox_workloads set enabled = false, disabled_by = $3
             where mailbox_id = $1 and workload = $2 and enabled",
            &[&id.0, &workload.as_str(), &because.map(AlertKind::as_str)],
        )
        .await?;
    if touched == 0 {
        return Ok(false);
    }
    schedule::bump(tenant, id, Some(workload)).await?;
    let fields = Fields::new().changed(&format!("{workload}.enabled"), &true, &false);
    let fields = match because {
        Some(kind) => fields.set(&format!("{workload}.disabled_by"), kind),
        None => fields,
    };
    write(tenant, id, fields, by).await?;
    Ok(true)
}

async fn write(tenant: &Tenant, id: MailboxId, fields: Fields, by: &Author) -> Result<()> {
    let version = touch(tenant, id).await?;
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await
}

fn state(mailbox: &Mailbox, workload: Workload) -> Result<&WorkloadState> {
    mailbox
        .workloads
        .iter()
        .find(|state| state.workload == workload)
        .ok_or_else(|| Error::Broken(format!("a mailbox without a row for {workload}")))
}
