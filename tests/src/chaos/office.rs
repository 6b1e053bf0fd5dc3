//! People who write and ask, over an API that may be away: every request is repeated under its key until it is answered.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use model::clock;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Api, Mailbox, until};

/// Everybody who asks for something. Cheap to clone, so that they can ask while something is broken.
#[derive(Clone)]
pub(crate) struct Office {
    pub(crate) api: Api,
    pub(crate) service: Api,
    pub(crate) mailboxes: Vec<Mailbox>,
    /// Whose test can be asked for again and again.
    pub(crate) spare: Mailbox,
    /// Who gets what is sent.
    pub(crate) recipients: [String; 2],
    /// The emails of which the API said that it took the wish to send them. One that it forgets stays a draft, and no
    /// other record tells.
    pub(crate) taken: Arc<Mutex<BTreeSet<String>>>,
}

impl Office {
    /// Writes an email from each mailbox and asks for it to be sent.
    pub(crate) async fn send(self) {
        for (number, mailbox) in self.mailboxes.iter().enumerate() {
            let to: Vec<Value> =
                self.recipients[..=number % 2].iter().map(|to| json!({"address": to})).collect();
            let draft = json!({"from": mailbox.id, "to": to, "subject": "A letter", "text": "Hello.\n"});
            let email = ask(&self.api, "/emails", &draft).await;
            let email = email["id"].as_str().unwrap_or_default();
            // Only a service may send as anybody.
            ask(&self.service, &format!("/emails/{email}/send"), &json!({})).await;
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(email.to_owned());
        }
    }

    /// Which sends were answered for.
    pub(crate) fn taken(&self) -> BTreeSet<String> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the test of the spare mailbox: a job.
    pub(crate) async fn test(self) {
        ask(&self.api, &format!("/mailboxes/{}/test", self.spare.id), &json!({})).await;
    }
}

/// One request, however often it takes.
async fn ask(api: &Api, path: &str, body: &Value) -> Value {
    let key = clock::new_id::<Uuid>().to_string();
    until(&format!("{path} is answered"), async || match api.try_post(path, body, &key).await {
        Ok(answer) if answer.status.is_success() => Ok(answer.body),
        Ok(answer) => Err(format!("{}: {}", answer.status, answer.body)),
        Err(error) => Err(error.to_string()),
    })
    .await
}
