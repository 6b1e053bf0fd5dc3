//! `lockstep email explain`: what became of a mail, in each mailbox, and where was looked for one that nobody has seen.

use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::command::administer::context::Context;
use crate::table::{self, Tone, cell, count, plain, state, words};

use super::{bare, shown};

pub(super) async fn explain(
    context: &Context<'_>,
    message_id: &str,
    mailbox: Option<String>,
) -> Result<(), Failure> {
    let mut query = vec![("message_id", bare(message_id).to_owned())];
    if let Some(mailbox) = mailbox {
        query.push(("mailbox", context.api.id(Noun::Mailbox, &mailbox).await?));
    }
    let answer = context.api.get(&["emails", "explain"], &query).await?;
    context.show(&answer, |answer| told(context, answer));
    Ok(())
}

fn told(context: &Context<'_>, answer: Record<'_>) -> String {
    let (seen, emails) = (answer.list("seen"), answer.list("emails"));
    let mut text = if seen.is_empty() && emails.is_empty() {
        "No mail with this Message-ID was seen, sent or received.\n".to_owned()
    } else {
        String::new()
    };
    for item in &seen {
        text.push_str(&one(context, *item));
    }
    if !emails.is_empty() {
        let mut table = context.look.table(shown::COLUMNS);
        table.add_rows(emails.iter().map(|email| shown::row(context, *email)));
        text.extend(["\n ", &context.look.title("emails"), "\n", &table::drawn(&table)]);
    }
    for email in &emails {
        text.push_str(&shown::sending(context, *email));
    }
    text.push_str(&looked(context, answer));
    text
}

/// One message of a mailbox, with what became of it.
fn one(context: &Context<'_>, item: Record<'_>) -> String {
    let facts = context.look.facts([
        ("decision", state(&item.text("decision"))),
        ("why", plain(item.text("meaning"))),
        ("what to do", plain(item.text("remedy"))),
        ("by rule", cell(item.text("rule"), Tone::Quiet)),
        ("decided", plain(context.when(item.time("seen_at")))),
        ("received", plain(context.when(item.time("received_at")))),
        ("gone since", plain(context.when(item.time("gone_at")))),
        ("tries", plain(item.filled("attempts").filter(|tries| tries != "0").unwrap_or_default())),
        ("last error", plain(item.text("last_error"))),
        ("email", cell(item.text("email"), Tone::Quiet)),
        ("item", cell(item.text("item_id"), Tone::Quiet)),
    ]);
    format!("{}\n", context.described(&item.text("mailbox_address"), &facts))
}

/// Where was looked, and when: mail that came since is not known yet.
fn looked(context: &Context<'_>, answer: Record<'_>) -> String {
    let listed = answer.list("looked_at.listed");
    let mailboxes = answer.number("looked_at.mailboxes");
    if listed.is_empty() {
        return "\n There is no mailbox that you may see, and so nowhere to look.\n".to_owned();
    }
    let mut table =
        context.look.table(&["looked into", "last read", "that cycle", "read next", "unread messages"]);
    for mailbox in &listed {
        let next = if mailbox.flag("on") {
            plain(context.ago(mailbox.time("due_at")))
        } else {
            cell("incoming mail is off", Tone::Uneasy)
        };
        let last = match mailbox.time("last_looked_at") {
            Some(at) => plain(context.ago(Some(at))),
            None => cell("never", Tone::Uneasy),
        };
        table.add_row([
            plain(mailbox.text("address")),
            last,
            plain(words(&mailbox.text("last_outcome"))),
            next,
            plain(mailbox.filled("unread_items").filter(|unread| unread != "0").unwrap_or_default()),
        ]);
    }
    let more = mailboxes - i64::try_from(listed.len()).unwrap_or(mailboxes);
    let more = if more > 0 {
        format!(" And {} more.\n", count(more, "mailbox", "mailboxes"))
    } else {
        String::new()
    };
    format!("\n{}{more}", table::drawn(&table))
}
