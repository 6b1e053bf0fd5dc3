//! A browser as small as consent needs it: cookies, redirects, and forms that are sent off as a person would. It knows the
//! forms of the token server that the tests run, and nothing of Lockstep.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Certificate, Client, Url, redirect};

/// Where a person ended up.
#[derive(Clone, Debug)]
pub struct Landing {
    /// The address that was opened last.
    pub url: Url,
    /// The HTTP status there.
    pub status: u16,
    /// What the page's policy says.
    pub policy: String,
    /// The page.
    pub html: String,
}

/// Opens the link, signs in as `login` and consents to whatever is asked, or refuses it, until it is led to an address
/// that begins with `back`, and opens that.
///
/// # Panics
/// When a server does not answer, or it goes nowhere.
pub async fn consent(link: &str, ca_pem: &str, login: &str, back: &str) -> Landing {
    let authority = Certificate::from_pem(ca_pem.as_bytes()).expect("an authority");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .tls_certs_merge([authority])
        .build()
        .expect("a client");
    let mut cookies: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut next = (Url::parse(link).expect("a link"), None);
    for _ in 0..20 {
        let (url, form): (Url, Option<String>) = next;
        let sent: Vec<String> = cookies
            .iter()
            .filter(|((_, path), _)| url.path().starts_with(path.as_str()))
            .map(|((name, _), value)| format!("{name}={value}"))
            .collect();
        let request = match &form {
            Some(form) => client
                .post(url.clone())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.clone()),
            None => client.get(url.clone()),
        };
        let home = url.as_str().starts_with(back);
        let request = if home { request } else { request.header(COOKIE, sent.join("; ")) };
        let answer = request.send().await.expect("an answer");
        for cookie in answer.headers().get_all(SET_COOKIE) {
            keep(&mut cookies, cookie.to_str().unwrap_or_default());
        }
        if let Some(location) = answer.headers().get(LOCATION).filter(|_| !home) {
            let location = location.to_str().expect("an address");
            next = (url.join(location).expect("an address"), None);
            continue;
        }
        let status = answer.status().as_u16();
        let header = answer.headers().get("content-security-policy");
        let policy = header.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let html = answer.text().await.expect("a page");
        let action = html.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
        match action {
            Some(action) if !home && status == 200 => {
                let form = if html.contains("name=\"login\"") {
                    format!("prompt=login&login={}&password=x", login.replace('@', "%40"))
                } else {
                    "prompt=consent".to_owned()
                };
                next = (url.join(action).expect("an address"), Some(form));
            }
            _ => return Landing { url, status, policy, html },
        }
    }
    panic!("the link {link} leads round and round");
}

fn keep(cookies: &mut BTreeMap<(String, String), String>, cookie: &str) {
    let mut parts = cookie.split("; ");
    let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
    let path = parts.find_map(|part| part.strip_prefix("path=")).unwrap_or("/");
    let key = (name.to_owned(), path.to_owned());
    if value.is_empty() {
        cookies.remove(&key)
    } else {
        cookies.insert(key, value.to_owned())
    };
}
