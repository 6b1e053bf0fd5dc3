//! Has what the mailboxes of a profile, or all, passed over examined again: marks it in bounded batches, each with how far it
//! came, and makes the mailboxes due. Judging is the next incoming cycle's.

use std::time::Duration;

use model::id::MailboxId;
use model::job::{ReExamine, Step, StepOutcome};
use model::workload::Workload;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::item::{self, Asked, Extent};
use store::mailbox::{self, MailboxFilter};
use store::{job, schedule};

use crate::batches::{Turn, kept, resumed};
use crate::handler::{Context, Outcome};

/// Mailboxes that are looked through at once.
const PAGE: i64 = 100;
/// Items that are marked in one transaction.
const MOST: i64 = 2000;

/// How far it came.
#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    /// The last mailbox that is through.
    after: Option<MailboxId>,
    /// The mailboxes of the page at hand that have had something marked.
    touched: Vec<MailboxId>,
    looked_through: i64,
    items: i64,
    mailboxes: i64,
    off: i64,
    told: bool,
}

pub(crate) async fn run(
    context: &Context<'_>,
    payload: &Value,
    cursor: Option<&Value>,
) -> store::Result<Outcome> {
    let Ok(ReExamine { profile, decisions }) = serde_json::from_value(payload.clone()) else {
        let error = json!({"error": "the job does not say what to examine", "remedy": "ask for it again"});
        return Ok(Outcome::Failed(error));
    };
    let mut cursor: Cursor = resumed(cursor)?;
    let turn = Turn::begin();
    while !cursor.told {
        if turn.is_over(context) {
            return Ok(Outcome::Snooze(Duration::ZERO));
        }
        let tenant = context.store().tenant(context.organization).await?;
        let filter = MailboxFilter { profile, ..MailboxFilter::default() };
        let page: Vec<MailboxId> = mailbox::list(&tenant, &filter, cursor.after, PAGE)
            .await?
            .iter()
            .map(|mailbox| mailbox.id)
            .collect();
        let marked = item::ask_some(&tenant, &page, decisions.as_deref(), MOST).await?;
        let number: i64 = marked.iter().map(|(_, items)| items).sum();
        cursor.items += number;
        for (mailbox, _) in marked {
            if !cursor.touched.contains(&mailbox) {
                cursor.touched.push(mailbox);
            }
        }
        // A full batch may have left something in the page.
        if number < MOST {
            let wished = schedule::wish_all(&tenant, &cursor.touched, Workload::Incoming).await?;
            let touched = i64::try_from(cursor.touched.len()).unwrap_or(i64::MAX);
            cursor.mailboxes += touched;
            cursor.off += touched - i64::try_from(wished).unwrap_or(touched);
            cursor.touched.clear();
            cursor.looked_through += i64::try_from(page.len()).unwrap_or_default();
            cursor.told = page.is_empty();
            cursor.after = page.last().copied().or(cursor.after);
        }
        if cursor.told && cursor.items > 0 {
            let extent = profile.map_or(Extent::Organization, Extent::Profile);
            let asked = Asked { items: cursor.items, mailboxes: cursor.mailboxes, off: cursor.off };
            item::tell(&tenant, extent, &asked, &context.author()).await?;
        }
        job::go_on(&tenant, context.claim, &kept(&cursor)?, &[cursor.step()]).await?;
        tenant.commit().await?;
    }
    let (items, mailboxes, off) = (cursor.items, cursor.mailboxes, cursor.off);
    Ok(Outcome::Succeeded(json!({"items": items, "mailboxes": mailboxes, "mailboxes_off": off})))
}

impl Cursor {
    fn step(&self) -> Step {
        Step {
            name: "mark".to_owned(),
            outcome: if self.told { StepOutcome::Ok } else { StepOutcome::Running },
            detail: format!("{} messages in {} mailboxes looked through", self.items, self.looked_through),
        }
    }
}
