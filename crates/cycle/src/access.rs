//! What a cycle signs in with: a password, or an access token that is renewed ahead of its end by one worker at a time.
//! A token that a mail server refuses is renewed once before that counts as refused.

use std::time::Duration;

use mail::Proof;
use mail::oauth::{self, Address, Application, Grant};
use model::credential::{CredentialKind, GrantType};
use model::id::{CredentialId, OrganizationId};
use model::secret::Secret;
use store::change::Author;
use store::mailbox::MailboxForCycle;
use store::oauth::{NewTokens, OpenedApplication, Tokens};
use store::seal::KeyRing;
use store::{Store, credential};
use tokio::time::{Instant, sleep};

use crate::Mail;

/// How long one worker has to renew a token: longer than the token server may take, and time to write it down.
const TURN: Duration = Duration::from_secs(60);
/// How long the others wait for it before they leave it for later.
const WAIT: Duration = Duration::from_secs(20);
/// How often they look.
const LOOK: Duration = Duration::from_millis(200);
/// How long nobody asks a token server that could not be asked, unless it said how long itself.
const PAUSE: Duration = Duration::from_secs(30);

/// Where credentials are opened and tokens come from.
#[derive(Clone, Copy)]
pub struct Keeper<'a> {
    /// The database.
    pub store: &'a Store,
    /// What secrets are opened with.
    pub keys: &'a KeyRing,
    /// How token servers are reached.
    pub mail: &'a Mail,
    /// Whose credentials.
    pub organization: OrganizationId,
}

/// What to sign in with.
#[derive(Clone)]
pub struct Access {
    /// The login name.
    pub login: String,
    secret: Secret,
    /// Of a token which one it is.
    generation: Option<i64>,
}

impl Access {
    /// For a sign-in.
    pub fn proof(&self) -> Proof<'_> {
        match self.generation {
            Some(_) => Proof::Token(&self.secret),
            None => Proof::Password(&self.secret),
        }
    }
}

/// Why there is nothing to sign in with.
#[derive(Debug)]
pub enum NoAccess {
    /// Nothing is stored.
    Missing,
    /// Somebody must consent; the alert is raised.
    ConsentNeeded,
    /// The token server refuses the application; the alert is raised and the profile paused.
    Refused,
    /// The token server cannot be asked, or somebody else is asking: later.
    Later {
        /// How much later.
        pause: Duration,
    },
    /// The database.
    Store(store::Error),
}

impl From<store::Error> for NoAccess {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Keeper<'_> {
    /// What a mailbox signs in with. `refused` is what its server has just refused: a token is renewed then, and a
    /// password is given as it is.
    pub async fn access(
        &self,
        mailbox: &MailboxForCycle,
        refused: Option<&Access>,
        by: &Author,
    ) -> Result<Access, NoAccess> {
        let id = mailbox.credential.ok_or(NoAccess::Missing)?;
        let tenant = self.store.tenant(self.organization).await?;
        let credential = credential::get(&tenant, id).await?.ok_or(NoAccess::Missing)?;
        if credential.kind == CredentialKind::Password {
            let opened = credential::open(&tenant, self.keys, id).await?.ok_or(NoAccess::Missing)?;
            return Ok(Access { login: opened.username, secret: opened.secret, generation: None });
        }
        drop(tenant);
        // An application's own token opens each mailbox by its own login.
        let login = match credential.kind {
            CredentialKind::ClientCredentials => mailbox.incoming_login.clone(),
            _ => credential.username,
        };
        let refused = refused.and_then(|access| access.generation);
        let (secret, generation) = self.token(mailbox, id, refused, by).await?;
        Ok(Access { login, secret, generation: Some(generation) })
    }

    /// Whether another try with a new token may help.
    pub fn may_renew(access: &Access, error: &mail::Error) -> bool {
        access.generation.is_some() && *error.kind() == mail::error::Kind::CredentialsRefused
    }

    async fn token(
        &self,
        mailbox: &MailboxForCycle,
        id: CredentialId,
        refused: Option<i64>,
        by: &Author,
    ) -> Result<(Secret, i64), NoAccess> {
        let until = Instant::now() + WAIT;
        loop {
            let tenant = self.store.tenant(self.organization).await?;
            let tokens = store::oauth::tokens(&tenant, self.keys, id).await?.ok_or(NoAccess::Missing)?;
            if tokens.consent_needed {
                return Err(NoAccess::ConsentNeeded);
            }
            let usable = tokens.access.clone().filter(|_| Some(tokens.generation) != refused);
            if let Some(access) = &usable
                && (!tokens.renew || tokens.held_back.is_some())
            {
                return Ok((access.clone(), tokens.generation));
            }
            if let (None, Some(pause)) = (&usable, tokens.held_back) {
                return Err(NoAccess::Later { pause });
            }
            let ours = store::oauth::take_turn(&tenant, id, tokens.generation, TURN).await?;
            tenant.commit().await?;
            match (ours, usable) {
                (true, usable) => match self.renew(mailbox, id, &tokens, by).await {
                    // What holds is good until it does not.
                    Err(NoAccess::Later { .. }) if usable.is_some() => {}
                    other => return other,
                },
                // Somebody renews it ahead of time: it still holds.
                (false, Some(access)) => return Ok((access, tokens.generation)),
                (false, None) if Instant::now() >= until => return Err(NoAccess::Later { pause: PAUSE }),
                (false, None) => sleep(LOOK).await,
            }
        }
    }

    /// Asks the token server, in our turn, and writes down what it said before anything is done with it.
    async fn renew(
        &self,
        mailbox: &MailboxForCycle,
        id: CredentialId,
        old: &Tokens,
        by: &Author,
    ) -> Result<(Secret, i64), NoAccess> {
        let tenant = self.store.tenant(self.organization).await?;
        let application = store::oauth::opened(&tenant, self.keys, mailbox.profile).await?;
        tenant.commit().await?;
        let application = application.ok_or(NoAccess::Missing)?;
        let grant = match (application.fields.grant, &old.refresh) {
            (GrantType::ClientCredentials, _) => Grant::ClientCredentials,
            (GrantType::AuthorizationCode, Some(refresh)) => Grant::Refresh(refresh),
            (GrantType::AuthorizationCode, None) => {
                return self.consent_is_needed(id, old, "no refresh token", by).await;
            }
        };
        let asked = match known(&application) {
            Ok(application) => self.mail.tokens().token(&application, grant).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(tokens) => self.write(id, old, tokens, by).await,
            Err(oauth::Error::Refused(refusal))
                if refusal.needs_consent() && application.fields.grant == GrantType::AuthorizationCode =>
            {
                self.consent_is_needed(id, old, &refusal.said(), by).await
            }
            Err(oauth::Error::Refused(refusal)) => {
                let (reason, said) = ("it said no", refusal.said());
                self.application_is_refused(id, old, reason, Some(&said), by).await
            }
            Err(oauth::Error::Narrow(missing)) => {
                let reason = format!("it grants less than is asked for, without `{missing}`");
                self.application_is_refused(id, old, &reason, None, by).await
            }
            Err(error) => {
                let pause = match &error {
                    oauth::Error::Unavailable { retry_after: Some(pause), .. } => {
                        (*pause).clamp(Duration::from_secs(1), Duration::from_secs(3600))
                    }
                    _ => PAUSE,
                };
                let reason = error.to_string();
                let tenant = self.store.tenant(self.organization).await?;
                store::oauth::held_back(&tenant, id, old.generation, pause, &reason).await?;
                tenant.commit().await?;
                Err(NoAccess::Later { pause })
            }
        }
    }

    async fn application_is_refused<T>(
        &self,
        id: CredentialId,
        old: &Tokens,
        reason: &str,
        said: Option<&str>,
        by: &Author,
    ) -> Result<T, NoAccess> {
        let tenant = self.store.tenant(self.organization).await?;
        store::oauth::refused(&tenant, id, old.generation, reason, said, by).await?;
        tenant.commit().await?;
        Err(NoAccess::Refused)
    }

    async fn consent_is_needed<T>(
        &self,
        id: CredentialId,
        old: &Tokens,
        said: &str,
        by: &Author,
    ) -> Result<T, NoAccess> {
        let tenant = self.store.tenant(self.organization).await?;
        let needed = store::oauth::needs_consent(&tenant, id, old.generation, said, by).await?;
        tenant.commit().await?;
        // Where somebody consented meanwhile, what they gave is there at the next try.
        Err(if needed { NoAccess::ConsentNeeded } else { NoAccess::Later { pause: Duration::from_secs(1) } })
    }

    /// A server that rotates has forgotten the old refresh token by now: what it gave is written although the database may
    /// be away for a moment. Should the turn end first, the old one is still there, and the server's grace decides.
    async fn write(
        &self,
        id: CredentialId,
        old: &Tokens,
        given: oauth::Tokens,
        by: &Author,
    ) -> Result<(Secret, i64), NoAccess> {
        if given.narrowed.is_some() {
            // It is kept all the same: should it open less than is needed, the mail server says so.
            tracing::warn!(credential.id = %id, "a token was renewed for less than its application asks for");
        }
        let new = new_tokens(given);
        let until = Instant::now() + TURN / 2;
        loop {
            let written = async {
                let tenant = self.store.tenant(self.organization).await?;
                let ours = store::oauth::renewed(&tenant, self.keys, id, old.generation, &new, by).await?;
                tenant.commit().await?;
                Ok(ours)
            };
            match written.await {
                Ok(true) => return Ok((new.access, old.generation + 1)),
                Ok(false) => return Err(NoAccess::Later { pause: Duration::from_secs(1) }),
                Err(store::Error::Away(_)) if Instant::now() < until => sleep(Duration::from_secs(1)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What a token server gave, as the store keeps it.
pub fn new_tokens(given: oauth::Tokens) -> NewTokens {
    NewTokens {
        access: given.access,
        expires_in: given.expires_in,
        refresh: given.refresh,
        refresh_expires_in: given.refresh_expires_in,
    }
}

/// An application as its token server is asked.
pub fn known(application: &OpenedApplication) -> Result<Application, oauth::Error> {
    let fields = &application.fields;
    let address = Address::parse(&fields.token_url);
    Ok(Application {
        token_address: address.map_err(|_| oauth::Error::Unusable("it is no https address"))?,
        client_id: fields.client_id.clone(),
        client_secret: application.secret.clone(),
        scopes: fields.scopes.clone(),
        ca_certificate: application.ca_certificate.clone(),
    })
}
