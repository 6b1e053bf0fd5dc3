//! `DavMail` reads mail through the simulator, by POP3 and by IMAP, and sends by SMTP: it is strict where others are not.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use exchange::{Exchange, Options};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

const DAVMAIL: &str = "/usr/share/davmail/davmail.jar";
/// What no line of a conversation takes longer than; a Java machine on a busy computer is slow to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `DavMail`; gone with its folder when it is dropped.
struct DavMail {
    process: Child,
    folder: PathBuf,
    pop3: u16,
    imap: u16,
    smtp: u16,
}

impl Drop for DavMail {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl DavMail {
    fn start(exchange: &Exchange) -> Self {
        assert!(Path::new(DAVMAIL).exists(), "DavMail is missing: run `make setup`");
        let folder = std::env::temp_dir().join(format!("lockstep-davmail-{}", exchange.port));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        std::fs::write(file("ca.pem"), exchange.ca_pem()).unwrap();
        let made = Command::new("keytool")
            .args([
                "-importcert",
                "-noprompt",
                "-alias",
                "exchange",
                "-storetype",
                "PKCS12",
                "-storepass",
                "secret",
            ])
            .args(["-file", &file("ca.pem"), "-keystore", &file("trust.p12")])
            .output()
            .unwrap();
        assert!(made.status.success(), "keytool: {}", String::from_utf8_lossy(&made.stderr));
        let (pop3, imap, smtp) = (free(), free(), free());
        let settings = format!(
            "davmail.server=true\ndavmail.mode=EWS\ndavmail.url={}\ndavmail.popPort={pop3}\ndavmail.imapPort={imap}\n\
             davmail.smtpPort={smtp}\ndavmail.caldavPort=\ndavmail.ldapPort=\ndavmail.bindAddress=127.0.0.1\n\
             davmail.allowRemote=false\ndavmail.disableUpdateCheck=true\ndavmail.enableKerberos=false\n\
             davmail.logFilePath={}\nlog4j.rootLogger=WARN\nlog4j.logger.davmail=WARN\n",
            exchange.url(),
            file("davmail.log"),
        );
        std::fs::write(file("davmail.properties"), settings).unwrap();
        // It ends with this thread, however that ends.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "java"])
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Djavax.net.ssl.trustStorePassword=secret"])
            .arg(format!("-Djavax.net.ssl.trustStore={}", file("trust.p12")))
            .arg(format!("-Duser.home={}", folder.display()))
            .args(["-jar", DAVMAIL, "-server", &file("davmail.properties")])
            .env("HOME", &folder)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(file("out")).unwrap())
            .stderr(std::fs::File::create(file("err")).unwrap())
            .spawn()
            .unwrap();
        Self { process, folder, pop3, imap, smtp }
    }

    /// What it had to say, for a test that failed.
    fn log(&self) -> String {
        ["out", "err", "davmail.log"]
            .iter()
            .map(|name| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default())
            .collect()
    }

    async fn connect(&self, port: u16) -> Talk<'_> {
        let waiting = async {
            loop {
                match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(stream) => Talk { stream: BufStream::new(stream), davmail: self },
            Err(late) => panic!("DavMail does not listen ({late}):\n{}", self.log()),
        }
    }
}

struct Talk<'a> {
    stream: BufStream<TcpStream>,
    davmail: &'a DavMail,
}

impl Talk<'_> {
    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        match tokio::time::timeout(PATIENCE, self.stream.read_until(b'\n', &mut line)).await {
            Ok(Ok(read)) if read > 0 => String::from_utf8_lossy(&line).trim_end().to_owned(),
            other => panic!("DavMail says nothing ({other:?}):\n{}", self.davmail.log()),
        }
    }

    /// Says a line; the lines up to the one that `ends` it.
    async fn ask(&mut self, say: &str, ends: impl Fn(&str) -> bool) -> Vec<String> {
        self.stream.write_all(format!("{say}\r\n").as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            let ended = ends(&line);
            lines.push(line);
            if ended {
                return lines;
            }
        }
    }

    async fn one(&mut self, say: &str, begins: &str) -> String {
        let answer = self.ask(say, |_| true).await.remove(0);
        assert!(answer.starts_with(begins), "{say}: {answer}\n{}", self.davmail.log());
        answer
    }
}

#[tokio::test]
async fn davmail_reads_mail_by_pop3_and_by_imap() {
    let exchange = Exchange::start(Options::default()).await;
    exchange.add_mailbox("anna@example.org", "Anna Adams", "secret");
    for number in 1..=3 {
        let message = format!(
            "From: Carl <carl@example.net>\r\nTo: anna@example.org\r\nMessage-ID: <{number}@example.net>\r\n\
             Date: Sun, 22 Nov 2026 10:0{number}:00 +0000\r\nSubject: Message {number}\r\n\r\nText {number}\r\n"
        );
        exchange.deliver("anna@example.org", message.as_bytes());
    }
    let davmail = DavMail::start(&exchange);

    let mut pop3 = davmail.connect(davmail.pop3).await;
    assert!(pop3.line().await.starts_with("+OK"));
    pop3.one("USER anna@example.org", "+OK").await;
    pop3.one("PASS secret", "+OK").await;
    let stat = pop3.one("STAT", "+OK 3 ").await;
    assert_eq!(stat.split(' ').count(), 3);
    let uids = pop3.ask("UIDL", |line| line == ".").await;
    assert_eq!(uids.len(), 5, "{uids:?}");
    let whole = pop3.ask("RETR 2", |line| line == ".").await.join("\n");
    assert!(whole.contains("Subject: Message 2") && whole.contains("\nText 2\n"), "{whole}");
    pop3.one("QUIT", "+OK").await;

    let mut imap = davmail.connect(davmail.imap).await;
    assert!(imap.line().await.starts_with("* OK"));
    let done = |tag: &'static str| move |line: &str| line.starts_with(&format!("{tag} "));
    let login = imap.ask("a LOGIN anna@example.org secret", done("a")).await;
    assert!(login.last().unwrap().starts_with("a OK"), "{login:?}\n{}", davmail.log());
    let list = imap.ask("b LIST \"\" \"*\"", done("b")).await.join("\n");
    for folder in ["\"INBOX\"", "\"Drafts\"", "\"Sent\"", "\"Trash\""] {
        assert!(list.contains(folder), "{folder} is not in {list}");
    }
    let select = imap.ask("c SELECT INBOX", done("c")).await.join("\n");
    assert!(select.contains("* 3 EXISTS") && select.contains("c OK"), "{select}\n{}", davmail.log());
    let fetched = imap.ask("d UID FETCH 1:* (UID FLAGS BODY.PEEK[])", done("d")).await.join("\n");
    for number in 1..=3 {
        assert!(fetched.contains(&format!("Subject: Message {number}")), "{fetched}");
    }
    assert!(!fetched.contains("\\Seen"), "{fetched}");
    imap.ask("e STORE 1 +FLAGS (\\Seen)", done("e")).await;
    imap.ask("f LOGOUT", done("f")).await;
    let read = exchange.folder("anna@example.org", "inbox").iter().filter(|item| item.read).count();
    assert_eq!(read, 1);
}

#[tokio::test]
async fn davmail_sends_what_it_is_given_by_smtp() {
    let exchange = Exchange::start(Options::default()).await;
    exchange.add_mailbox("anna@example.org", "Anna Adams", "secret");
    exchange.add_mailbox("bert@example.org", "Bert Brown", "secret");
    let davmail = DavMail::start(&exchange);
    let mut smtp = davmail.connect(davmail.smtp).await;
    assert!(smtp.line().await.starts_with("220"));
    smtp.ask("EHLO here", |line| line.starts_with("250 ")).await;
    smtp.one("AUTH PLAIN AGFubmFAZXhhbXBsZS5vcmcAc2VjcmV0", "235").await;
    smtp.one("MAIL FROM:<anna@example.org>", "250").await;
    smtp.one("RCPT TO:<bert@example.org>", "250").await;
    smtp.one("RCPT TO:<hidden@example.net>", "250").await;
    smtp.one("DATA", "354").await;
    let message =
        "From: Anna <anna@example.org>\r\nTo: Bert <bert@example.org>\r\nSubject: By SMTP\r\n\r\nHello\r\n.";
    smtp.one(message, "250").await;
    smtp.one("QUIT", "221").await;

    let handed = exchange.handed();
    assert_eq!(handed.len(), 1, "{}", davmail.log());
    assert_eq!(handed[0].recipients, ["bert@example.org", "hidden@example.net"]);
    let got = exchange.folder("bert@example.org", "inbox").remove(0);
    assert_eq!((got.subject.as_str(), got.from.as_str()), ("By SMTP", "anna@example.org"));
    assert!(!String::from_utf8_lossy(&got.mime).contains("hidden"));
    assert_eq!(exchange.folder("anna@example.org", "sentitems")[0].message_id, got.message_id);
}
