//! Keeping requests on one of the servers behind a front end, as notifications of several mailboxes on one connection need
//! it.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/exchange-web-services/how-to-maintain-affinity-between-group-of-subscriptions-and-mailbox-server>

use hyper::header::{HeaderMap, SET_COOKIE};
use model::address::EmailAddress;

/// The one cookie that is kept, by its name.
const COOKIE: &str = "X-BackEndOverrideCookie";
/// The longest that its value may be.
const LONGEST: usize = 4096;

/// The group that a session's requests belong to.
#[derive(Clone, Debug)]
pub(super) struct Affinity {
    /// The mailbox by which the group is found.
    pub(super) anchor: EmailAddress,
    cookie: Option<String>,
}

impl Affinity {
    pub(super) fn new(anchor: EmailAddress) -> Self {
        Self { anchor, cookie: None }
    }

    /// What is said in `Cookie`.
    pub(super) fn cookie(&self) -> Option<String> {
        self.cookie.as_ref().map(|value| format!("{COOKIE}={value}"))
    }

    /// Keeps the cookie that an answer brings.
    pub(super) fn note(&mut self, headers: &HeaderMap) {
        let said = headers.get_all(SET_COOKIE).into_iter().find_map(|field| {
            let (name, value) = field.to_str().ok()?.split(';').next()?.split_once('=')?;
            Some(value.trim().to_owned()).filter(|value| name.trim() == COOKIE && value.len() <= LONGEST)
        });
        if let Some(value) = said {
            self.cookie = Some(value).filter(|value| !value.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_cookie_is_kept_and_no_other() {
        let mut affinity = Affinity::new("anna@example.com".parse().unwrap());
        let mut headers = HeaderMap::new();
        for field in
            ["exchangecookie=1; path=/", "X-BackEndOverrideCookie=a~1=; path=/; secure; HttpOnly", "x"]
        {
            headers.append(SET_COOKIE, field.parse().unwrap());
        }
        affinity.note(&headers);
        assert_eq!(affinity.cookie().as_deref(), Some("X-BackEndOverrideCookie=a~1="));
        affinity.note(&HeaderMap::new());
        assert!(affinity.cookie().is_some());
    }
}
