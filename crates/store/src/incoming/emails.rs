//! The records themselves: one email per identity, whoever records it first, with its parties and its owner.

use std::collections::{HashMap, HashSet};

use model::address::normalize;
use model::automatic::automatic;
use model::email::PartyRole;
use model::id::EmailId;
use model::mailbox::Owner;
use model::message::{ParsedMessage, Party};
use serde_json::{Value, json};

use super::{EmailOf, IncomingBatch, Open};
use crate::address::{self, Resolved};
use crate::change::{self, Change, Fields};
use crate::{Error, Result, Tenant, row};

/// The parties of a message with their roles, in the order that they are stored.
fn parties(message: &ParsedMessage) -> impl Iterator<Item = (PartyRole, &Party)> {
    let all = |role: PartyRole, list: &'static str| {
        let parties: &[Party] = match list {
            "from" => &message.from,
            "reply_to" => &message.reply_to,
            "to" => &message.to,
            "cc" => &message.cc,
            _ => &message.bcc,
        };
        parties.iter().map(move |party| (role, party))
    };
    all(PartyRole::From, "from")
        .chain(message.sender.iter().map(|party| (PartyRole::Sender, party)))
        .chain(all(PartyRole::ReplyTo, "reply_to"))
        .chain(all(PartyRole::To, "to"))
        .chain(all(PartyRole::Cc, "cc"))
        .chain(all(PartyRole::Bcc, "bcc"))
}

/// An item that may make an email, with the id it would get, and whether its Message-ID is known to be reused.
type Candidate<'a> = (Open<'a>, EmailId, bool);

/// Finds or makes the email of each open item, in their order.
pub(super) async fn write(
    tenant: &Tenant,
    batch: &IncomingBatch<'_>,
    open: &[Open<'_>],
) -> Result<Vec<EmailOf>> {
    let addresses: HashSet<String> = open
        .iter()
        .flat_map(|one| parties(&one.message.message))
        .map(|(_, party)| normalize(&party.address))
        .collect();
    let addresses: Vec<String> = addresses.into_iter().collect();
    let (resolved, owners) =
        tokio::try_join!(address::resolve(tenant, &addresses), owners(tenant, batch, &addresses),)?;
    let resolved: HashMap<&str, &Resolved> =
        resolved.iter().map(|resolved| (resolved.address.as_str(), resolved)).collect();

    // The first item of the batch with an identity makes the email; a Message-ID that stood under another identity
    // before is a warning on the later one.
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut identities = HashSet::new();
    let mut message_ids = HashSet::new();
    for one in open {
        if identities.insert(one.message.identity) {
            let id = &one.message.message.message_id;
            let reused = id.as_ref().is_some_and(|id| !message_ids.insert(id));
            candidates.push((*one, model::clock::new_id(), reused));
        }
    }
    let mut made = insert(tenant, batch, &candidates, &owners).await?;
    let mut by_identity = known(tenant, &candidates, &made).await?;
    // Neither new nor there: another email took the Message-ID at the same instant, and is there by now.
    let mut late: Vec<_> = candidates
        .iter()
        .filter(|(one, id, _)| !made.contains(id) && !by_identity.contains_key(&one.message.identity.0))
        .map(|(one, id, _)| (*one, *id, true))
        .collect();
    if !late.is_empty() {
        let inserted = insert(tenant, batch, &late, &owners).await?;
        late.retain(|(_, id, _)| !inserted.contains(id));
        by_identity.extend(known(tenant, &late, &inserted).await?);
        made.extend(inserted);
    }
    let made: HashMap<EmailId, &Open<'_>> =
        candidates.iter().filter(|(_, id, _)| made.contains(id)).map(|(one, id, _)| (*id, one)).collect();
    for (id, one) in &made {
        by_identity.insert(one.message.identity.0, EmailOf { id: *id, made_by: Some(one.place) });
    }
    write_parties(tenant, &made, &resolved).await?;
    let changes: Vec<Change<'_>> = candidates
        .iter()
        .filter(|(_, id, _)| made.contains_key(id))
        .map(|(_, id, _)| Change {
            record_type: "email",
            id: id.0,
            version: 1,
            by: batch.by,
            fields: Fields::new().set("state", "received").set("mailbox", batch.mailbox),
        })
        .collect();
    change::write_all(tenant, &changes).await?;
    open.iter()
        .map(|one| {
            by_identity
                .get(&one.message.identity.0)
                .map(|email| EmailOf { id: email.id, made_by: email.made_by })
                .ok_or_else(|| Error::Broken("an email is neither new nor there".to_owned()))
        })
        .collect()
}

/// The emails that were there before, of the candidates that are not among those made.
async fn known(
    tenant: &Tenant,
    candidates: &[Candidate<'_>],
    made: &HashSet<EmailId>,
) -> Result<HashMap<[u8; 32], EmailOf>> {
    let missing: Vec<Vec<u8>> = candidates
        .iter()
        .filter(|(_, id, _)| !made.contains(id))
        .map(|(one, ..)| one.message.identity.0.to_vec())
        .collect();
    if missing.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = tenant
        .query(
            "select id, identity from emails where direction = 'incoming' and identity = any($1::bytea[])",
            &[&missing],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let identity = crate::blob::BlobId::from_column(row.try_get("identity")?)?.0;
            Ok((identity, EmailOf { id: EmailId(row.try_get("id")?), made_by: None }))
        })
        .collect()
}

/// Which of the candidates were new. One whose identity, or whose Message-ID without a warning, somebody else is writing
/// waits for that one: everybody writes in the order of both, so that nobody waits in a circle.
async fn insert(
    tenant: &Tenant,
    batch: &IncomingBatch<'_>,
    candidates: &[Candidate<'_>],
    owners: &Owners,
) -> Result<HashSet<EmailId>> {
    let messages = || candidates.iter().map(|(one, ..)| &one.message.message);
    let by = batch.by.name();
    let rows_of: Vec<Value> = candidates
        .iter()
        .map(|(one, _, reused)| {
            let message = &one.message.message;
            let owner = owners.of(message);
            let mut warnings: Vec<String> = message.warnings.iter().map(ToString::to_string).collect();
            if *reused {
                warnings.push(REUSED.to_owned());
            }
            let rest = json!({
                "in_reply_to": message.in_reply_to,
                "refs": Some(&message.references).filter(|references| !references.is_empty()),
                "owner_kind": owner.map(|owner| owner.kind().as_str()),
                "owner_id": owner.map(Owner::id),
                "auto_submitted": message.auto_submitted,
                "precedence": message.precedence,
                "list_id": message.list_id,
                "automatic": automatic(message),
                "response_suppressed": message.response_suppressed,
                "return_path": message.return_path,
                "sensitivity": message.sensitivity.as_str(),
                "importance": message.importance.as_str(),
                "warnings": Some(warnings).filter(|warnings| !warnings.is_empty()),
            });
            // What is not there costs as much to read as what is.
            match rest {
                Value::Object(rest) => rest.into_iter().filter(|(_, value)| !value.is_null()).collect(),
                other => other,
            }
        })
        .collect();
    let ids: Vec<_> = candidates.iter().map(|(_, id, _)| id.0).collect();
    let identities: Vec<_> = candidates.iter().map(|(one, ..)| one.message.identity.0.to_vec()).collect();
    let message_ids: Vec<_> = messages().map(|message| message.message_id.as_deref()).collect();
    let subjects: Vec<_> = messages().map(|message| message.subject.as_deref().unwrap_or_default()).collect();
    let dates: Vec<_> = messages().map(|message| message.date).collect();
    let received: Vec<_> = candidates.iter().map(|(one, ..)| one.item.received_at).collect();
    let rows = tenant
        .query(
            "insert into emails (organization_id, id, direction, state, identity, message_id, in_reply_to,
                 message_references, subject, sent_at, received_at, owner_kind, owner_id, auto_submitted, precedence,
                 list_id, return_path, sensitivity, importance, automatic, response_suppressed, warnings, created_by, modified_by)
             select current_organization(), u.id, 'incoming', 'received', u.identity, u.message_id, r.in_reply_to,
                 coalesce(r.refs, '{}'), u.subject, u.sent_at, u.received_at, r.owner_kind, r.owner_id, r.auto_submitted, r.precedence,
                 r.list_id, r.return_path, r.sensitivity, r.importance, r.automatic, r.response_suppressed,
                 case when not (coalesce(r.warnings, '{}') @> array[$8::text]) and exists (
                          select from emails e where e.organization_id = current_organization()
                             and e.message_id = u.message_id and e.direction = 'incoming' and e.identity <> u.identity)
                      then array_append(r.warnings, $8::text) else coalesce(r.warnings, '{}') end,
                 $9, $9
             from unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                         $7::jsonb[]) as u(id, identity, message_id, subject, sent_at, received_at, rest),
                  jsonb_to_record(u.rest) as r(in_reply_to text, refs text[], owner_kind text, owner_id uuid,
                      auto_submitted text, precedence text, list_id text, return_path text, sensitivity text,
                      importance text, automatic text, response_suppressed text, warnings text[])
             order by u.message_id, u.identity
             on conflict do nothing returning id",
            &[&ids, &identities, &message_ids, &subjects, &dates, &received, &rows_of, &REUSED, &by],
        )
        .await?;
    rows.iter().map(|row| Ok(EmailId(row.try_get(0)?))).collect()
}

/// The warning on an email whose Message-ID another email already has.
const REUSED: &str = model::message::MESSAGE_ID_REUSED;

async fn write_parties(
    tenant: &Tenant,
    made: &HashMap<EmailId, &Open<'_>>,
    resolved: &HashMap<&str, &Resolved>,
) -> Result<()> {
    let (mut emails, mut positions, mut roles) = (Vec::new(), Vec::new(), Vec::new());
    let (mut addresses, mut names, mut types, mut ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, one) in made {
        for (position, (role, party)) in parties(&one.message.message).enumerate() {
            let known = resolved.get(normalize(&party.address).as_str());
            emails.push(id.0);
            positions.push(row::narrow(position));
            roles.push(role.as_str());
            addresses.push(party.address.as_str());
            names.push(party.name.as_deref().unwrap_or_default());
            types.push(known.map(|known| known.party_type.as_str()));
            ids.push(known.map(|known| known.party_id));
        }
    }
    if emails.is_empty() {
        return Ok(());
    }
    tenant
        .execute(
            "insert into email_parties (organization_id, email_id, position, role, address, name, party_type, party_id)
             select current_organization(), e, p, r, a, n, t, i
             from unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[])
                  as u(e, p, r, a, n, t, i)",
            &[&emails, &positions, &roles, &addresses, &names, &types, &ids],
        )
        .await?;
    Ok(())
}

/// Whose mail an address is: the owners of the mailboxes that recipients have, and of the one being read.
struct Owners {
    by_address: HashMap<String, Owner>,
    reader: Option<Owner>,
}

impl Owners {
    /// The first of To, Cc and Bcc with a mailbox; when a list or a Bcc brought it, whoever's mailbox it is in.
    fn of(&self, message: &ParsedMessage) -> Option<Owner> {
        message
            .to
            .iter()
            .chain(&message.cc)
            .chain(&message.bcc)
            .find_map(|party| self.by_address.get(&normalize(&party.address)).copied())
            .or(self.reader)
    }
}

async fn owners(tenant: &Tenant, batch: &IncomingBatch<'_>, addresses: &[String]) -> Result<Owners> {
    let rows = tenant
        .query(
            "select address, id = $2 as reads, case when user_id is not null then 'user' else 'queue' end as owner_kind,
                    coalesce(user_id, queue_id) as owner_id
             from (select m.address_key as address, m.id, m.user_id, m.queue_id from mailboxes m
                   where m.address_key = any($1::text[]) or m.id = $2
                   union
                   select a.address, m.id, m.user_id, m.queue_id from addresses a
                   join mailboxes m on m.organization_id = a.organization_id and m.user_id = a.party_id
                   where a.party_type = 'user' and a.address = any($1::text[])
                   union
                   select a.address, m.id, m.user_id, m.queue_id from addresses a
                   join mailboxes m on m.organization_id = a.organization_id and m.queue_id = a.party_id
                   where a.party_type = 'queue' and a.address = any($1::text[])) as mailboxes
             where user_id is not null or queue_id is not null",
            &[&addresses, &batch.mailbox.0],
        )
        .await?;
    let mut owners = Owners { by_address: HashMap::new(), reader: None };
    for row in &rows {
        let owner = row::owner(row)?;
        if row.try_get("reads")? {
            owners.reader = owner;
        }
        if let Some(owner) = owner {
            owners.by_address.insert(row.try_get("address")?, owner);
        }
    }
    Ok(owners)
}
