//! What a profile's fields may hold. Each refusal names the field, the cause and the remedy.

use std::ops::RangeInclusive;

use model::endpoint::{Endpoint, Tls};
use model::profile::{CredentialsOn, Exchange, ExchangeAccess, ProfileKind};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::ProfileFields;
use crate::refusal::{Refusal, check_external_id, check_length, check_line, check_time};

pub(super) fn fields(new: &ProfileFields) -> Result<(), Refusal> {
    check_line("name", &new.name, 1, 100)?;
    check_length("description", &new.description, 0, 2000)?;
    endpoint("incoming.host", "incoming.port", &new.incoming)?;
    endpoint("outgoing.host", "outgoing.port", &new.outgoing)?;
    exchange(new)?;
    number("max_connections", new.limits.max_connections, 1..=65_536)?;
    number("max_in_flight", new.limits.max_in_flight, 1..=65_536)?;
    number("min_polling_minutes", new.min_polling_minutes, 0..=1440)?;
    let timeout = u32::try_from(new.connect_timeout.as_millis()).unwrap_or(u32::MAX);
    number("connect_timeout_ms", timeout, 1..=100_000)?;
    match &new.undeliverable_folder {
        Some(_) if new.exchange.is_none() => {
            return Err(Refusal::invalid(
                "undeliverable_folder",
                "only a profile of the kind `exchange_ews` has `undeliverable_folder`: POP3 has no folders",
                "leave it out",
            ));
        }
        Some(name) => check_line("undeliverable_folder", name, 1, 256)?,
        None => {}
    }
    check_time("process_email_received_after", new.process_email_received_after)?;
    check_external_id(new.external_id.as_ref())?;
    match &new.ca_certificate {
        Some(pem) if pem.contains("PRIVATE KEY-----") => Err(Refusal::invalid(
            "ca_certificate",
            "`ca_certificate` holds a private key, and everybody who may see the profile would see it",
            "give the certificate of the authority alone; take the key for known to others where it was stored",
        )),
        Some(pem) if !pem.contains("-----BEGIN CERTIFICATE-----") => Err(Refusal::invalid(
            "ca_certificate",
            "`ca_certificate` holds no certificate",
            "give the PEM text of the authority, which begins with -----BEGIN CERTIFICATE-----",
        )),
        Some(pem) => certificates(pem),
        None => Ok(()),
    }
}

/// Every certificate of the PEM text can be an authority, today. A profile that found out at its first connection would have
/// everybody look for the fault at the server.
fn certificates(pem: &str) -> Result<(), Refusal> {
    let refused = |cause: String, remedy: &str| Refusal::invalid("ca_certificate", cause, remedy);
    for (place, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
        let number = place + 1;
        let unreadable = || {
            refused(
                format!("the certificate number {number} of `ca_certificate` cannot be read"),
                "give the PEM text as the authority published it, whole and unchanged",
            )
        };
        let certificate = certificate.map_err(|_| unreadable())?;
        RootCertStore::empty().add(certificate.clone()).map_err(|_| unreadable())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| unreadable())?;
        let ends = parsed.validity().not_after.timestamp();
        if ends <= model::clock::now().as_second() {
            let day =
                jiff::Timestamp::from_second(ends).map_or_else(|_| String::new(), |day| format!(" on {day}"));
            return Err(refused(
                format!("the certificate number {number} of `ca_certificate` expired{day}"),
                "give the authority's present certificate, or leave the old one out where there are several",
            ));
        }
    }
    Ok(())
}

/// When the first of the authorities ends.
pub(super) fn authority_ends(new: &ProfileFields) -> Option<jiff::Timestamp> {
    let ends = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        jiff::Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
    };
    let pem = new.ca_certificate.as_ref()?.as_bytes();
    CertificateDer::pem_slice_iter(pem).filter_map(|certificate| ends(&certificate.ok()?)).min()
}

fn endpoint(host: &'static str, port: &'static str, endpoint: &Endpoint) -> Result<(), Refusal> {
    let name = endpoint.host.as_str();
    // Letters beyond ASCII belong in a host name as A-labels (RFC 5890); a certificate says it that way as well.
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | ':' | '_');
    if name.is_empty() || name.len() > 253 || !name.chars().all(fits) {
        return Err(Refusal::invalid(
            host,
            format!("`{host}` is no host name and no address"),
            "give the server's name alone, without scheme, port and path, such as mail.example.com",
        ));
    }
    if endpoint.port == 0 {
        return Err(Refusal::invalid(port, format!("`{port}` cannot be 0"), "give the TCP port, 1 to 65535"));
    }
    Ok(())
}

/// An Exchange profile leads to one place, over TLS from the first byte, and asks in the name that its credentials allow.
fn exchange(new: &ProfileFields) -> Result<(), Refusal> {
    let (ProfileKind::ExchangeEws, Some(exchange)) = (new.kind, &new.exchange) else {
        let cause = "only a profile of the kind `exchange_ews` has `exchange`, and it cannot do without";
        return match (new.kind, &new.exchange) {
            (ProfileKind::Pop3Smtp, None) => Ok(()),
            _ => Err(Refusal::invalid("exchange", cause, "give `exchange` with the kind, or neither")),
        };
    };
    let fits =
        |letter: char| letter.is_ascii_graphic() && !matches!(letter, '?' | '#' | '\\' | '"' | '<' | '>');
    let is_path = |path: &str| path.starts_with('/') && path.len() <= 1000 && path.chars().all(fits);
    if !exchange.path.as_deref().is_none_or(is_path) {
        return Err(Refusal::invalid(
            "exchange.url",
            "`exchange.url` has no path that a web service could have",
            "give the whole address, such as https://mail.example.com/EWS/Exchange.asmx",
        ));
    }
    sought(exchange)?;
    if new.incoming != new.outgoing || new.incoming.tls != Tls::Implicit {
        return Err(Refusal::invalid(
            "incoming",
            "an Exchange server has one location, for mail in and mail out",
            "leave `incoming` and `outgoing` out, and give `exchange.url`",
        ));
    }
    if (exchange.access == ExchangeAccess::Own) != (new.limits.credentials_on == CredentialsOn::Mailbox) {
        return Err(Refusal::invalid(
            "exchange.access",
            "`exchange.access` and `credentials_on` do not fit each other",
            "with credentials on the mailbox it is `own`; with credentials on the profile `impersonation` or `delegate`",
        ));
    }
    Ok(())
}

/// What is said about how a service is found fits one that is.
fn sought(exchange: &Exchange) -> Result<(), Refusal> {
    if exchange.path.is_some() && (exchange.start.is_some() || !exchange.hosts.is_empty()) {
        let field = if exchange.start.is_some() { "exchange.autodiscover_url" } else { "exchange.hosts" };
        return Err(Refusal::invalid(
            field,
            "where the address of the web service is given, nothing is looked for",
            "leave out `exchange.url`, or `exchange.autodiscover_url` and `exchange.hosts`",
        ));
    }
    if exchange.hosts.len() > 100 {
        return Err(Refusal::invalid(
            "exchange.hosts",
            "`exchange.hosts` has more than 100 hosts",
            "name the provider's hosts together, by a name that begins with a dot",
        ));
    }
    let fits =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-._:[]".contains(letter);
    for host in &exchange.hosts {
        let name = host.strip_prefix('.').unwrap_or(host);
        // Everything under a top-level domain is nobody's.
        let everybody = host.starts_with('.') && !name.contains('.');
        if name.is_empty()
            || name.len() > 253
            || name.starts_with('.')
            || !name.chars().all(fits)
            || everybody
        {
            return Err(Refusal::invalid(
                "exchange.hosts",
                format!("`{host}` is no host that could be named"),
                "give a host name in lower case, such as mail.example.com, or `.example.com` for all under it",
            ));
        }
    }
    Ok(())
}

fn number(field: &'static str, value: u32, range: RangeInclusive<u32>) -> Result<(), Refusal> {
    if range.contains(&value) {
        return Ok(());
    }
    let remedy = format!("give a number from {} to {}", range.start(), range.end());
    Err(Refusal::invalid(field, format!("`{field}` cannot be {value}"), remedy))
}
