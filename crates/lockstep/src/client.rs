//! The client of the REST API, for the administrator's commands. It knows addresses, keys and problem details; it must
//! never know what a noun means, and never print a key.

mod record;
mod resolve;
mod trouble;

use std::path::Path;
use std::time::Duration;

use model::secret::{ExposeSecret as _, Secret};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

pub use record::Record;
pub use resolve::Noun;

use crate::command::Failure;
use crate::config;

/// Items of a page at most, as the API has it.
const PAGE: usize = 200;

/// The API as one key sees it.
#[derive(Debug)]
pub struct Api {
    http: Client,
    base: Url,
    key: Secret,
}

/// A query string's names and values.
pub type Query<'a> = &'a [(&'a str, String)];

impl Api {
    /// Prepares to call the API; nothing is connected yet.
    pub fn open(config: &config::Client) -> Result<Self, Failure> {
        let base = base(&config.url)?;
        if config.key.expose_secret().is_empty() {
            return Err(trouble::no_key());
        }
        let mut http = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")));
        if base.host_str().is_some_and(is_loopback) {
            http = http.no_proxy();
        }
        if !config.ca_file.is_empty() {
            http = http.tls_certs_merge(authorities(&config.ca_file)?);
        }
        let http = http.build().map_err(|error| trouble::unusable(&base, &error))?;
        Ok(Self { http, base, key: config.key.clone() })
    }

    /// Reads something.
    pub async fn get(&self, path: &[&str], query: Query<'_>) -> Result<Value, Failure> {
        self.answered(self.request(Method::GET, path)?.query(query)).await
    }

    /// Makes something, or asks for something to happen; null is no body.
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path)?;
        self.answered(if body.is_null() { request } else { request.json(body) }).await
    }

    /// Changes a record; `version` is the one that was read, so that nobody else's change is overwritten. Without one the
    /// record is read here.
    pub async fn patch(&self, path: &[&str], version: Option<i64>, body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::PATCH, path)?.json(body);
        self.answered(self.matching(request, path, version).await?).await
    }

    /// Puts a new value in a record's place, as it is at this moment.
    pub async fn replace(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::PUT, path)?.json(body);
        self.answered(self.matching(request, path, None).await?).await
    }

    /// Removes a record as it was read; somebody's change since then is refused.
    pub async fn remove_at(&self, path: &[&str], version: i64) -> Result<Value, Failure> {
        let request = self.request(Method::DELETE, path)?;
        self.answered(self.matching(request, path, Some(version)).await?).await
    }

    /// Removes a record, as it is at this moment.
    pub async fn remove(&self, path: &[&str]) -> Result<Value, Failure> {
        let request = self.request(Method::DELETE, path)?;
        self.answered(self.matching(request, path, None).await?).await
    }

    /// Makes a request conditional on the version of the record that was read.
    async fn matching(
        &self,
        request: RequestBuilder,
        path: &[&str],
        version: Option<i64>,
    ) -> Result<RequestBuilder, Failure> {
        let version = match version {
            Some(version) => version,
            None => Record(&self.get(path, &[]).await?).number("version"),
        };
        Ok(request.header(IF_MATCH, format!("\"{version}\"")))
    }

    /// Puts something in its place that has no version.
    pub async fn put(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.answered(self.request(Method::PUT, path)?.json(body)).await
    }

    /// Removes something that has no version.
    pub async fn delete(&self, path: &[&str]) -> Result<Value, Failure> {
        self.answered(self.request(Method::DELETE, path)?).await
    }

    /// Up to `limit` items of a list, over as many pages as that takes, in the shape of one page; all without a limit.
    pub async fn list(
        &self,
        path: &[&str],
        query: Query<'_>,
        limit: Option<usize>,
    ) -> Result<Value, Failure> {
        let mut items: Vec<Value> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let wanted = limit.map_or(PAGE, |limit| limit.saturating_sub(items.len()).clamp(1, PAGE));
            let mut query = query.to_vec();
            query.push(("limit", wanted.to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || limit.is_some_and(|limit| items.len() >= limit) {
                page["items"] = Value::Array(items);
                return Ok(page);
            }
        }
    }

    /// Sends a file as it is, without holding it in memory.
    pub async fn upload(
        &self,
        path: &[&str],
        query: Query<'_>,
        file: &Path,
        kind: &str,
    ) -> Result<Value, Failure> {
        let unreadable = |error| trouble::file(file, "read", &error);
        let content = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let size = content.metadata().await.map_err(unreadable)?.len();
        let request = self
            .request(Method::POST, path)?
            .query(query)
            .header(CONTENT_LENGTH, size)
            .header(CONTENT_TYPE, kind)
            .body(content);
        self.answered(request).await
    }

    /// Writes what comes to `into`, piece by piece.
    pub async fn download<W>(&self, path: &[&str], into: &mut W) -> Result<(), Failure>
    where
        W: tokio::io::AsyncWrite + Unpin,
    {
        let mut response = self.sent(self.request(Method::GET, path)?).await?;
        while let Some(piece) =
            response.chunk().await.map_err(|error| trouble::unreachable(&self.base, &error))?
        {
            into.write_all(&piece).await.map_err(|error| trouble::unwritable(&error))?;
        }
        into.flush().await.map_err(|error| trouble::unwritable(&error))
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::Bug("the API's address takes no path"))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        Ok(self.http.request(method, url).bearer_auth(self.key.expose_secret()))
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| trouble::unreachable(&self.base, &error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(trouble::answered(&self.base, response).await)
        }
    }

    async fn answered(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = self.sent(request).await?;
        let body = response.bytes().await.map_err(|error| trouble::unreachable(&self.base, &error))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| trouble::not_the_api(&self.base, "its answer is no JSON"))
    }
}

fn base(url: &str) -> Result<Url, config::Problem> {
    let problem = |wrong: String| {
        config::Problem::new(
            "client.url",
            wrong,
            "give the address of the API, such as https://lockstep.example.com:8080",
        )
    };
    let parsed = Url::parse(url).map_err(|error| problem(format!("`{url}` is no address: {error}")))?;
    match parsed.scheme() {
        "https" => Ok(parsed),
        // The key is as good as a password.
        "http" if parsed.host_str().is_some_and(is_loopback) => Ok(parsed),
        "http" => Err(problem(format!("`{url}` would carry the API key over the network without TLS"))),
        other => Err(problem(format!("`{other}` is neither http nor https"))),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn authorities(file: &str) -> Result<Vec<reqwest::Certificate>, config::Problem> {
    let problem = |wrong: String| {
        config::Problem::new(
            "client.ca_file",
            wrong,
            "give a PEM file with the authority of the API's certificate, or leave it empty",
        )
    };
    let pem =
        std::fs::read(file).map_err(|error| problem(format!("the file {file} cannot be read: {error}")))?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(problem(format!("the file {file} holds no certificate"))),
    }
}
