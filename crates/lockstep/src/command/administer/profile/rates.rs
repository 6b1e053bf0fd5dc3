//! `lockstep profile rates`: how much a profile's servers take in a time, shown and set.

use clap::Args;
use model::rate::{RateLimit, RateProvider};
use serde_json::{Value, json};

use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::command::administer::context::Context;
use crate::table::plain;

/// What a profile is to be held to; without any of it, what holds is shown.
#[derive(Debug, Args)]
pub struct Pace {
    /// The name or id.
    profile: String,
    /// Whose published figures hold: `auto` (by the host names), `none`, `exchange_online`, `exchange_on_premises` or `gmail`.
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<RateProvider>,
    /// A rate beside the figures or in the place of one, such as '10 messages/60s per mailbox': AMOUNT UNIT/WINDOW per SCOPE.
    /// The unit is `messages`, `requests`, `bytes_up` or `bytes_down`, the scope `mailbox`, `server`, `tenant` or
    /// `application`. Given several times, all of them hold, and those that were given before do not.
    #[arg(long = "rate", value_name = "RATE")]
    rates: Vec<RateLimit>,
    /// Hold to the provider's figures alone again.
    #[arg(long, conflicts_with = "rates")]
    forget: bool,
}

pub(super) async fn run(context: &Context<'_>, wanted: Pace) -> Result<(), Failure> {
    let api = context.api;
    let id = api.id(Noun::Profile, &wanted.profile).await?;
    let path = ["profiles", &id, "rates"];
    let present = api.get(&path, &[]).await?;
    let answer = if wanted.provider.is_none() && wanted.rates.is_empty() && !wanted.forget {
        present
    } else {
        let provider =
            wanted.provider.map_or_else(|| present["provider"].clone(), |provider| json!(provider));
        let given = match (wanted.rates.is_empty(), wanted.forget) {
            (true, false) => present["rates"].clone(),
            _ => json!(wanted.rates),
        };
        api.replace(&path, &json!({"provider": provider, "rates": given})).await?
    };
    context.show(&answer, |rates| {
        let facts = context.look.facts([
            ("provider", plain(rates.text("provider"))),
            ("given", plain(listed(rates, "rates"))),
            ("mail in", plain(listed(rates, "incoming"))),
            ("mail out", plain(listed(rates, "outgoing"))),
        ]);
        context.described(&wanted.profile, &facts)
    });
    Ok(())
}

/// Rates as they are written on the command line.
fn listed(rates: Record<'_>, which: &str) -> String {
    let written =
        |rate: &Value| serde_json::from_value::<RateLimit>(rate.clone()).ok().map(|rate| rate.to_string());
    let rates = rates.at(which).and_then(Value::as_array).into_iter().flatten();
    let written: Vec<String> = rates.filter_map(written).collect();
    if written.is_empty() { "no rate".to_owned() } else { written.join("\n") }
}
