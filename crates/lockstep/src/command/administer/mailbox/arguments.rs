//! What `mailbox create` and `mailbox update` take, and the bodies that they make.

use clap::Args;
use jiff::Timestamp;
use model::mailbox::{Acceptance, DeliveryMethod};
use serde_json::{Value, json};

use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::command::administer::contact::owner_called;
use crate::command::administer::context::Context;
use crate::command::administer::given;

/// What a mailbox is made of.
#[derive(Debug, Args)]
pub struct Create {
    /// The email address; no other mailbox of the installation may have it.
    address: String,
    /// On which server: the profile's name or id.
    #[arg(long)]
    profile: String,
    /// Whose it is: the address of a user or a queue. Each has at most one mailbox.
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// The name to show; the address when left out.
    #[arg(long)]
    name: Option<String>,
    /// The login that mail is read with; the address when left out, or the profile's user name where credentials live
    /// there.
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,
    /// Which messages become records: all (the default for queues), `known_senders_and_replies` (for users) or none.
    #[arg(long)]
    acceptance: Option<Acceptance>,
    /// How incoming mail is delivered: `server_side` (the default) or none.
    #[arg(long, value_name = "METHOD")]
    incoming: Option<DeliveryMethod>,
    /// How outgoing mail is delivered: `server_side` (the default) or none.
    #[arg(long, value_name = "METHOD")]
    outgoing: Option<DeliveryMethod>,
    /// Nothing received before this is processed, such as 2026-01-31T00:00:00Z; the moment it is first enabled when left
    /// out.
    #[arg(long, value_name = "TIME")]
    received_after: Option<Timestamp>,
    /// Delete messages on the server once they are recorded; queues only.
    #[arg(long)]
    delete_after_processing: bool,
    /// The id of the mailbox in your application.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
}

impl Create {
    pub(super) async fn body(&self, context: &Context<'_>) -> Result<Value, Failure> {
        let owner = match &self.owner {
            Some(called) => Some(owner_called(context, called).await?),
            None => None,
        };
        Ok(json!({
            "address": self.address,
            "profile": context.api.id(Noun::Profile, &self.profile).await?,
            "owner": owner,
            "name": self.name,
            "incoming_login": self.login,
            "acceptance": self.acceptance,
            "incoming": self.incoming,
            "outgoing": self.outgoing,
            "process_email_received_after": self.received_after,
            "delete_after_processing": self.delete_after_processing,
            "external_id": self.external_id,
        }))
    }
}

/// What can be changed of a mailbox.
#[derive(Debug, Args)]
pub struct Update {
    /// The address or id.
    pub(super) mailbox: String,
    /// Another name.
    #[arg(long)]
    name: Option<String>,
    /// Another address; it waits for approval again.
    #[arg(long)]
    address: Option<String>,
    /// Another server: the profile's name or id.
    #[arg(long)]
    profile: Option<String>,
    /// Another login that mail is read with.
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,
    /// Map it to this user or queue, by address. One that belongs to somebody else needs --confirm-owner.
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Take it away from its owner and map it to nobody; needs --confirm-owner.
    #[arg(long, conflicts_with = "owner")]
    no_owner: bool,
    /// The present owner's address, to confirm that the mailbox is taken away from them: its password and test are
    /// forgotten and it waits for approval again.
    #[arg(long, value_name = "OWNER")]
    confirm_owner: Option<String>,
    /// Which messages become records: all, `known_senders_and_replies` or none.
    #[arg(long)]
    acceptance: Option<Acceptance>,
    /// How incoming mail is delivered: `server_side` or none.
    #[arg(long, value_name = "METHOD")]
    incoming: Option<DeliveryMethod>,
    /// How outgoing mail is delivered: `server_side` or none.
    #[arg(long, value_name = "METHOD")]
    outgoing: Option<DeliveryMethod>,
    /// Nothing received before this is processed, such as 2026-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    received_after: Option<Timestamp>,
    /// Whether messages are deleted on the server once they are recorded; queues only.
    #[arg(long, value_name = "TRUE|FALSE")]
    delete_after_processing: Option<bool>,
}

impl Update {
    pub(super) async fn body(self, context: &Context<'_>) -> Result<Value, Failure> {
        let profile = match &self.profile {
            Some(profile) => Some(context.api.id(Noun::Profile, profile).await?),
            None => None,
        };
        let owner = match &self.owner {
            Some(called) => Some(owner_called(context, called).await?),
            None => self.no_owner.then_some(Value::Null),
        };
        let confirmed = match &self.confirm_owner {
            Some(called) => Some(Record(&owner_called(context, called).await?).text("id")),
            None => None,
        };
        given([
            ("name", self.name.map(Value::from)),
            ("address", self.address.map(Value::from)),
            ("profile", profile.map(Value::from)),
            ("incoming_login", self.login.map(Value::from)),
            ("owner", owner),
            ("confirm_owner", confirmed.map(Value::from)),
            ("acceptance", self.acceptance.map(|acceptance| json!(acceptance))),
            ("incoming", self.incoming.map(|method| json!(method))),
            ("outgoing", self.outgoing.map(|method| json!(method))),
            ("process_email_received_after", self.received_after.map(|time| json!(time))),
            ("delete_after_processing", self.delete_after_processing.map(Value::from)),
        ])
    }
}
