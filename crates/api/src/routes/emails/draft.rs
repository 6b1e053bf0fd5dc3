//! Drafts: what a person writes before asking for it to be sent.

use axum::http::StatusCode;
use model::address::EmailAddress;
use model::email::PartyRole;
use model::id::{EmailId, MailboxId};
use model::mailbox::Owner;
use model::message::{Importance, NamedAddress};
use serde::Deserialize;
use store::outgoing::{self, Draft};
use store::{Tenant, email, mailbox};
use utoipa::ToSchema;
use uuid::Uuid;

use super::shape::Email;
use super::{answer, outgoing_only, seen};
use crate::body::{Given, Json, Path};
use crate::caller::Caller;
use crate::problem::{Kind, Problem};
use crate::schema;
use crate::version::{IfMatch, Versioned};

/// Recipients of one email at most.
const MOST_RECIPIENTS: usize = 10_000;

/// An address, with a name to show or without.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipient {
    /// The address.
    #[schema(value_type = String, format = Email)]
    address: EmailAddress,
    /// The name to show.
    name: Option<String>,
}

impl From<Recipient> for NamedAddress {
    fn from(recipient: Recipient) -> Self {
        Self { name: recipient.name.filter(|name| !name.is_empty()), address: recipient.address }
    }
}

/// A record that an email is about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Regarding {
    /// The noun, such as `account`.
    r#type: String,
    /// Which.
    id: Uuid,
}

/// An email to write. Its files follow by `POST /emails/{id}/attachments`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEmail {
    /// The mailbox to send it from; needed before it can be sent.
    from: Option<Uuid>,
    /// To.
    #[serde(default)]
    #[schema(required = false)]
    to: Vec<Recipient>,
    /// Cc.
    #[serde(default)]
    #[schema(required = false)]
    cc: Vec<Recipient>,
    /// Bcc: gets it without the others knowing.
    #[serde(default)]
    #[schema(required = false)]
    bcc: Vec<Recipient>,
    /// Where answers go, when not to the sender.
    #[serde(default)]
    #[schema(required = false)]
    reply_to: Vec<Recipient>,
    /// One line of up to 998 characters.
    #[serde(default)]
    #[schema(required = false)]
    subject: String,
    /// The text body. With HTML and no text, the text is made from the HTML.
    text: Option<String>,
    /// The HTML body.
    html: Option<String>,
    /// The Message-ID this one answers, without angle brackets.
    in_reply_to: Option<String>,
    /// The ids of the conversation, the oldest first, without angle brackets.
    #[serde(default)]
    #[schema(required = false)]
    references: Vec<String>,
    /// How important it is; `normal` when left out.
    #[schema(value_type = Option<schema::Importance>)]
    importance: Option<Importance>,
    /// Ask the readers' programs to say that it was read (RFC 8098); they may refuse.
    #[serde(default)]
    #[schema(required = false)]
    read_receipt_requested: bool,
    /// Ask the servers to say that it was delivered (RFC 3461), where they can. Failures are told without asking.
    #[serde(default)]
    #[schema(required = false)]
    delivery_receipt_requested: bool,
    /// What it is about.
    regarding: Option<Regarding>,
    /// The host application's id.
    external_id: Option<String>,
}

/// What to change of a draft or a failed email; what is left out stays. A list is given as a whole. A failed email becomes
/// a draft by it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailChange {
    /// The mailbox to send it from.
    from: Option<Uuid>,
    /// To.
    to: Option<Vec<Recipient>>,
    /// Cc.
    cc: Option<Vec<Recipient>>,
    /// Bcc.
    bcc: Option<Vec<Recipient>>,
    /// Where answers go.
    reply_to: Option<Vec<Recipient>>,
    /// One line of up to 998 characters.
    subject: Option<String>,
    /// The text body; null for none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    text: Given<String>,
    /// The HTML body; null for none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    html: Given<String>,
    /// The Message-ID this one answers, without angle brackets; null for none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    in_reply_to: Given<String>,
    /// The ids of the conversation, the oldest first, without angle brackets.
    references: Option<Vec<String>>,
    /// How important it is.
    #[schema(value_type = Option<schema::Importance>)]
    importance: Option<Importance>,
    /// Ask the readers' programs to say that it was read.
    read_receipt_requested: Option<bool>,
    /// Ask the servers to say that it was delivered.
    delivery_receipt_requested: Option<bool>,
    /// What it is about; null for nothing.
    #[serde(default)]
    #[schema(value_type = Option<Regarding>)]
    regarding: Given<Regarding>,
    /// The host application's id; null forgets it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    external_id: Given<String>,
}

fn addresses(recipients: Vec<Recipient>) -> Vec<NamedAddress> {
    recipients.into_iter().map(NamedAddress::from).collect()
}

impl From<NewEmail> for Draft {
    fn from(new: NewEmail) -> Self {
        Self {
            from: new.from.map(MailboxId),
            to: addresses(new.to),
            cc: addresses(new.cc),
            bcc: addresses(new.bcc),
            reply_to: addresses(new.reply_to),
            subject: new.subject,
            text: new.text,
            html: new.html,
            in_reply_to: new.in_reply_to,
            references: new.references,
            importance: new.importance.unwrap_or_default(),
            read_receipt_requested: new.read_receipt_requested,
            delivery_receipt_requested: new.delivery_receipt_requested,
            regarding: new.regarding.map(|regarding| (regarding.r#type, regarding.id)),
            external_id: new.external_id,
        }
    }
}

/// What no email may be, wherever it comes from.
fn check(draft: &Draft) -> Result<(), Problem> {
    let recipients = draft.to.len() + draft.cc.len() + draft.bcc.len();
    if recipients > MOST_RECIPIENTS {
        let cause = format!("the email has {recipients} recipients");
        return Err(Problem::invalid("to", cause, "give up to 10000, or send several emails"));
    }
    let lists = [("to", &draft.to), ("cc", &draft.cc), ("bcc", &draft.bcc), ("reply_to", &draft.reply_to)];
    // U+2028 and U+2029 end a line for some readers.
    let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    for (field, list) in lists {
        for (place, entry) in list.iter().enumerate() {
            if entry.name.as_ref().is_some_and(|name| name.chars().count() > 200 || name.chars().any(breaks))
            {
                let field = format!("{field}[{place}].name");
                return Err(Problem::invalid(
                    &field,
                    "the name is too long or has a line break or another control character",
                    "give up to 200 characters in one line",
                ));
            }
        }
    }
    // RFC 5322 section 3.6.4: an id is one word; a space or a bracket in it would break the header.
    let ids = draft
        .in_reply_to
        .iter()
        .map(|id| ("in_reply_to", id))
        .chain(draft.references.iter().map(|id| ("references", id)));
    for (field, id) in ids {
        let fits =
            |letter: char| !letter.is_whitespace() && !letter.is_control() && !matches!(letter, '<' | '>');
        if id.is_empty() || id.len() > 900 || !id.chars().all(fits) {
            let cause = format!("`{field}` holds no Message-ID");
            return Err(Problem::invalid(
                field,
                cause,
                "give ids such as `abc@example.com`, without angle brackets and spaces",
            ));
        }
    }
    Ok(())
}

/// The sender's mailbox must be there, and be the caller's to write for. Returns whose emails its are.
async fn sender(caller: &Caller, tenant: &Tenant, from: Option<MailboxId>) -> Result<Option<Owner>, Problem> {
    let Some(id) = from else { return Ok(None) };
    let mailbox = mailbox::get(tenant, id).await?;
    let is_callers = match (&mailbox, caller.confined_to()) {
        (Some(mailbox), Some(user)) => {
            caller.sees(tenant, mailbox.owner).await? || outgoing::may_send_from(tenant, user, id).await?
        }
        (found, _) => found.is_some(),
    };
    match mailbox {
        Some(mailbox) if is_callers => Ok(mailbox.owner),
        _ => {
            let cause = "there is no mailbox with this id that you may send from";
            let remedy = "give the id of a mailbox of yours, of one of your queues, or of a user who lets you send in \
                          their name";
            Err(Problem::invalid("from", cause, remedy))
        }
    }
}

/// Write an email. It stays a draft until it is sent.
#[utoipa::path(
    post, path = "/emails", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    request_body = NewEmail, responses((status = 201, body = Email))
)]
pub(super) async fn create(
    caller: Caller,
    Json(new): Json<NewEmail>,
) -> Result<(StatusCode, Versioned<Json<Email>>), Problem> {
    let draft = Draft::from(new);
    check(&draft)?;
    let tenant = caller.begin().await?;
    let of_mailbox = sender(&caller, &tenant, draft.from).await?;
    let owner = caller.principal().user.map(|(id, _)| Owner::User(id)).or(of_mailbox);
    let id = outgoing::create(&tenant, &draft, &[], owner, caller.author()).await?;
    Ok((StatusCode::CREATED, answer(&caller, tenant, id).await?))
}

/// Change a draft or a failed email; of one that some have got and others have not, its recipients.
#[utoipa::path(
    patch, path = "/emails/{id}", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = EmailChange, responses((status = 200, body = Email))
)]
pub(super) async fn update(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(change): Json<EmailChange>,
) -> Result<Versioned<Json<Email>>, Problem> {
    let id = EmailId(id);
    let tenant = caller.begin().await?;
    let old = seen(&caller, &tenant, id).await?;
    outgoing_only(&old)?;
    let expected = Some(version.unwrap_or(old.version));
    let copy = email::open_copy(&tenant, id, caller.reader(), None, caller.author()).await?;
    let (text, html) = copy.map(|copy| (copy.text, copy.html)).unwrap_or_default();
    let sender_changed = change.from.is_some();
    let draft = applied(change, old, text, html)?;
    check(&draft)?;
    if sender_changed {
        sender(&caller, &tenant, draft.from).await?;
    }
    outgoing::update(&tenant, id, expected, &draft, caller.author()).await?;
    answer(&caller, tenant, id).await
}

/// The draft as it is to be.
fn applied(
    change: EmailChange,
    old: email::Email,
    text: Option<String>,
    html: Option<String>,
) -> Result<Draft, Problem> {
    let list = |given: Option<Vec<Recipient>>, role| match given {
        Some(given) => Ok(addresses(given)),
        None => present(&old, role),
    };
    Ok(Draft {
        to: list(change.to, PartyRole::To)?,
        cc: list(change.cc, PartyRole::Cc)?,
        bcc: list(change.bcc, PartyRole::Bcc)?,
        reply_to: list(change.reply_to, PartyRole::ReplyTo)?,
        from: change.from.map(MailboxId).or(old.mailbox),
        subject: change.subject.unwrap_or(old.subject),
        text: change.text.or(text),
        html: change.html.or(html),
        in_reply_to: change.in_reply_to.or(old.in_reply_to),
        references: change.references.unwrap_or(old.references),
        importance: change
            .importance
            .or_else(|| old.importance.and_then(|name| name.parse().ok()))
            .unwrap_or_default(),
        read_receipt_requested: change.read_receipt_requested.unwrap_or(old.read_receipt_requested),
        delivery_receipt_requested: change
            .delivery_receipt_requested
            .unwrap_or(old.delivery_receipt_requested),
        regarding: match change.regarding {
            Given::LeftOut => old.regarding,
            Given::Null => None,
            Given::Value(regarding) => Some((regarding.r#type, regarding.id)),
        },
        external_id: change.external_id.or(old.external_id),
    })
}

fn present(email: &email::Email, role: PartyRole) -> Result<Vec<NamedAddress>, Problem> {
    email
        .parties
        .iter()
        .filter(|party| party.role == role)
        .map(|party| {
            let address = party.address.parse().map_err(|_| {
                let cause = format!("the present `{role}` holds something that is no address");
                Problem::new(Kind::Conflict, cause, "give the whole list anew").about(role.as_str())
            })?;
            Ok(NamedAddress { name: Some(party.name.clone()).filter(|name| !name.is_empty()), address })
        })
        .collect()
}
