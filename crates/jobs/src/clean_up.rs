//! Removes what the organization has kept for long enough: items that are gone from their servers, closed alerts, the log of
//! changes, and jobs that have ended. How long each is kept is a setting; nothing that is still wanted is touched.

use std::time::Duration;

use model::job::{Step, StepOutcome};
use model::setting::{ALERTS_KEPT_DAYS, CHANGES_KEPT_DAYS, GONE_ITEM_DAYS, JOBS_KEPT_DAYS};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Tenant, alert, change, item, job, setting};

use crate::batches::{Turn, kept, resumed};
use crate::handler::{Context, Outcome};

/// Rows that one transaction removes.
const AT_ONCE: u32 = 5000;

/// What is removed, in this order.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Items,
    Alerts,
    Changes,
    Jobs,
}

impl Part {
    const ALL: [Self; 4] = [Self::Items, Self::Alerts, Self::Changes, Self::Jobs];

    const fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Alerts => "alerts",
            Self::Changes => "changes",
            Self::Jobs => "jobs",
        }
    }

    /// The setting that says for how many days it is kept.
    const fn kept(self) -> &'static str {
        match self {
            Self::Items => GONE_ITEM_DAYS,
            Self::Alerts => ALERTS_KEPT_DAYS,
            Self::Changes => CHANGES_KEPT_DAYS,
            Self::Jobs => JOBS_KEPT_DAYS,
        }
    }
}

/// How far it came: how many of each part were removed; those that are through are as many as `through`.
#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    through: usize,
    removed: [u64; Part::ALL.len()],
}

pub(crate) async fn run(context: &Context<'_>, cursor: Option<&Value>) -> store::Result<Outcome> {
    let mut cursor: Cursor = resumed(cursor)?;
    let turn = Turn::begin();
    while let Some(part) = Part::ALL.get(cursor.through).copied() {
        if turn.is_over(context) {
            return Ok(Outcome::Snooze(Duration::ZERO));
        }
        let tenant = context.store().tenant(context.organization).await?;
        job::fence(&tenant, context.claim).await?;
        let removed = removed(context, &tenant, part).await?;
        cursor.removed[cursor.through] += removed;
        if removed < u64::from(AT_ONCE) {
            cursor.through += 1;
        }
        job::go_on(&tenant, context.claim, &kept(&cursor)?, &cursor.steps()).await?;
        tenant.commit().await?;
    }
    let removed = Part::ALL.iter().zip(cursor.removed).map(|(part, number)| (part.name(), number));
    Ok(Outcome::Succeeded(json!({"removed": removed.collect::<std::collections::BTreeMap<_, _>>()})))
}

async fn removed(context: &Context<'_>, tenant: &Tenant, part: Part) -> store::Result<u64> {
    let days = setting::get(tenant, part.kept()).await?.value.as_u64().unwrap_or_default().max(1);
    let age = Duration::from_secs(days * 24 * 3600);
    match part {
        Part::Items => item::forget(tenant, age, AT_ONCE).await,
        Part::Alerts => alert::forget(tenant, age, AT_ONCE).await,
        Part::Jobs => job::forget(tenant, age, AT_ONCE).await,
        // The log is not a tenant's to shorten.
        Part::Changes => {
            let days = i32::try_from(days).unwrap_or(i32::MAX);
            let organization = context.organization;
            let forget = async |ring: &_| change::forget(ring, organization, days, AT_ONCE).await;
            Ok(u64::try_from(context.store().in_ring(forget).await?).unwrap_or_default())
        }
    }
}

impl Cursor {
    fn steps(&self) -> Vec<Step> {
        let step = |(place, part): (usize, &Part)| Step {
            name: format!("remove old {}", part.name()),
            outcome: if place < self.through { StepOutcome::Ok } else { StepOutcome::Running },
            detail: format!("{} removed", self.removed[place]),
        };
        Part::ALL.iter().enumerate().take(self.through + 1).map(step).collect()
    }
}
