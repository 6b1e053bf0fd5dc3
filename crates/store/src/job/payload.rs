//! What a job that people ask for may be done to: the shape that its kind wants, and records that are there.

use model::explain::is_passed_over;
use model::job::{JobKind, ReExamine, TestAndEnable, TestProfile};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::refusal::Refusal;
use crate::{Result, Tenant, mailbox, profile};

/// The payload as the kind wants it, or why it cannot be taken.
pub async fn checked(tenant: &Tenant, kind: JobKind, payload: &Value) -> Result<Value> {
    match kind {
        JobKind::TestAndEnable => {
            let wanted: TestAndEnable = read(kind, payload, "give the mailbox: `{\"mailbox\": \"…\"}`")?;
            if mailbox::get(tenant, wanted.mailbox).await?.is_none() {
                return Err(Refusal::Unknown { what: "mailbox", field: "payload" }.into());
            }
            Ok(json!(wanted))
        }
        JobKind::TestProfile => {
            let wanted: TestProfile = read(kind, payload, "give the profile: `{\"profile\": \"…\"}`")?;
            if profile::get(tenant, wanted.profile).await?.is_none() {
                return Err(Refusal::Unknown { what: "profile", field: "payload" }.into());
            }
            Ok(json!(wanted))
        }
        JobKind::ReExamine => {
            let remedy =
                "give `{}` for all mailboxes, `profile` for those of one, and `decisions` for some decisions";
            let wanted: ReExamine = read(kind, payload, remedy)?;
            if let Some(id) = wanted.profile
                && profile::get(tenant, id).await?.is_none()
            {
                return Err(Refusal::Unknown { what: "profile", field: "payload" }.into());
            }
            let decisions = wanted.decisions.as_deref().unwrap_or_default();
            if let Some(other) = decisions.iter().find(|decision| !is_passed_over(**decision)) {
                let cause = format!("what is `{other}` was not passed over");
                let remedy = "use `not_accepted`, `before_the_floor`, `too_large` and `undeliverable`";
                return Err(Refusal::invalid("payload", cause, remedy).into());
            }
            Ok(json!(wanted))
        }
        JobKind::KeyRotation | JobKind::CleanUp => {
            let nothing: Map<String, Value> = read(kind, payload, "give `{}`, or leave it out")?;
            if nothing.is_empty() {
                Ok(json!({}))
            } else {
                Err(unfit(kind, "give `{}`, or leave it out").into())
            }
        }
    }
}

fn read<T: DeserializeOwned>(kind: JobKind, payload: &Value, remedy: &'static str) -> Result<T> {
    T::deserialize(payload).map_err(|_| unfit(kind, remedy).into())
}

fn unfit(kind: JobKind, remedy: &'static str) -> Refusal {
    Refusal::invalid("payload", format!("this is not what a `{kind}` job is done to"), remedy)
}
