//! What most tests begin with: an installation with one organization, one profile and people on it.

use lockstep_tests::{Api, Installation, MailProfile, Mailbox, Process, until};
use serde_json::json;

/// An installation with an organization; its processes are whichever the test starts.
pub(crate) struct House {
    pub(crate) installation: Installation,
    pub(crate) api: Api,
    pub(crate) profile: String,
    /// Addresses that no other test has.
    pub(crate) domain: String,
}

/// The password of everyone.
pub(crate) const PASSWORD: &str = "Tr4umhaft, geheim";

impl House {
    /// Everything in one process, and the mail servers as profile.
    pub(crate) async fn whole() -> (Self, Process) {
        let installation = Installation::new().await;
        let process = installation.start_all().await;
        let profile = MailProfile::of(&installation.servers.mail);
        (Self::furnish(installation, &profile).await, process)
    }

    /// An organization and a profile; the API must be there already.
    pub(crate) async fn furnish(installation: Installation, profile: &MailProfile) -> Self {
        let api = installation.organization("Example").await;
        let profile = api.profile(profile).await;
        let domain = format!("{}.example", &installation.virtual_host[..12]);
        Self { installation, api, profile, domain }
    }

    pub(crate) fn address(&self, name: &str) -> String {
        format!("{name}@{}", self.domain)
    }

    /// A person with an approved mailbox here and on the mail server.
    pub(crate) async fn person(&self, name: &str) -> Mailbox {
        let address = self.address(name);
        self.installation.servers.mail.add_mailbox(&address, PASSWORD);
        let owner = self.api.user(&address).await;
        self.api.mailbox(&self.profile, owner, &address, PASSWORD).await
    }

    /// A queue whose mailbox is tested and enabled, and whose messages are deleted on the server once they are recorded.
    pub(crate) async fn deleting_queue(&self, name: &str) -> Mailbox {
        let address = self.address(name);
        self.installation.servers.mail.add_mailbox(&address, PASSWORD);
        let owner = self.api.queue(&address).await;
        let mailbox = self.api.mailbox(&self.profile, owner, &address, PASSWORD).await;
        self.api
            .patch(&format!("/mailboxes/{}", mailbox.id), &json!({"delete_after_processing": true}))
            .await;
        self.api.enable(&mailbox).await;
        mailbox
    }

    /// A person whose mailbox is tested and enabled, and whose first cycle is over.
    pub(crate) async fn enabled(&self, name: &str) -> Mailbox {
        let mailbox = self.person(name).await;
        self.api.enable(&mailbox).await;
        mailbox
    }

    /// Puts a message into a mailbox on the server.
    pub(crate) fn deliver(&self, mailbox: &Mailbox, subject: &str, filling: usize) {
        let message = message(&self.address("sender"), &mailbox.address, subject, filling);
        self.installation.servers.mail.deliver(&mailbox.address, message.as_bytes());
    }

    /// Waits until the mailbox has this many receipts.
    pub(crate) async fn received(&self, mailbox: &Mailbox, count: i64) {
        until(&format!("{count} messages are received"), async || {
            let found = self.receipts(mailbox).await;
            if found == count { Ok(()) } else { Err(format!("{found} are")) }
        })
        .await;
    }

    pub(crate) async fn receipts(&self, mailbox: &Mailbox) -> i64 {
        self.installation
            .count(&format!("select count(*) from receipts where mailbox_id = '{}'", mailbox.id))
            .await
    }

    /// A column of the mailbox's row in the ring, as text.
    pub(crate) async fn schedule(&self, mailbox: &Mailbox, workload: &str, column: &str) -> String {
        let statement = format!(
            "select coalesce({column}::text, '') from schedules where mailbox_id = '{}' and workload = '{workload}'",
            mailbox.id
        );
        self.installation.sql().await.query_one(&statement, &[]).await.expect("a row in the ring").get(0)
    }

    /// Waits until a column of the mailbox's row in the ring has this value.
    pub(crate) async fn scheduled(&self, mailbox: &Mailbox, workload: &str, column: &str, value: &str) {
        until(&format!("{workload}'s {column} is {value}"), async || {
            let found = self.schedule(mailbox, workload, column).await;
            if found == value { Ok(()) } else { Err(format!("it is {found}")) }
        })
        .await;
    }

    /// A draft from one person to addresses.
    pub(crate) async fn draft(&self, from: &Mailbox, to: &str, subject: &str) -> String {
        let draft = json!({"from": from.id, "to": [{"address": to}], "subject": subject, "text": "Hello.\n"});
        self.api.post("/emails", &draft).await.id()
    }

    /// Waits until the mail server has this many messages for the address.
    pub(crate) async fn arrived(&self, address: &str, count: usize) -> Vec<String> {
        until(&format!("{count} messages arrive"), async || {
            let messages = self.installation.servers.mail.messages(address);
            if messages.len() < count {
                return Err(format!("{} have", messages.len()));
            }
            Ok(messages.iter().map(|raw| String::from_utf8_lossy(raw).into_owned()).collect())
        })
        .await
    }
}

/// A message with a Message-ID of its own and `filling` bytes more of text.
pub(crate) fn message(from: &str, to: &str, subject: &str, filling: usize) -> String {
    let line = "All work and no play makes Jack a dull boy, says the proverb.\r\n";
    let text: String = line.repeat(filling.div_ceil(line.len()));
    let id = model::clock::new_id::<uuid::Uuid>();
    format!(
        "From: Sender <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{id}@sender.example>\r\n\
         Date: Tue, 03 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello.\r\n{text}"
    )
}
