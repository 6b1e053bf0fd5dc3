//! Header fields that servers add to each copy on its way; an identity must never contain one.

/// RFC 5321 section 4.4, RFC 9228 (Delivered-To), RFC 8601, RFC 8617 (ARC), RFC 6376 and RFC 7208; then the ones
/// that Postfix, Exim, Exchange, Gmail and mbox stores write without an RFC.
const TRACE_FIELDS: &[&str] = &[
    "received",
    "return-path",
    "delivered-to",
    "x-original-to",
    "x-received",
    "x-delivered-to",
    "envelope-to",
    "delivery-date",
    "x-envelope-from",
    "x-envelope-to",
    "x-original-sender",
    "authentication-results",
    "x-authentication-results",
    "authentication-results-original",
    "received-spf",
    "dkim-signature",
    "dkim-filter",
    "domainkey-signature",
    "x-google-dkim-signature",
    "x-gm-message-state",
    "x-google-smtp-source",
    "x-gm-features",
    "x-uidl",
    "x-uid",
    "x-imap",
    "x-imapbase",
    "status",
    "x-status",
    "x-keywords",
    "x-mozilla-status",
    "x-mozilla-status2",
    "x-mozilla-keys",
    "lines",
    "content-length",
    "x-scanned-by",
    "x-proofpoint-guid",
    "x-proofpoint-orig-guid",
    "x-rspamd-server",
    "x-rspamd-queue-id",
];

/// Families of which every server has its own members.
const TRACE_PREFIXES: &[&str] = &[
    "arc-",
    "x-arc-",
    "x-spam",
    "x-virus",
    "x-amavis",
    "x-ms-exchange-",
    "x-microsoft-antispam",
    "x-forefront-",
    "x-eopattributedmessage",
    "x-eoptenantattributedmessage",
    "x-barracuda-",
    "x-ironport-",
    "x-mimecast-",
];

/// Whether a header field, by its lower-case name, is one that servers add on the way.
pub fn is_trace_field(name: &[u8]) -> bool {
    TRACE_FIELDS.iter().any(|field| field.as_bytes() == name)
        || TRACE_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}
