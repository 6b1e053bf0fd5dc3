//! Whose answer a consent came back with (RFC 9207): a code of one server must never be shown to another.

use url::Url;

use super::Address;

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongIssuer {
    /// It says nothing, and the server always does.
    #[error("it does not say which server it is from")]
    Missing,
    /// It says another name.
    #[error("it says that it is from another server than the one that was asked")]
    Another,
}

/// Judges what an answer says about its server, `said`. With an `issuer` that is known it is that one, letter by letter
/// (RFC 9207 section 2.4). Without, silence is taken, and a name is one of the host where people consent or tokens are
/// given out: some providers say it without having announced it.
pub fn check_issuer(
    said: Option<&str>,
    issuer: Option<&str>,
    authorize: Option<&Address>,
    token: &Address,
) -> Result<(), WrongIssuer> {
    match (said, issuer) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(WrongIssuer::Missing),
        (Some(said), Some(issuer)) if said == issuer => Ok(()),
        (Some(_), Some(_)) => Err(WrongIssuer::Another),
        (Some(said), None) => {
            let said = Url::parse(said).map_err(|_| WrongIssuer::Another)?.origin();
            let known = authorize.into_iter().chain([token]).any(|known| known.url().origin() == said);
            if known { Ok(()) } else { Err(WrongIssuer::Another) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_from_the_server_that_was_asked_alone() {
        let authorize = Address::parse("https://accounts.example.com/auth?prompt=consent").unwrap();
        let token = Address::parse("https://oauth.example.net/token").unwrap();
        let judged = |said, issuer| check_issuer(said, issuer, Some(&authorize), &token);
        let (missing, another) = (Err(WrongIssuer::Missing), Err(WrongIssuer::Another));
        for (said, issuer, expected) in [
            (None, None, Ok(())),
            (None, Some("https://accounts.example.com"), missing),
            (Some("https://accounts.example.com"), Some("https://accounts.example.com"), Ok(())),
            // Letter by letter: another tenant of the same host is another server.
            (Some("https://accounts.example.com/"), Some("https://accounts.example.com"), another),
            (Some("https://accounts.example.com/two"), Some("https://accounts.example.com/one"), another),
            (Some(""), Some("https://accounts.example.com"), another),
            (Some("https://accounts.example.com"), None, Ok(())),
            (Some("https://accounts.example.com/tenant/v2.0"), None, Ok(())),
            (Some("https://oauth.example.net"), None, Ok(())),
            (Some("https://evil.example"), None, another),
            (Some("https://accounts.example.com.evil.example"), None, another),
            (Some("http://accounts.example.com"), None, another),
            (Some("https://accounts.example.com:8443"), None, another),
            (Some("accounts.example.com"), None, another),
            (Some(""), None, another),
        ] {
            assert_eq!(judged(said, issuer), expected, "{said:?} of {issuer:?}");
        }
    }
}
