//! A client of the REST API, as a host application is one.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// Access to the API of one installation with one key.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    key: String,
    /// The organization that the key belongs to.
    pub organization: String,
}

/// What the API answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The JSON of the body; a string when it is none, null when there is no body.
    pub body: Value,
}

impl Answer {
    /// The id of what was created.
    ///
    /// # Panics
    /// When there is none.
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.body)).to_owned()
    }
}

impl Api {
    /// Access to the API at `url` with a key.
    pub fn new(url: &str, key: &str, organization: &str) -> Self {
        let (base, organization) = (format!("{url}/api/v1"), organization.to_owned());
        Self { client: Self::client(), base, key: key.to_owned(), organization }
    }

    /// The key, for the same organization elsewhere.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same API with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// A client that speaks HTTP with anyone.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn client() -> Client {
        // The first wins; they are all the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder().timeout(Duration::from_secs(60)).build().expect("an HTTP client")
    }

    /// Asks, and gives whatever was answered.
    ///
    /// # Panics
    /// When the API does not answer.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request =
            self.client.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(&self.key);
        if matches!(method, Method::PUT | Method::PATCH | Method::DELETE) {
            request = request.header("if-match", "*");
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        match Self::answer(request).await {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    /// Reads what the API says, as JSON.
    ///
    /// # Panics
    /// When it refuses.
    pub async fn get(&self, path: &str) -> Value {
        self.done(Method::GET, path, None).await.body
    }

    /// Every item of a list, over all of its pages.
    ///
    /// # Panics
    /// When it refuses.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), None);
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let from = cursor.map(|cursor: String| format!("&cursor={cursor}")).unwrap_or_default();
            let page = self.get(&format!("{path}{separator}limit=200{from}")).await;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return items,
            }
        }
    }

    /// Creates or does something.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.done(Method::POST, path, Some(body)).await
    }

    /// Creates or does something once, however often it is asked with the same key: for asking an API that may be away.
    pub async fn try_post(&self, path: &str, body: &Value, key: &str) -> Result<Answer, reqwest::Error> {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.key);
        Self::answer(request.header("idempotency-key", key).json(body)).await
    }

    /// Puts something in its place.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.done(Method::PUT, path, Some(body)).await
    }

    /// Changes something.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.done(Method::PATCH, path, Some(body)).await
    }

    /// Sends bytes as they are, and gives whatever was answered.
    ///
    /// # Panics
    /// When the API does not answer.
    pub async fn upload(&self, path: &str, content_type: &str, bytes: Vec<u8>) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.key);
        match Self::answer(request.header("content-type", content_type).body(bytes)).await {
            Ok(answer) => answer,
            Err(error) => panic!("POST {path}: {error}"),
        }
    }

    /// Reads bytes as they are.
    ///
    /// # Panics
    /// When the API does not answer or refuses.
    pub async fn download(&self, path: &str) -> Vec<u8> {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.key);
        let answer = request.send().await.and_then(reqwest::Response::error_for_status);
        answer.expect("a download").bytes().await.expect("a whole download").to_vec()
    }

    async fn done(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.ask(method.clone(), path, body).await;
        assert!(answer.status.is_success(), "{method} {path} answered {}: {:#}", answer.status, answer.body);
        answer
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Ok(Answer { status, body })
    }
}
