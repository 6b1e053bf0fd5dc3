//! AUTH PLAIN (RFC 4954, RFC 4616) and, where only that is offered, AUTH LOGIN; with an access token OAUTHBEARER or
//! XOAUTH2. Never outside TLS; what was sent is wiped and appears in no error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::secret::{ExposeSecret as _, Secret};
use zeroize::Zeroizing;

use super::Session;
use super::reply::{Class, Reply};
use crate::error::{Error, Kind, Phase};
use crate::sasl::{self, Mechanism, Proof};

impl Session {
    /// Signs in with the best mechanism that both sides know.
    pub(super) async fn sign_in(&mut self, login: &str, proof: Proof<'_>) -> Result<(), Error> {
        let wire = self.open_wire()?;
        wire.begin(Phase::SignIn);
        if !wire.is_private() {
            let error = wire.error(Kind::TlsNotOffered);
            return Err(self.lost(error));
        }
        self.hear_nothing().await?;
        let password = match proof {
            Proof::Password(password) => password,
            Proof::Token(token) => return self.auth_token(login, token).await,
        };
        if self.capabilities.auth_plain {
            self.auth_plain(login, password).await
        } else if self.capabilities.auth_login {
            self.auth_login(login, password).await
        } else {
            let error = self.open_wire()?.error(Kind::Unsupported("AUTH PLAIN or AUTH LOGIN"));
            let offered = self.capabilities.mechanisms.join(" ");
            Err(self.lost(error.with_said(offered)))
        }
    }

    async fn auth_plain(&mut self, login: &str, password: &Secret) -> Result<(), Error> {
        let response = encoded(&Zeroizing::new(format!("\0{login}\0{}", password.expose_secret())));
        let mut reply = self.secret_line("AUTH PLAIN ", &response).await?;
        // A server that overlooks the initial response asks for it again (RFC 4954 section 4).
        if reply.code() == 334 {
            reply = self.secret_line("", &response).await?;
        }
        self.judge(&reply, &[&response, password.expose_secret()])
    }

    async fn auth_login(&mut self, login: &str, password: &Secret) -> Result<(), Error> {
        let response = encoded(password.expose_secret());
        let mut reply = self.command("AUTH LOGIN").await?;
        for line in [&encoded(login), &response] {
            if reply.code() != 334 {
                break;
            }
            reply = self.secret_line("", line).await?;
        }
        self.judge(&reply, &[&response, password.expose_secret()])
    }

    /// The response with the command (RFC 4954 section 4), or again when the server overlooks it there; and to a
    /// challenge that explains a refusal the word that ends it.
    async fn auth_token(&mut self, login: &str, token: &Secret) -> Result<(), Error> {
        let offers = |name: &str| self.capabilities.mechanisms.iter().any(|offered| offered == name);
        let Some(mechanism) = Mechanism::offered(offers) else {
            let error = self.open_wire()?.error(Kind::Unsupported(Mechanism::WANTED));
            let offered = self.capabilities.mechanisms.join(" ");
            return Err(self.lost(error.with_said(offered)));
        };
        let response = mechanism.response(login, token, self.open_wire()?.endpoint());
        let mut reply = self.secret_line(&format!("AUTH {} ", mechanism.name()), &response).await?;
        if reply.code() == 334 && reply.text().trim().is_empty() {
            reply = self.secret_line("", &response).await?;
        }
        let mut explained = None;
        if reply.code() == 334 {
            explained =
                Some(sasl::challenge(reply.text().as_bytes()).unwrap_or_else(|| "refused".to_owned()));
            reply = self.secret_line("", mechanism.surrender()).await?;
        }
        let secrets = [response.as_str(), token.expose_secret()];
        let Err(mut error) = self.judge(&reply, &secrets) else { return Ok(()) };
        if let Some(status) = explained
            && let Some(said) = error.said()
            && !status.contains(token.expose_secret())
        {
            // The server has looked at the token and says what is wrong with it.
            let said = format!("{said} ({status})");
            error = error.with_said(said);
        }
        Err(error)
    }

    async fn secret_line(&mut self, command: &str, secret: &str) -> Result<Reply, Error> {
        let line = Zeroizing::new(format!("{command}{secret}\r\n"));
        self.say(line.as_bytes()).await?;
        // A violation keeps what the server said, and an odd server may say back what it was given.
        self.reply().await.map_err(Error::without_said)
    }

    fn judge(&mut self, reply: &Reply, secrets: &[&str]) -> Result<(), Error> {
        if reply.code() == 235 {
            return Ok(());
        }
        let error = match verdict(reply) {
            Some(kind) => self.failed(kind, reply),
            None => self.refused(reply),
        };
        let echoes = secrets.iter().any(|secret| !secret.is_empty() && reply.text().contains(secret));
        Err(if echoes { error.without_said() } else { error })
    }
}

/// NUL separates the parts of SASL PLAIN (RFC 4616 section 2): found out before anything is opened.
pub(super) fn speakable(login: &str, password: &Secret) -> Result<(), Error> {
    if login.is_empty() || login.contains('\0') {
        return Err(Error::new(
            Phase::SignIn,
            Kind::Unspeakable("the user name is empty or has a NUL in it"),
        ));
    }
    if password.expose_secret().contains('\0') {
        return Err(Error::new(Phase::SignIn, Kind::Unspeakable("the password has a NUL in it")));
    }
    Ok(())
}

fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(text.as_bytes()))
}

/// Whose fault a refused sign-in is. The credentials': 535, 534 (another kind of password is wanted), 530, 538 (RFC 4954
/// section 6) and 525 (account disabled, RFC 5248 registry), or an enhanced code that says so. Everything else is the server's word.
/// Some servers take AUTH and say it at MAIL.
pub(super) fn verdict(reply: &Reply) -> Option<Kind> {
    let about_credentials = reply
        .enhanced()
        .is_some_and(|code| code.class == 5 && code.subject == 7 && matches!(code.detail, 8 | 9 | 13));
    let permanent = reply.class() == Class::Permanent;
    (permanent && (about_credentials || matches!(reply.code(), 525 | 530 | 534 | 535 | 538)))
        .then_some(Kind::CredentialsRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_password_is_told_from_a_server_in_trouble() {
        let verdict = |text: &str| verdict(&Reply::parse(text).unwrap().unwrap());
        for wrong in [
            "535 5.7.8 Error: authentication failed",
            "535 Incorrect authentication data",
            "534 5.7.9 Application-specific password required",
            "530 5.7.57 Client not authenticated",
            "525 5.7.13 account disabled",
            "550 5.7.8 no",
        ] {
            assert_eq!(verdict(wrong), Some(Kind::CredentialsRefused), "{wrong}");
        }
        for other in [
            "454 4.7.0 Temporary authentication failure",
            "432 4.7.12 x",
            "421 4.3.0 bye",
            "504 5.5.4 mechanism",
            "501 5.5.2 x",
        ] {
            assert_eq!(verdict(other), None, "{other}");
        }
    }
}
