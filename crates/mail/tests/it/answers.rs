//! Answers of POP3 and SMTP servers broken at random, and what holds however they are broken. Shared with
//! `examples/fuzz.rs`, which plays as many cases as one likes; a case is its number, so one that fails can be played
//! again alone.

use std::time::Duration;

use mail::pop3::{self, Fetched, Limits};
use mail::smtp::{self, ClientName, Envelope, Outcome};
use mail::transport::{self, Trust};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::network::NetworkPolicy;
use model::secret::Secret;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::certificate::certified;
use crate::numbers::Numbers;

/// How long the server waits for the client before it hangs up: a broken answer has no end that one could wait for.
const SILENCE: Duration = Duration::from_millis(100);
/// How long a case may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The most that a listing may have and a message may be.
const ENTRIES: usize = 50;
const BYTES: u64 = 2000;

const CAPABILITIES: &str =
    "+OK\r\nSASL PLAIN\r\nUIDL\r\nTOP\r\nPIPELINING\r\nRESP-CODES\r\nEXPIRE 30\r\n.\r\n";
const POP3: &[&str] = &[
    "+OK ready\r\n",
    CAPABILITIES,
    "+OK\r\n",
    CAPABILITIES,
    "+OK 3 messages\r\n1 40\r\n2 50\r\n3 60\r\n.\r\n",
    "+OK\r\n1 a\r\n2 b\r\n3 c d\r\n.\r\n",
    "+OK 40 octets\r\nSubject: one\r\n\r\n..dot\r\ntext\r\n.\r\n",
    "+OK\r\nSubject: two\r\n\r\n.\r\n",
    "-ERR [SYS/TEMP] not now\r\n",
    "+OK\r\n",
    "+OK bye\r\n",
];
const SMTP: &[&str] = &[
    "220 script ESMTP\r\n",
    "250-script\r\n250-PIPELINING\r\n250-SIZE 5000\r\n250-8BITMIME\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN\r\n",
    "235 2.7.0 welcome\r\n",
    "250 2.1.0 ok\r\n",
    "250 2.1.5 ok\r\n",
    "550 5.1.1 nobody\r\n",
    "354 go on\r\n",
    "250-2.0.0 taken\r\n250 2.0.0 as 4711\r\n",
    "250 2.1.0 ok\r\n",
    "452 4.5.3 too many\r\n",
    "250 2.1.5 ok\r\n",
    "354 go on\r\n",
    "451 4.3.0 later\r\n",
    "221 2.0.0 bye\r\n",
];
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    ".",
    ".\r\n",
    "..",
    "\0",
    " ",
    "-",
    "+OK",
    "+OK\r\n",
    "-ERR",
    "-ERR [IN-USE] x\r\n",
    "[AUTH]",
    "[SYS/PERM]",
    "99999999999999999999",
    "-1",
    "0",
    "4294967295",
    "4294967296",
    "250 ",
    "250-",
    "2",
    "354 ",
    "421 ",
    "421 4.3.2 leaving\r\n",
    "5.7.8",
    "334 ",
    "\u{ff}",
    "\u{202e}",
    "UIDL",
    "PIPELINING\r\n",
    "LOGIN-DELAY 9",
    "EXPIRE 0",
    "SIZE 0",
    "250 ok\r\n250 ok\r\n",
    "220 again\r\n",
    "\t",
];

/// The server's answers of a case, broken in one to six places; early answers less often, or nothing would come after.
fn broken(script: &[&str], number: u64) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(number);
    let mut answers: Vec<Vec<u8>> = script.iter().map(|answer| answer.as_bytes().to_vec()).collect();
    for _ in 0..=numbers.below(6) {
        let place = numbers.below(answers.len()).max(numbers.below(answers.len()));
        let word = WORDS[numbers.below(WORDS.len())];
        let answer = &mut answers[place];
        let at = numbers.below(answer.len() + 1);
        let to = (at + numbers.below(20)).min(answer.len());
        match numbers.below(9) {
            0 => drop(answer.splice(at..to, [])),
            1 => answer.truncate(at),
            2 => {
                if let Some(byte) = answer.get_mut(at) {
                    *byte ^= 1 << numbers.below(8);
                }
            }
            3 => drop(answer.splice(at..at, word.bytes())),
            4 => drop(answer.splice(at..to, word.bytes())),
            5 => {
                let again = answer[at..to].repeat(1 + numbers.below(200));
                drop(answer.splice(at..at, again));
            }
            6 => drop(answer.splice(at..at, vec![b'x'; numbers.below(6000)])),
            7 => answers.swap(place, numbers.below(script.len())),
            _ => answers[place] = word.as_bytes().to_vec(),
        }
    }
    answers
}

/// A server that plays broken scripts, one after the other.
pub(crate) struct Fickle {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    settings: transport::Settings,
    port: u16,
}

/// What the server heard and said around a final dot.
#[derive(Debug, Default)]
struct Dots {
    /// What it said after each message that it heard to its end.
    answers: Vec<Vec<u8>>,
}

impl Fickle {
    pub(crate) async fn start() -> Self {
        let (acceptor, authority) = certified();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = Trust::system().for_profile(Some(authority.as_bytes())).unwrap();
        let settings = transport::Settings {
            network: NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] },
            connect_timeout: LIMIT / 3,
            phase_deadline: LIMIT / 3,
            tls,
            ends: None,
        };
        Self { listener, acceptor, settings, port }
    }

    fn endpoint(&self, protocol: Protocol) -> Endpoint {
        Endpoint { protocol, host: "127.0.0.1".to_owned(), port: self.port, tls: Tls::Implicit }
    }

    /// Plays a case of POP3: sign in, list, fetch, delete, say goodbye, as far as it goes.
    pub(crate) async fn pop3(&self, number: u64) {
        let answers = broken(POP3, number);
        let plays = async {
            tokio::join!(self.play(&answers), self.read()).1;
        };
        timeout(LIMIT, plays).await.unwrap_or_else(|_| panic!("case {number} has no end"));
    }

    async fn read(&self) {
        let limits = Limits {
            max_entries: ENTRIES,
            drain_bytes: BYTES,
            message_deadline: LIMIT / 3,
            pipelining: true,
        };
        let secret = Secret::from("pass");
        let endpoint = self.endpoint(Protocol::Pop3);
        let opened = pop3::Session::sign_in(&endpoint, &self.settings, limits, "anna", &secret).await;
        let Ok(mut session) = opened else { return };
        let Ok(listed) = session.list().await else { return };
        assert!(listed.len() <= ENTRIES, "a listing of {}", listed.len());
        for item in &listed {
            assert!(item.number > 0 && !item.uid.is_empty(), "{item:?}");
            assert!(item.uid.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{item:?}");
        }
        let mut fetched = session.retrieve_many(&listed, 8, BYTES);
        let mut count = 0;
        loop {
            match fetched.next().await {
                Ok(Some((_, Fetched::Whole(raw)))) => {
                    count += 1;
                    assert!(raw.len() as u64 <= BYTES, "a message of {}", raw.len());
                }
                Ok(Some(_)) => count += 1,
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert_eq!(count, listed.len(), "each that was asked for came to something");
        if session.dele(1).await.is_ok() {
            let _ = session.quit().await;
        }
    }

    /// Plays a case of SMTP: sign in and give two messages, as far as it goes.
    pub(crate) async fn smtp(&self, number: u64) {
        let answers = broken(SMTP, number);
        let plays = async { tokio::join!(self.play(&answers), self.write()) };
        let played = timeout(LIMIT, plays).await;
        let (dots, sent) = played.unwrap_or_else(|_| panic!("case {number} has no end"));
        // Nobody believes in a yes that was not said, or before the message was whole.
        let yes = dots.answers.iter().filter(|answer| answer.first() == Some(&b'2')).count();
        assert!(sent <= yes, "{sent} are said to be sent, and the server took {yes}: {dots:?}");
    }

    /// How many messages counted as sent.
    async fn write(&self) -> usize {
        let settings = smtp::Settings {
            transport: self.settings.clone(),
            client_name: ClientName::parse("client.test").unwrap(),
            message_timeout: LIMIT / 3,
            verdict_timeout: LIMIT / 3,
        };
        let secret = Secret::from("pass");
        let opened = smtp::Session::open(&self.endpoint(Protocol::Smtp), &settings, "anna", &secret).await;
        let Ok(mut session) = opened else { return 0 };
        let message: &[u8] = b"Subject: x\r\n\r\n.dot\nbare\r\nend";
        let envelope = Envelope {
            from: "anna@example.org".parse().unwrap(),
            recipients: ["b@example.org", "c@example.org"].map(|to| to.parse().unwrap()).to_vec(),
            size: message.len() as u64,
            eight_bit: false,
            utf8: false,
            reports: None,
        };
        let mut sent = 0;
        for _ in 0..2 {
            let whole = smtp::whole::<mail::Error>(message);
            let Ok(submission) = session.submit(&envelope, whole, async { Ok(()) }).await else {
                return sent;
            };
            assert_eq!(submission.recipients.len(), 2);
            if let Outcome::Sent(reply) = &submission.outcome {
                assert!((200..300).contains(&reply.code()), "{reply:?}");
                assert!(submission.accepted() > 0, "sent to nobody");
                sent += 1;
            } else {
                assert_eq!(submission.accepted(), 0, "accepted, and not sent");
            }
        }
        session.quit().await;
        sent
    }

    /// Takes one client and answers whatever it says with the next answer.
    async fn play(&self, answers: &[Vec<u8>]) -> Dots {
        let mut dots = Dots::default();
        let Ok((socket, _)) = self.listener.accept().await else { return dots };
        let _ = socket.set_nodelay(true);
        let Ok(stream) = self.acceptor.accept(socket).await else { return dots };
        let mut stream = BufReader::new(stream);
        let mut answers = answers.iter();
        let Some(greeting) = answers.next() else { return dots };
        if !say(&mut stream, greeting).await {
            return dots;
        }
        let mut in_message = false;
        let mut line = Vec::new();
        loop {
            line.clear();
            match timeout(SILENCE, stream.read_until(b'\n', &mut line)).await {
                Ok(Ok(read)) if read > 0 => {}
                _ => return dots,
            }
            if in_message && line != b".\r\n" {
                continue;
            }
            let Some(answer) = answers.next() else { return dots };
            if in_message {
                dots.answers.push(answer.clone());
            }
            in_message = !in_message && line == b"DATA\r\n" && answer.starts_with(b"354");
            if !say(&mut stream, answer).await {
                return dots;
            }
        }
    }
}

async fn say(stream: &mut BufReader<tokio_rustls::server::TlsStream<TcpStream>>, answer: &[u8]) -> bool {
    let stream = stream.get_mut();
    stream.write_all(answer).await.is_ok() && stream.flush().await.is_ok()
}
