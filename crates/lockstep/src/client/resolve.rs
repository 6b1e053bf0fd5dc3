//! From what people call a thing to its id: a UUID is taken as it is, an address or a name is looked up.

use serde_json::Value;
use uuid::Uuid;

use super::{Api, Record};
use crate::command::Failure;

/// What can be named by something else than its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    /// By its name.
    Profile,
    /// By its address.
    Mailbox,
    /// By their address.
    User,
    /// By its address.
    Queue,
    /// By its name.
    Schedule,
}

impl Noun {
    const fn facts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Profile => ("profile", "profiles", "name"),
            Self::Mailbox => ("mailbox", "mailboxes", "address"),
            Self::User => ("user", "users", "address"),
            Self::Queue => ("queue", "queues", "address"),
            Self::Schedule => ("schedule", "schedules", "name"),
        }
    }
}

impl Api {
    /// The id of what is called `given`; refused when there is none.
    pub async fn id(&self, noun: Noun, given: &str) -> Result<String, Failure> {
        let (name, _, key) = noun.facts();
        self.find(noun, given).await?.ok_or_else(|| {
            Failure::Said(format!(
                "there is no {name} called `{given}`\n  what to do: give its {key} or its id; `lockstep {name} list` \
                 shows what there is"
            ))
        })
    }

    /// The id of what is called `given`, if there is such a thing. An id is taken as it is, not looked up.
    pub async fn find(&self, noun: Noun, given: &str) -> Result<Option<String>, Failure> {
        if let Ok(id) = given.parse::<Uuid>() {
            return Ok(Some(id.to_string()));
        }
        let (_, path, key) = noun.facts();
        let page = self.list(&[path], &[(key, given.to_owned())], None).await?;
        Ok(one(&page, key, given))
    }
}

fn one(page: &Value, key: &str, given: &str) -> Option<String> {
    // Exactly as written first: names may differ in case alone, addresses may not.
    let items = Record(page).items();
    let found = items
        .iter()
        .find(|item| item.text(key) == given)
        .or_else(|| items.iter().find(|item| item.text(key).eq_ignore_ascii_case(given)))?;
    found.filled("id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_is_preferred_to_one_that_differs_in_case() {
        let page = serde_json::json!({"items": [{"id": "1", "name": "Mail"}, {"id": "2", "name": "mail"}]});
        assert_eq!(one(&page, "name", "mail").as_deref(), Some("2"));
        assert_eq!(one(&page, "name", "MAIL").as_deref(), Some("1"));
        assert_eq!(one(&page, "name", "post"), None);
    }
}
