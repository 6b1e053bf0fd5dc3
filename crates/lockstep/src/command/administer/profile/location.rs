//! Where a server listens, as people write it: a host, with a port or without, and the TLS that goes with the port.

use std::str::FromStr;

use serde_json::{Value, json};

/// A host with or without a port. Whether the port exists is the API's to say, so that there is one wording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    host: String,
    port: Option<i64>,
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match (text.rsplit_once(':'), text.strip_prefix('[')) {
            // An IPv6 address has colons of its own, and brackets around it when a port follows (RFC 3986 section 3.2.2).
            (_, Some(rest)) => match rest.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) => (host, Some(port.trim_start_matches(':'))),
                None => return Err("the bracket is not closed".to_owned()),
            },
            (Some((host, port)), None) if !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        };
        let port =
            port.map(|port| port.parse().map_err(|_| format!("`{port}` is no port; give HOST or HOST:PORT")));
        Ok(Self { host: host.to_owned(), port: port.transpose()? })
    }
}

/// How a connection becomes private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tls {
    /// TLS from the first byte: ports 995 and 465.
    Implicit,
    /// STARTTLS: ports 110 and 587.
    #[value(name = "start_tls")]
    StartTls,
}

impl Tls {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::StartTls => "start_tls",
        }
    }

    /// What is usual at a port.
    const fn at(port: i64) -> Self {
        match port {
            110 | 587 | 25 | 2525 => Self::StartTls,
            _ => Self::Implicit,
        }
    }
}

impl Location {
    /// What the API takes. `usual` is the port when none is given.
    pub(super) fn body(&self, tls: Option<Tls>, usual: i64) -> Value {
        let port = self.port.unwrap_or(match (tls, usual) {
            (Some(Tls::StartTls), 995) => 110,
            (Some(Tls::StartTls), 465) => 587,
            (_, usual) => usual,
        });
        json!({"host": self.host, "port": port, "tls": tls.unwrap_or(Tls::at(port)).as_str()})
    }
}

/// A location that stays where it is, with other TLS.
pub(super) fn with_tls(present: &Value, tls: Tls) -> Value {
    let mut location = present.clone();
    location["tls"] = tls.as_str().into();
    location
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str, tls: Option<Tls>, usual: i64) -> Value {
        text.parse::<Location>().unwrap().body(tls, usual)
    }

    #[test]
    fn a_location_is_a_host_with_or_without_a_port() {
        for (text, host, port) in [
            ("mail.example.com", "mail.example.com", 995),
            ("mail.example.com:2995", "mail.example.com", 2995),
            ("mail.example.com:70000", "mail.example.com", 70_000),
            ("192.0.2.1:995", "192.0.2.1", 995),
            ("[2001:db8::1]:995", "2001:db8::1", 995),
            ("[2001:db8::1]", "2001:db8::1", 995),
            ("2001:db8::1", "2001:db8::1", 995),
        ] {
            assert_eq!(
                body(text, None, 995),
                json!({"host": host, "port": port, "tls": "implicit"}),
                "{text}"
            );
        }
        assert!("mail.example.com:pop3".parse::<Location>().unwrap_err().contains("is no port"));
        assert!("[2001:db8::1".parse::<Location>().is_err());
    }

    #[test]
    fn port_and_tls_follow_from_each_other() {
        for (text, tls, usual, port, said) in [
            ("mail", None, 465, 465, "implicit"),
            ("mail:587", None, 465, 587, "start_tls"),
            ("mail", Some(Tls::StartTls), 465, 587, "start_tls"),
            ("mail", Some(Tls::StartTls), 995, 110, "start_tls"),
            ("mail:587", Some(Tls::Implicit), 465, 587, "implicit"),
        ] {
            assert_eq!(body(text, tls, usual), json!({"host": "mail", "port": port, "tls": said}), "{text}");
        }
    }
}
