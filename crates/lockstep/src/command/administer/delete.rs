//! Removing something: what would go and what stays is shown first, and a person is asked.

use std::fmt::Write as _;

use clap::Args;

use super::context::{Context, refused};
use super::input::asked;
use crate::client::Record;
use crate::command::Failure;
use crate::table::{Tone, cell, drawn, plain};

/// Whether a person has to be asked.
#[derive(Clone, Copy, Debug, Args)]
pub struct Sure {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Shows what would go and what stays, asks, and removes exactly what was shown.
pub(super) async fn run(context: &Context<'_>, path: [&str; 2], sure: Sure) -> Result<(), Failure> {
    let told = context.api.get(&[path[0], path[1], "deletion"], &[]).await?;
    let deletion = Record(&told);
    if let Some(cause) = deletion.filled("refused.cause") {
        let noun = deletion.text("record_type");
        let (cause, remedy) = cause.rsplit_once(": ").unwrap_or((&cause, "change that first"));
        return Err(refused(
            &format!("the {noun} {} cannot be removed: {cause}", deletion.text("name")),
            remedy,
        ));
    }
    if !context.json {
        context.say(&shown(context, deletion));
    }
    let name = deletion.text("name");
    if !sure.yes && !asked(&format!("Remove the {} {name}?", deletion.text("record_type")))? {
        return Err(refused("nothing was removed", "repeat it when you are sure, or give --yes"));
    }
    context.api.remove_at(&path, deletion.number("version")).await?;
    context.show(&told, |_| format!("Removed {name}."));
    Ok(())
}

fn shown(context: &Context<'_>, deletion: Record<'_>) -> String {
    let mut text = String::new();
    for (title, list) in [("What goes", "goes"), ("What stays", "stays")] {
        let mut table = context.look.prose();
        for part in deletion.list(list) {
            let count = part.number("count");
            let tone = if count > 0 { Tone::Loud } else { Tone::Quiet };
            table.add_row(vec![
                cell(count.to_string(), tone),
                cell(part.text("what"), tone),
                plain(part.text("meaning")),
            ]);
        }
        let _ = writeln!(text, "{}\n\n{}", context.look.title(title), drawn(&table));
    }
    text
}
