//! Which hosts may hear the credentials.

use model::address::EmailAddress;

use super::candidate::domain;

/// The hosts under a mailbox's domain, and those that were named.
#[derive(Clone, Debug)]
pub(super) struct Permit {
    domain: Option<String>,
    named: Vec<String>,
}

impl Permit {
    pub(super) fn new(mailbox: &EmailAddress, named: &[String]) -> Self {
        let named = named.iter().map(|name| normal(name)).filter(|name| !name.is_empty() && name != ".");
        Self { domain: domain(mailbox), named: named.collect() }
    }

    /// Whether a host, as it stands in an address, may hear them.
    pub(super) fn allows(&self, host: &str) -> bool {
        let host = normal(host);
        self.domain.as_ref().is_some_and(|domain| host == *domain || is_under(&host, domain))
            || self.named.iter().any(|named| match named.strip_prefix('.') {
                Some(suffix) => is_under(&host, suffix),
                None => host == *named,
            })
    }
}

fn is_under(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn normal(host: &str) -> String {
    host.trim().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_domain_what_is_under_it_and_what_was_named_are_permitted() {
        let mailbox = "anna@Example.com".parse().unwrap();
        let permit = Permit::new(&mailbox, &["Mail.Host.test".into(), ".cloud.test".into(), String::new()]);
        for host in ["example.com", "EXAMPLE.COM.", "a.b.example.com", "mail.host.test", "eu.cloud.test"] {
            assert!(permit.allows(host), "{host}");
        }
        for host in [
            "",
            "com",
            "xexample.com",
            ".example.com",
            "example.com.evil.test",
            "example.org",
            "host.test",
            "x.mail.host.test",
            "cloud.test",
            "evilcloud.test",
            "127.0.0.1",
        ] {
            assert!(!permit.allows(host), "{host}");
        }
        let literal = Permit::new(&"anna@[127.0.0.1]".parse().unwrap(), &[]);
        assert!(!literal.allows("127.0.0.1") && !literal.allows(""));
    }
}
