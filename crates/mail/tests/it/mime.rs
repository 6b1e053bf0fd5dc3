//! Messages taken apart and put together: what awkward ones become, and that no bytes break anything.

mod build;
mod corpus;
mod hostile;
mod mutate;

use model::message::ParsedMessage;

fn limits() -> mail::mime::Limits {
    mail::mime::Limits::default()
}

fn parse(raw: &[u8]) -> ParsedMessage {
    mail::mime::parse(raw, &limits())
}
