//! Whom Postfix refuses, as tests wish: it asks here for every recipient and at the end of every message
//! (Postfix's `SMTPD_POLICY_README`).

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    Error,
    apart::{self, Apart},
    ports,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Refused {
    /// At `RCPT TO`.
    Recipient(String),
    /// After the final dot, by the address of `MAIL FROM`.
    MessageFrom(String),
}

pub(super) struct Refusals {
    pub(super) port: u16,
    replies: Replies,
    _apart: Apart,
}

type Replies = Arc<Mutex<HashMap<Refused, String>>>;

impl Refusals {
    pub(super) async fn start() -> Result<Self, Error> {
        let [port] = ports::free()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.map_err(Error::io("cannot listen for Postfix's questions"))?;
        let replies = Replies::default();
        let answered = Arc::clone(&replies);
        let apart = apart::serve(listener, async move |listener| {
            while let Ok((smtpd, _)) = listener.accept().await {
                tokio::spawn(answer(smtpd, Arc::clone(&answered)));
            }
        })?;
        Ok(Self { port, replies, _apart: apart })
    }

    pub(super) fn set(&self, refused: Refused, reply: Option<&str>) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        match reply {
            Some(reply) => replies.insert(refused, reply.to_owned()),
            None => replies.remove(&refused),
        };
    }
}

/// A question is lines of `name=value` up to an empty one; a connection asks many.
async fn answer(smtpd: TcpStream, replies: Replies) {
    let mut lines = BufReader::new(smtpd).lines();
    let mut question = HashMap::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((name, value)) = line.split_once('=') {
            question.insert(name.to_owned(), value.to_lowercase());
            continue;
        }
        let take = |question: &mut HashMap<String, String>, name| question.remove(name).unwrap_or_default();
        let refused = match take(&mut question, "protocol_state").as_str() {
            "rcpt" => Refused::Recipient(take(&mut question, "recipient")),
            _ => Refused::MessageFrom(take(&mut question, "sender")),
        };
        question.clear();
        let reply = replies.lock().unwrap_or_else(PoisonError::into_inner).get(&refused).cloned();
        let action = reply.unwrap_or_else(|| "DUNNO".to_owned());
        if lines.get_mut().write_all(format!("action={action}\n\n").as_bytes()).await.is_err() {
            return;
        }
    }
}
