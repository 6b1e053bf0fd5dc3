//! A server far away: a proxy that passes every byte on after half a round trip, however many are on their way. It holds
//! bytes up and never bandwidth, as a long line does.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Trouble;

/// Pieces on their way in one direction of a connection, of up to 64 KiB each.
const PIECES: usize = 256;

/// A running proxy, on a thread of its own until the process ends.
pub(super) struct FarAway {
    pub(super) port: u16,
}

impl FarAway {
    /// In front of a port of this machine, half of the round trip each way.
    pub(super) fn start(target: u16, round_trip: Duration) -> Result<Self, Trouble> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
                            return;
                        };
                        client.set_nodelay(true).ok();
                        server.set_nodelay(true).ok();
                        let (from_client, to_client) = client.into_split();
                        let (from_server, to_server) = server.into_split();
                        let there = pass(from_client, to_server, round_trip / 2);
                        let back = pass(from_server, to_client, round_trip / 2);
                        tokio::join!(there, back);
                    });
                }
            });
        });
        Ok(Self { port })
    }
}

/// Each piece leaves when it has been on its way for as long as the line is, whatever the ones before it do.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let reading = async move {
        loop {
            let mut piece = Vec::with_capacity(64 * 1024);
            match from.read_buf(&mut piece).await {
                Ok(1..) if sender.send((Instant::now() + delay, piece)).await.is_ok() => {}
                _ => return,
            }
        }
    };
    let writing = async move {
        while let Some((at, piece)) = pieces.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(reading, writing);
}
