//! One connection through a gate: request lines are heard and counted, message contents and answers pass as they are,
//! and the fault strikes where it was set.

use std::{
    io,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf,
        WriteHalf, split,
    },
    net::TcpStream,
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_rustls::{client, rustls::pki_types::ServerName, server};

use super::{Conversation, Fault, Heard, Held, Speech, connect, http, identity::Identity, shown};

/// What the two directions of a connection know of each other.
#[derive(Default)]
struct Between {
    /// The client asked to hand a message over.
    data_asked: AtomicBool,
    /// The server asked for the content of a message.
    in_message: AtomicBool,
    /// Nothing that the server says is passed on any more.
    muted: AtomicBool,
    /// The server said something that was not passed on.
    swallowed: Notify,
    /// The next answer is replaced.
    garbled: AtomicBool,
}

pub(super) async fn lead(
    client: TcpStream,
    port: u16,
    (speech, fault): (Speech, Fault),
    identity: Arc<Identity>,
    heard: Heard,
    held: Arc<Held>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    if fault == Fault::PlainText {
        let mut client = client;
        client.write_all(b"220 +OK this is not TLS\r\n").await?;
        return client.shutdown().await;
    }
    let client = identity.acceptor(shown(fault)).accept(client).await?;
    if fault == Fault::CutBefore(0) {
        return Ok(());
    }
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let server = identity.server.connect(name, connect(port).await?).await?;
    let place = {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(Conversation::default());
        heard.len() - 1
    };
    let between = Arc::new(Between::default());
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    if fault == Fault::Silent || (fault == Fault::CutAfter(0) && speech == Speech::Lines) {
        between.muted.store(true, Ordering::SeqCst);
    }
    if fault == Fault::Garbage(0) && speech == Speech::Lines {
        between.garbled.store(true, Ordering::SeqCst);
    }
    // Nothing is said before the first request: what is to befall the greeting befalls its answer.
    let fault = match (speech, fault) {
        (Speech::Http, Fault::CutAfter(0)) => Fault::CutAfter(1),
        (Speech::Http, Fault::Garbage(0)) => Fault::Garbage(1),
        (_, fault) => fault,
    };
    let listening = Listening { fault, heard, held, place, between: Arc::clone(&between) };
    let asked = async {
        match speech {
            Speech::Lines => listening.requests(from_client, to_server).await,
            Speech::Http => listening.exchanges(from_client, to_server).await,
        }
    };
    tokio::select! {
        ended = asked => ended,
        ended = answers(from_server, to_client, fault, &between) => ended,
    }
}

/// The client's direction.
struct Listening {
    fault: Fault,
    heard: Heard,
    held: Arc<Held>,
    place: usize,
    between: Arc<Between>,
}

impl Listening {
    async fn requests(
        &self,
        from: ReadHalf<server::TlsStream<TcpStream>>,
        mut to: WriteHalf<client::TlsStream<TcpStream>>,
    ) -> io::Result<()> {
        let (mut from, mut line, mut content, mut number) = (BufReader::new(from), Vec::new(), Vec::new(), 0);
        if self.fault == Fault::CutAfter(0) {
            self.between.swallowed.notified().await;
            return Ok(());
        }
        loop {
            line.clear();
            if from.read_until(b'\n', &mut line).await? == 0 {
                return to.shutdown().await;
            }
            if self.between.in_message.load(Ordering::SeqCst) && line != b".\r\n" {
                content.extend_from_slice(&line);
                to.write_all(&line).await?;
                continue;
            }
            number += 1;
            if !self.passes(number).await {
                return Ok(());
            }
            if self.between.in_message.swap(false, Ordering::SeqCst) {
                let content = std::mem::take(&mut content);
                self.note(|conversation| conversation.messages.push(content));
            }
            if line.eq_ignore_ascii_case(b"DATA\r\n") {
                self.between.data_asked.store(true, Ordering::SeqCst);
            }
            self.note(|conversation| conversation.requests.push(spoken(&line)));
            if self.fault == Fault::Garbage(number) {
                self.between.garbled.store(true, Ordering::SeqCst);
            }
            if self.fault == Fault::CutAfter(number) {
                self.between.muted.store(true, Ordering::SeqCst);
                to.write_all(&line).await?;
                to.flush().await?;
                timeout(Duration::from_secs(5), self.between.swallowed.notified()).await.ok();
                return Ok(());
            }
            to.write_all(&line).await?;
            if from.buffer().is_empty() {
                to.flush().await?;
            }
        }
    }

    /// The same where a request is a head with its body.
    async fn exchanges(
        &self,
        from: ReadHalf<server::TlsStream<TcpStream>>,
        mut to: WriteHalf<client::TlsStream<TcpStream>>,
    ) -> io::Result<()> {
        let (mut from, mut number) = (BufReader::new(from), 0);
        while let Some(request) = http::next(&mut from).await? {
            number += 1;
            if !self.passes(number).await {
                return Ok(());
            }
            self.note(|conversation| conversation.requests.push(request.spoken));
            if self.fault == Fault::Garbage(number) {
                self.between.garbled.store(true, Ordering::SeqCst);
            }
            if self.fault == Fault::CutAfter(number) {
                self.between.muted.store(true, Ordering::SeqCst);
            }
            if to.write_all(&request.bytes).await.is_err() || to.flush().await.is_err() {
                // A server may answer before it has heard everything, and close: its answer is passed on first.
                std::future::pending::<()>().await;
            }
            if self.fault == Fault::CutAfter(number) {
                timeout(Duration::from_secs(5), self.between.swallowed.notified()).await.ok();
                return Ok(());
            }
        }
        to.shutdown().await
    }

    /// Whether this request is passed on; one that is kept back is, later.
    async fn passes(&self, number: u32) -> bool {
        let strikes = [Fault::CutBefore(number), Fault::CutAfter(number), Fault::Garbage(number)];
        if strikes.contains(&self.fault) {
            self.held.struck.store(true, Ordering::SeqCst);
        }
        if self.fault == Fault::Hold(number) {
            self.held.reached.notify_one();
            self.held.go_on.notified().await;
        }
        self.fault != Fault::CutBefore(number)
    }

    fn note(&self, note: impl FnOnce(&mut Conversation)) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        // Gone when the test forgot what was heard while this conversation went on.
        if let Some(conversation) = heard.get_mut(self.place) {
            note(conversation);
        }
    }
}

/// The server's direction.
async fn answers(
    mut from: ReadHalf<client::TlsStream<TcpStream>>,
    mut to: WriteHalf<server::TlsStream<TcpStream>>,
    fault: Fault,
    between: &Between,
) -> io::Result<()> {
    // The end of what was said so far; what begins the conversation begins a line.
    let (mut buffer, mut end) = (vec![0; 64 * 1024], b"\n".to_vec());
    loop {
        let count = match from.read(&mut buffer).await {
            // A server that ends without a close_notify has ended all the same.
            Ok(0) | Err(_) => return to.shutdown().await,
            Ok(count) => count,
        };
        let said = &buffer[..count];
        // The answer to DATA may come in one piece with those to what was said before it, or in several pieces.
        end.extend_from_slice(said);
        if between.data_asked.load(Ordering::SeqCst) && end.windows(4).any(|four| four == b"\n354") {
            between.data_asked.store(false, Ordering::SeqCst);
            between.in_message.store(true, Ordering::SeqCst);
        }
        end.drain(..end.len().saturating_sub(3));
        if between.muted.load(Ordering::SeqCst) {
            between.swallowed.notify_one();
        } else if between.garbled.swap(false, Ordering::SeqCst) {
            to.write_all(b"\x00\xff what is this? \x07\r\n.\r\n\r\n").await?;
            to.flush().await?;
        } else if let Fault::Trickle(pause) = fault {
            trickle(&mut to, said, pause).await?;
        } else {
            to.write_all(said).await?;
            to.flush().await?;
        }
    }
}

async fn trickle(to: &mut (impl AsyncWrite + Unpin), said: &[u8], pause: Duration) -> io::Result<()> {
    for byte in said {
        sleep(pause).await;
        to.write_all(&[*byte]).await?;
        to.flush().await?;
    }
    Ok(())
}

/// A request as a test may see it: what signs in is named and no more.
fn spoken(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line).trim_end().to_owned();
    let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
    let known = ["PASS", "AUTH"].contains(&verb.as_str());
    if known { format!("{verb} …") } else { line }
}
