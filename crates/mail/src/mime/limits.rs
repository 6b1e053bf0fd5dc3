//! How much of a message is looked at, so that no message costs more than its size allows.

/// The bounds of parsing. What lies beyond one is left out with a warning and remains in the raw message.
///
/// They guard against hostile mail and are no matter of taste, so they are no configuration: `default` is what every
/// installation uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep parts may lie within parts.
    pub part_depth: usize,
    /// How many parts are read.
    pub parts: usize,
    /// How many header fields are read, of the message and of each part.
    pub headers: usize,
    /// How long a header field may be, in bytes.
    pub header_bytes: usize,
    /// How long a header field with addresses may be, in bytes.
    pub address_header_bytes: usize,
    /// How long one text from a header may be after decoding, in bytes: a subject, a name, an id.
    pub header_text_bytes: usize,
    /// How many addresses are read, over all headers.
    pub parties: usize,
    /// How many ids of References are read; the youngest are kept.
    pub references: usize,
    /// How long the text body and the HTML body may be, in bytes each.
    pub body_bytes: usize,
    /// How much HTML is turned into text when no text was sent, in bytes.
    pub html_to_text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            part_depth: 32,
            parts: 1_000,
            headers: 1_000,
            header_bytes: 64 * 1024,
            address_header_bytes: 1024 * 1024,
            header_text_bytes: 4 * 1024,
            parties: 20_000,
            references: 100,
            body_bytes: 2 * 1024 * 1024,
            html_to_text_bytes: 1024 * 1024,
        }
    }
}
