//! A private token server: `oidc-provider`, which nobody here wrote, on Node.js. It rotates refresh tokens, and a reused
//! one ends the grant. The mail servers ask it about the tokens that they are shown.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Certificates;
use crate::error::require;
use crate::supervised::{Kind, Supervised};
use crate::{Error, or_panic, ports};

const KIND: Kind =
    Kind { name: "the token server", slug: "tokens", stop: "TERM", end: "KILL", grace_seconds: 5 };
const NODE: &str = "/usr/bin/node";
/// Where `setup.sh` puts what `package-lock.json` pins.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.data/token-server/node_modules");
/// With what Dovecot asks about a token.
const MAIL_SERVER: (&str, &str) = ("mail-server", "only-the-mail-server-knows-this");

/// An application that the token server knows.
#[derive(Clone, Debug)]
pub struct TokenClient {
    /// Its name towards the token server.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Where consent leads back to; none: it has tokens of its own (client credentials).
    pub redirect: Option<String>,
    /// The domain whose mailboxes an application's own token opens.
    pub domain: String,
}

/// A running token server on 127.0.0.1, ended when dropped. Anybody signs in with any password: the account is the
/// address that was typed.
pub struct TokenServer {
    server: Supervised,
    /// HTTPS, with the mail servers' certificate.
    pub port: u16,
    pub(super) introspection_port: u16,
}

impl TokenServer {
    pub(super) async fn try_start(
        certificates: &Certificates,
        clients: &[TokenClient],
        access_token_seconds: u32,
    ) -> Result<Self, Error> {
        require(NODE, "nodejs")?;
        require(&format!("{MODULES}/oidc-provider/package.json"), "npm")?;
        let server = Supervised::new(&KIND)?;
        let configure = || {
            let [port, introspection_port] = ports::free()?;
            let clients = clients.iter().map(described).collect::<Vec<_>>().join(",");
            let (id, secret) = MAIL_SERVER;
            let settings = format!(
                r#"{{"modules":"{MODULES}","issuer":"https://127.0.0.1:{port}","port":{port},
                "introspectionPort":{introspection_port},"accessTokenSeconds":{access_token_seconds},"clients":[{clients},
                {{"client_id":"{id}","client_secret":"{secret}","redirect_uris":[],"response_types":[],
                "grant_types":["client_credentials"],"token_endpoint_auth_method":"client_secret_basic"}}]}}"#
            );
            server.write("settings.json", &settings)?;
            server.write("server.mjs", include_str!("../../token-server/server.mjs"))?;
            server.write("certificate.pem", &certificates.certificate)?;
            server.write("key.pem", &certificates.key)?;
            server.write("run", &format!("exec {NODE} server.mjs settings.json\n"))?;
            Ok((port, introspection_port))
        };
        let answers = async |ports: &(u16, u16)| {
            let counts = ask(ports.1, "/control/counts").await;
            counts.is_some() && TcpStream::connect(("127.0.0.1", ports.0)).await.is_ok()
        };
        let (port, introspection_port) = server.first_start(configure, answers).await?;
        Ok(Self { server, port, introspection_port })
    }

    /// Where consent is asked for.
    pub fn authorize_url(&self) -> String {
        format!("https://127.0.0.1:{}/auth", self.port)
    }

    /// Where tokens are given out.
    pub fn token_url(&self) -> String {
        format!("https://127.0.0.1:{}/token", self.port)
    }

    /// Where Dovecot asks about a token.
    pub(super) fn introspection_url(&self) -> String {
        let (id, secret) = MAIL_SERVER;
        format!("http://{id}:{secret}@127.0.0.1:{}/token/introspection", self.introspection_port)
    }

    /// Its directory, with its `log`.
    pub fn directory(&self) -> &Path {
        self.server.directory()
    }

    /// How often it was asked for a token, and how often it gave one.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn counts(&self) -> (u64, u64) {
        let answer = self.control("/control/counts").await;
        let number = |name: &str| {
            let (_, rest) = answer.split_once(&format!("\"{name}\":")).expect("a count");
            rest.split([',', '}']).next().and_then(|digits| digits.parse().ok()).expect("a number")
        };
        (number("token"), number("granted"))
    }

    /// The access tokens of an account hold no longer; its grants stand.
    pub async fn forget_access_tokens(&self, account: &str) {
        self.control(&format!("/control/forget-access-tokens?account={account}")).await;
    }

    /// Takes back everything that an account has granted.
    pub async fn revoke(&self, account: &str) {
        self.control(&format!("/control/revoke?account={account}")).await;
    }

    /// Takes so many milliseconds over each token from now on.
    pub async fn delay(&self, millis: u32) {
        self.control(&format!("/control/delay?millis={millis}")).await;
    }

    /// Ends it; connections are refused until the start.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    async fn control(&self, path: &str) -> String {
        or_panic("cannot ask the token server", ask(self.introspection_port, path).await.ok_or("no answer"))
    }
}

/// A client as the settings name it.
fn described(client: &TokenClient) -> String {
    let TokenClient { id, secret, redirect, domain } = client;
    let common = format!(
        r#""client_id":"{id}","client_name":"{domain}","client_secret":"{secret}","token_endpoint_auth_method":"client_secret_post""#
    );
    match redirect {
        Some(redirect) => format!(
            r#"{{{common},"redirect_uris":["{redirect}"],"response_types":["code"],"scope":"openid offline_access mail",
            "grant_types":["authorization_code","refresh_token"],"application_type":"native"}}"#
        ),
        None => format!(
            r#"{{{common},"redirect_uris":[],"response_types":[],"scope":"mail","grant_types":["client_credentials"]}}"#
        ),
    }
}

/// The body of a GET; `None` when there is no answer yet.
async fn ask(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}
