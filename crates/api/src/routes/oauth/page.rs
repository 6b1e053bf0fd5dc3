//! The one page that people see of the API: what came of their consent. It works without scripts, loads nothing, and shows
//! strangers' words escaped.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mail::error::printable;
use sha2::{Digest as _, Sha256};

/// What a page says.
pub(super) struct Page {
    status: StatusCode,
    title: String,
    text: String,
    said: Option<String>,
}

impl Page {
    pub(super) fn done(username: &str) -> Self {
        Self {
            status: StatusCode::OK,
            title: "The mailbox is connected".to_owned(),
            text: format!(
                "Lockstep may now read and send mail as {username}. It goes on by itself; you can close this page. To take \
                 the consent back, remove the application in your account's settings at the provider."
            ),
            said: None,
        }
    }

    pub(super) fn failed(title: &str, remedy: &str, said: Option<String>) -> Self {
        let said = said.map(|said| printable(said.as_bytes())).filter(|said| !said.is_empty());
        Self { status: StatusCode::BAD_REQUEST, title: title.to_owned(), text: remedy.to_owned(), said }
    }

    /// A state that is none of ours, or was used.
    pub(super) fn unknown() -> Self {
        Self::failed(
            "This link does not hold",
            "It was used already, is older than an hour, or another one took its place. Ask for a new link and open that \
             one.",
            None,
        )
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;font:17px/1.5 system-ui,sans-serif}\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:Canvas;color:CanvasText}\
main{max-width:34rem;padding:2rem}\
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}\
p{margin:0 0 1rem}\
blockquote{margin:0;padding:.75rem 1rem;border-left:.25rem solid GrayText;overflow-wrap:anywhere}\
small{color:GrayText}";

/// The page with the headers that keep it to itself.
pub(super) fn page(page: &Page) -> Response {
    let said = page.said.as_ref().map_or(String::new(), |said| {
        format!("<p><small>The provider's words:</small></p><blockquote>{}</blockquote>", escaped(said))
    });
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title} – Lockstep</title><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1><p>{text}</p>{said}</main></body></html>",
        title = escaped(&page.title),
        text = escaped(&page.text),
    );
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = (page.status, Html(html)).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    // The address of this page has the code in it.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_providers_words_are_shown_and_do_nothing() {
        let hostile = "<script>alert(1)</script>\u{202e}\" onload='x'";
        let response = page(&Page::failed("No", "Do this.", Some(hostile.to_owned())));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39;"), "{body}");
        assert!(!body.contains("<script") && body.contains("Do this."), "{body}");
    }
}
