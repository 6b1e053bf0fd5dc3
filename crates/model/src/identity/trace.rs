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

/// A header as its sender wrote it: without the fields that servers added on the way to one mailbox, and without Bcc, which
/// names whom nobody else may see.
pub fn without_trace(header: &[u8]) -> Vec<u8> {
    let (mut kept, mut keeps) = (Vec::with_capacity(header.len()), true);
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let continues = line.starts_with(b" ") || line.starts_with(b"\t");
        if !continues {
            let name =
                line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
            keeps = !is_trace_field(&name) && name != b"bcc" && name != b"resent-bcc";
        }
        if keeps {
            kept.extend_from_slice(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_one_mailbox_goes_with_all_of_its_lines_and_the_rest_stays_as_it_was() {
        let header = b"Return-Path: <x@y>\r\nDelivered-To: bob@example.org\r\nReceived: from a\r\n\tfor <bob@example.org>\r\n\
            From: a@b\r\nSubject: long\r\n and folded\r\nBCC: bob@example.org,\r\n carl@example.org\r\nTo: c@d\r\n\r\n";
        let kept = without_trace(header);
        assert_eq!(kept, b"From: a@b\r\nSubject: long\r\n and folded\r\nTo: c@d\r\n\r\n");
        assert!(without_trace(b"").is_empty());
    }
}
