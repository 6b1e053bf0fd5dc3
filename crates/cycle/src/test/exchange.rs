//! The test of a mailbox of an Exchange server: that it is one, that its folders can be reached in the name that its cycles
//! will use, and that nobody else synchronizes it. The owner mark is all that is written there.

use mail::ews::{FolderRef, OwnerMark, RecipientKind, Resolution, Session};
use model::alert::AlertKind;
use model::failure::{Failure, FailureScope};
use model::workload::Workload;
use serde_json::{Value, json};
use store::mailbox::MailboxForCycle;

use super::{Finding, Taking};
use crate::Mail;
use crate::access::{Access, Keeper};
use crate::failure::Explained;

pub(super) async fn conversation(
    keeper: &Keeper<'_>,
    mailbox: &MailboxForCycle,
    access: &Access,
    taking: Taking,
    finding: &mut Finding,
) -> Result<(), mail::Error> {
    let endpoint = mailbox.endpoint();
    let mut session = keeper.mail.exchange(mailbox, access, None).await?;
    let wanted = match mailbox.workload {
        Workload::Outgoing => FolderRef::Drafts,
        Workload::Incoming | Workload::Act => FolderRef::Inbox,
    };
    let folder = match session.get_folder(&wanted).await {
        Ok(folder) => folder,
        Err(error) => return Err(Mail::first_word(&session, error)),
    };
    let version = session.version().map(|version| format!(", which speaks {}", version.as_str()));
    finding
        .ok("sign in", format!("signed in at {endpoint}{} over verified TLS", version.unwrap_or_default()));
    if !is_a_mailbox(&mut session, mailbox, finding).await? {
        return Ok(());
    }
    match mailbox.workload {
        Workload::Incoming => {
            session.sync_folder_items(&wanted, None, 1).await?;
            let items = folder.total.map(|total| format!(" of its {total} items")).unwrap_or_default();
            finding.ok("list", format!("the server says what changes in the inbox{items}"));
        }
        Workload::Outgoing => {
            finding.ok(
                "send",
                "the drafts of the mailbox can be reached; nothing was written and nothing was sent",
            );
        }
        Workload::Act => {}
    }
    take(&mut session, keeper, mailbox, taking, finding).await?;
    session.close();
    Ok(())
}

/// Asks the directory what the address is. A server that keeps none, or shows it to nobody, is believed to have a mailbox
/// where one was opened.
async fn is_a_mailbox(
    session: &mut Session,
    mailbox: &MailboxForCycle,
    finding: &mut Finding,
) -> Result<bool, mail::Error> {
    let found = match session.resolve_names(&mailbox.address).await {
        Ok(found) => found,
        Err(error) if session.is_usable() => {
            finding.ok(
                "address",
                format!("warning: the server's directory could not be asked what it is: {error}"),
            );
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    let Some((what, instead)) = other(&mailbox.address, &found) else { return Ok(true) };
    let parameters = json!({"endpoint": mailbox.endpoint().key(), "what": what, "instead": instead});
    finding.fail("address", permanent(AlertKind::NotAMailbox, parameters));
    Ok(false)
}

/// What the address is when it is no mailbox, and what to use instead.
fn other(address: &str, found: &[Resolution]) -> Option<(String, String)> {
    let is = |other: &str| other.eq_ignore_ascii_case(address);
    let own = |resolution: &&Resolution| is(&resolution.address);
    if found.iter().filter(own).any(|resolution| resolution.kind == RecipientKind::Mailbox) {
        return None;
    }
    if let Some(resolution) = found.iter().find(own) {
        let (what, instead) = match resolution.kind {
            RecipientKind::DistributionList => (
                "a distribution list, which has no mail of its own",
                "Use the address of a mailbox: a shared mailbox, or one of its members'.",
            ),
            RecipientKind::Contact => {
                ("a contact, whose mailbox is elsewhere", "Map the mailbox at the server that has it.")
            }
            RecipientKind::PublicFolder => {
                ("a public folder, which nobody signs in to", "Use the address of a shared mailbox.")
            }
            RecipientKind::Mailbox | RecipientKind::Other => return None,
        };
        return Some((what.to_owned(), instead.to_owned()));
    }
    let alias = found.iter().find(|resolution| {
        let named = resolution.aliases.iter().any(|alias| is(alias));
        resolution.kind == RecipientKind::Mailbox && (named || found.len() == 1)
    })?;
    Some((
        format!("another name of the mailbox {}", alias.address),
        format!("Change the mailbox's address to {}.", alias.address),
    ))
}

/// Marks the mailbox as ours, unless it is another's. With force it is taken.
async fn take(
    session: &mut Session,
    keeper: &Keeper<'_>,
    mailbox: &MailboxForCycle,
    taking: Taking,
    finding: &mut Finding,
) -> Result<(), mail::Error> {
    let ours = OwnerMark {
        installation: taking.installation.to_string(),
        organization: keeper.organization.to_string(),
    };
    match session.owner_mark().await? {
        Some(mark) if mark == ours => return Ok(()),
        Some(other) if !taking.force => {
            let parameters = json!({
                "endpoint": mailbox.endpoint().key(),
                "organization": other.organization,
                "installation": other.installation,
            });
            finding.fail("whose it is", permanent(AlertKind::MailboxClaimed, parameters));
            return Ok(());
        }
        Some(other) => {
            let from = format!("organization {} of installation {}", other.organization, other.installation);
            finding.ok("whose it is", format!("taken from the {from}"));
            finding.taken_from = Some(from);
        }
        None => finding.ok("whose it is", "marked as synchronized by this organization"),
    }
    session.set_owner_mark(Some(&ours)).await
}

fn permanent(alert: AlertKind, parameters: Value) -> Explained {
    let failure = Failure { scope: FailureScope::Mailbox, alert, said: None, retry_after: None };
    Explained { failure, parameters }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolution(address: &str, kind: RecipientKind, aliases: &[&str]) -> Resolution {
        Resolution {
            name: None,
            address: address.to_owned(),
            kind,
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        }
    }

    #[test]
    fn an_address_is_a_mailbox_unless_the_directory_says_otherwise() {
        use RecipientKind::{Contact, DistributionList, Mailbox};
        for (found, what) in [
            (vec![], None),
            (vec![resolution("Ada@Example.com", Mailbox, &[])], None),
            (vec![resolution("ada@example.com", DistributionList, &[])], Some("a distribution list")),
            (vec![resolution("ada@example.com", Contact, &[])], Some("a contact")),
            (vec![resolution("lovelace@example.com", Mailbox, &["ADA@example.com"])], Some("another name")),
            (vec![resolution("lovelace@example.com", Mailbox, &[])], Some("another name")),
            // Others whose names begin alike say nothing about this one.
            (
                vec![
                    resolution("ada2@example.com", Mailbox, &[]),
                    resolution("ada3@example.com", Contact, &[]),
                ],
                None,
            ),
            (
                vec![
                    resolution("list@example.com", DistributionList, &[]),
                    resolution("ada@example.com", Mailbox, &[]),
                ],
                None,
            ),
        ] {
            let told = other("ada@example.com", &found).map(|(what, _)| what);
            match what {
                None => assert_eq!(told, None, "{found:?}"),
                Some(what) => assert!(told.as_ref().is_some_and(|told| told.starts_with(what)), "{told:?}"),
            }
        }
    }
}
