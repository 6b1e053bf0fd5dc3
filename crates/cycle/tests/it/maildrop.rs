//! A POP3 server with a maildrop that a test changes between cycles, and a word in every answer: for what no real
//! server can be made to do. It deletes at QUIT what was marked in the session, as a real one does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use cycle::Config;
use model::endpoint::Protocol;
use model::id::MailboxId;

use crate::house::{House, message};
use crate::scripted::{Do, Scripted, say};

/// What a test says about a line before the server does: nothing, most of the time.
pub(crate) type Word = Box<dyn Fn(&str) -> Option<Do> + Send>;

/// What the server has and how it behaves.
pub(crate) struct State {
    /// Unique ids and messages, in the order of the listing.
    pub(crate) messages: Vec<(String, Vec<u8>)>,
    /// Lines of the answer to CAPA, each with its end.
    pub(crate) capabilities: &'static str,
    /// Asked first about every line.
    pub(crate) word: Word,
    /// Every line since it was last taken.
    heard: Vec<String>,
    marked: BTreeSet<usize>,
}

/// What most servers announce.
pub(crate) const USUAL: &str = "USER\r\nUIDL\r\nTOP\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n";

pub(crate) struct Maildrop {
    state: Arc<Mutex<State>>,
    server: Scripted,
}

impl Maildrop {
    /// A server with this many plain messages, named `a1`, `a2` and so on.
    pub(crate) async fn with(count: usize) -> Self {
        let messages = (1..=count).map(|number| (format!("a{number}"), plain(number))).collect();
        let state = Arc::new(Mutex::new(State {
            messages,
            capabilities: USUAL,
            word: Box::new(|_| None),
            heard: Vec::new(),
            marked: BTreeSet::new(),
        }));
        let shared = state.clone();
        let server =
            Scripted::start(Protocol::Pop3, "", move |line| shared.lock().unwrap().answer(line)).await;
        Self { state, server }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What clients said that begins with this word, since the last time anybody asked; forgets the rest too.
    pub(crate) fn heard(&self, word: &str) -> Vec<String> {
        self.heard_all().into_iter().filter(|line| line.split(' ').next() == Some(word)).collect()
    }

    pub(crate) fn heard_all(&self) -> Vec<String> {
        std::mem::take(&mut self.state().heard)
    }

    pub(crate) fn says(&self, word: impl Fn(&str) -> Option<Do> + Send + 'static) {
        self.state().word = Box::new(word);
    }

    /// An installation whose profile leads here, with one mailbox.
    pub(crate) async fn house(&self, config: Config) -> (House, MailboxId) {
        let (endpoint, ca) = (self.server.endpoint.clone(), self.server.ca_pem.clone());
        let house = House::with(config, |profile| {
            profile.incoming = endpoint;
            profile.ca_certificate = Some(ca);
        })
        .await;
        let (_, id, _) = house.person("anna").await;
        (house, id)
    }

    /// The same for a queue whose mailbox has recorded mail deleted.
    pub(crate) async fn queue(&self, config: Config) -> (House, MailboxId) {
        let (house, id) = self.house(config).await;
        house.give_to_a_queue_that_deletes(id).await;
        (house, id)
    }
}

impl State {
    fn answer(&mut self, line: &str) -> Do {
        // The empty line stands for the greeting.
        self.heard.extend(Some(line.to_owned()).filter(|line| !line.is_empty()));
        if let Some(answer) = (self.word)(line) {
            return answer;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let number = words.get(1).and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
        let of = number.checked_sub(1).and_then(|place| self.messages.get(place));
        match (words[0], of) {
            ("CAPA", _) => {
                self.marked.clear();
                say(format!("+OK\r\n{}.\r\n", self.capabilities))
            }
            ("LIST", _) => self.lines(|_, message| message.len().to_string()),
            ("UIDL", _) => self.lines(|uid, _| uid.to_owned()),
            ("RETR", Some((_, message))) => say([b"+OK\r\n", &message[..], b".\r\n"].concat()),
            ("TOP", Some((_, message))) => {
                let message = String::from_utf8_lossy(message);
                let header = message.split("\r\n\r\n").next().unwrap_or_default();
                say(format!("+OK\r\n{header}\r\n\r\n.\r\n"))
            }
            ("DELE", Some(_)) => {
                self.marked.insert(number - 1);
                say("+OK\r\n")
            }
            ("RETR" | "TOP" | "DELE", None) => say("-ERR no such message\r\n"),
            ("QUIT", _) => {
                self.delete_marked();
                say("+OK bye\r\n")
            }
            _ => say("+OK\r\n"),
        }
    }

    /// What QUIT does before it is answered.
    pub(crate) fn delete_marked(&mut self) {
        let marked = std::mem::take(&mut self.marked);
        let mut place = 0;
        self.messages.retain(|_| {
            place += 1;
            !marked.contains(&(place - 1))
        });
    }

    fn lines(&self, of: impl Fn(&str, &[u8]) -> String) -> Do {
        let mut lines = String::new();
        for (place, (uid, message)) in self.messages.iter().enumerate() {
            let _ = write!(lines, "{} {}\r\n", place + 1, of(uid, message));
        }
        say(format!("+OK\r\n{lines}.\r\n"))
    }
}

/// A message whose header and size are its number's own.
pub(crate) fn plain(number: usize) -> Vec<u8> {
    message(number, "x@example.org")
}

/// The same with another time of receipt, and of the same size.
pub(crate) fn received_at(number: usize, clock: &str) -> Vec<u8> {
    String::from_utf8(plain(number)).unwrap().replace("10:00:00", clock).into_bytes()
}
