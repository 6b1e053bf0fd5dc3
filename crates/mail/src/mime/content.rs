//! What a part says about itself: its type, its name, how it is encoded and whether it is to be shown or saved.

use mail_parser::HeaderValue;

use super::decode::Encoding;
use super::fields::Fields;
use super::parameters::parameter;

/// The MIME fields of one part, with what is missing or malformed set right (RFC 2045 section 5.2).
#[derive(Debug)]
pub(crate) struct Content {
    /// `text`, in lower case.
    pub(crate) main: String,
    /// `plain`, in lower case.
    pub(crate) sub: String,
    pub(crate) charset: Option<String>,
    pub(crate) boundary: Option<Vec<u8>>,
    /// The file name, wherever it was put, not yet fit to be shown.
    pub(crate) name: Option<String>,
    pub(crate) flowed: bool,
    pub(crate) delsp: bool,
    /// The method of a calendar part (RFC 6047 section 2.4).
    pub(crate) method: Option<String>,
    /// The Content-ID of the part that a multipart/related begins with (RFC 2387 section 3.2).
    pub(crate) start: Option<String>,
    pub(crate) disposition: Disposition,
    pub(crate) id: Option<String>,
    pub(crate) encoding: Encoding,
}

/// Content-Disposition (RFC 2183). What is neither is to be saved, says its section 2.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    Unsaid,
    Inline,
    Attachment,
}

impl Content {
    /// Reads the fields of a part; `digest` says that it lies in a multipart/digest, whose parts are messages when
    /// they do not say otherwise (RFC 2046 section 5.1.5).
    pub(crate) fn read(fields: &Fields<'_>, digest: bool) -> Self {
        let (main, sub) = if digest { ("message", "rfc822") } else { ("text", "plain") };
        let mut content = Self {
            main: main.into(),
            sub: sub.into(),
            charset: None,
            boundary: None,
            name: None,
            flowed: false,
            delsp: false,
            method: None,
            start: None,
            disposition: Disposition::Unsaid,
            id: fields.ids("content-id").into_iter().next(),
            encoding: match fields.token("content-transfer-encoding").as_deref() {
                Some("base64") => Encoding::Base64,
                Some("quoted-printable") => Encoding::QuotedPrintable,
                _ => Encoding::Identity,
            },
        };
        if let Some(HeaderValue::ContentType(said)) = fields.content("content-type") {
            (content.main, content.sub) = media_type(&said.c_type, said.c_subtype.as_deref());
            let attribute = |name: &str| parameter(&said, name).map(|value| value.trim().to_owned());
            content.charset = attribute("charset");
            content.boundary = attribute("boundary").filter(|text| !text.is_empty()).map(String::into_bytes);
            content.name = attribute("name");
            content.flowed = attribute("format").is_some_and(|format| format.eq_ignore_ascii_case("flowed"));
            content.delsp = attribute("delsp").is_some_and(|delsp| delsp.eq_ignore_ascii_case("yes"));
            content.method = attribute("method").filter(|method| is_token(method));
            content.start = attribute("start").map(|id| id.trim_matches(['<', '>']).to_owned());
        }
        if let Some(HeaderValue::ContentType(said)) = fields.content("content-disposition") {
            content.disposition =
                if said.c_type == "inline" { Disposition::Inline } else { Disposition::Attachment };
            content.name = parameter(&said, "filename").map(str::to_owned).or(content.name);
        }
        content.name = content.name.filter(|name| !name.trim().is_empty());
        content
    }

    pub(crate) fn is(&self, main: &str, sub: &str) -> bool {
        self.main == main && self.sub == sub
    }

    /// The media type to store; a calendar's method says whether it invites or answers, so it stays.
    pub(crate) fn media_type(&self) -> String {
        match &self.method {
            Some(method) if self.is("text", "calendar") => {
                format!("text/calendar; method={}", method.to_ascii_uppercase())
            }
            _ => format!("{}/{}", self.main, self.sub),
        }
    }
}

/// `text` alone is plain text, anything else that is no type is bytes.
fn media_type(main: &str, sub: Option<&str>) -> (String, String) {
    match (main, sub) {
        (main, Some(sub)) if is_token(main) && is_token(sub) => {
            (main.to_ascii_lowercase(), sub.to_ascii_lowercase())
        }
        ("text", _) => ("text".into(), "plain".into()),
        ("html", None) => ("text".into(), "html".into()),
        _ => ("application".into(), "octet-stream".into()),
    }
}

/// A restricted name of RFC 6838 section 4.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !text.is_empty() && text.len() <= 127 && text.bytes().all(allowed)
}
