//! Mail from a POP3 server into Postgres, first synchronization: beside a bare reading that throws everything away, and
//! beside mpop, fetchmail and getmail, which write files; next to the server and far away from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::workload::Workload;
use servers::MailServers;
use tokio::task::JoinSet;

use super::delay::FarAway;
use super::figure::{Line, Target};
use super::house::{House, PASSWORD, Place, message};
use super::peers::{Account, Peer};
use super::pop3::{Bare, Way};
use super::{Measured, Trouble, rate};

const MAILBOXES: usize = 20;
const MESSAGES: usize = 1000;
const ALL: usize = MAILBOXES * MESSAGES;
/// Requests that the bare reading sends ahead: what `cycle.pipeline` is by default.
const WINDOW: usize = 100;

/// Rows without the row that they belong to: what no foreign key holds (decision 0041).
const ORPHANS: &str = "(select id from email_copies where email_id not in (select id from emails)
    union all select email_id from email_parties where email_id not in (select id from emails)
    union all select email_id from receipts where email_id not in (select id from emails)
                                               or copy_id not in (select id from email_copies)
    union all select email_id from mailbox_items where email_id not in (select id from emails)
    union all select null from blob_chunks where sha256 not in (select sha256 from blobs)) as orphans";
/// How far away the far server is.
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// What a peer that asks for one message after the other is given to fetch where that takes long.
const FEW: usize = 100;

/// The same of one that starts a process for each message.
const FEWER: usize = 25;

/// What the messages are fetched with, and what of a peer's rate is to be reached.
type Beside = [(Peer, usize, Option<f64>)];

pub(super) async fn measure() -> Measured {
    let servers = MailServers::start().await;
    let addresses: Vec<String> =
        (0..MAILBOXES).map(|number| format!("reader{number}@bench.example")).collect();
    for address in &addresses {
        servers.add_mailbox(address, PASSWORD);
        for number in 0..MESSAGES {
            servers.deliver(address, &message(number, address));
        }
    }
    // Dovecot reads every message once to know its size; nobody's time.
    read_all(&Bare::new(Way::private(servers.pop3s_port), servers.ca_pem())?, &addresses).await?;

    let near = [
        (Peer::Mpop, MESSAGES, Some(2.0)),
        (Peer::Fetchmail, MESSAGES, Some(0.8)),
        (Peer::Getmail, FEWER, None),
    ];
    let name = "POP3 into Postgres, 20 × 1,000 × 10 kB, committed";
    let mut lines = fetch(&servers, servers.pop3s_port, &addresses, name, &near).await?;
    if let Some(line) = lines.first() {
        let alone = Line { beside: None, ..line.clone() };
        lines.insert(0, alone.reaching(Target::Absolute(20_000.0, 4)));
    }
    let proxy = FarAway::start(servers.pop3s_port, ROUND_TRIP)?;
    let far = [(Peer::Mpop, MESSAGES, Some(2.0)), (Peer::Fetchmail, FEW, None), (Peer::Getmail, FEWER, None)];
    let name = "the same at 20 ms round trip, 20 connections";
    lines.extend(fetch(&servers, proxy.port, &addresses, name, &far).await?);
    Ok(lines)
}

/// The bare reading, the peers and Lockstep, one after the other, from the same port.
async fn fetch(
    servers: &MailServers,
    port: u16,
    addresses: &[String],
    name: &str,
    beside: &Beside,
) -> Measured {
    let place = Place::private(port, servers.submissions_port, servers.ca_pem());
    let house = Arc::new(House::build(&place).await?);
    let bare = Bare::new(Way::private(port), servers.ca_pem())?;
    let begun = Instant::now();
    read_all(&bare, addresses).await?;
    let ceiling = rate(ALL, begun);

    let mut peers = Vec::new();
    for (peer, most, target) in beside {
        let accounts: Vec<Account> =
            addresses.iter().map(|address| Account { login: address.clone(), port }).collect();
        let begun = Instant::now();
        let fetched = peer.fetch(&accounts, servers.ca_pem(), *most).await?;
        let rate = rate(fetched, begun);
        let asked = most * addresses.len();
        let gave_up = *peer == Peer::Getmail && (1..asked).contains(&fetched);
        if fetched != asked && !gave_up {
            return Err(format!("{} fetched {fetched} messages instead of {asked}", peer.name()).into());
        }
        let gave_up =
            if gave_up { format!(", which had brought {fetched} of {asked}") } else { String::new() };
        peers.push((format!("{} to files{gave_up}", peer.name()), rate, target));
    }

    for address in addresses {
        house.mailbox(address).await?;
    }
    let begun = Instant::now();
    let driven = house.drive(Workload::Incoming).await?;
    let line = Line::new(name, rate(ALL, begun), "messages/s");
    house
        .expect(&[
            ("emails", ALL),
            ("receipts", ALL),
            ("email_copies", ALL),
            ("mailbox_items where decision = 'recorded'", ALL),
            ("(select distinct message_id from emails) as distinct_emails", ALL),
            (ORPHANS, 0),
        ])
        .await?;
    if driven.items as usize != ALL {
        return Err(format!("the cycles decided about {} items instead of {ALL}", driven.items).into());
    }

    let mut lines = vec![line.beside("bare pipelined RETR", ceiling)];
    for (peer, rate, target) in peers {
        let beside = line.beside(peer, rate);
        lines.push(match target {
            Some(least) => beside.reaching(Target::Ratio(*least)),
            None => beside,
        });
    }
    Ok(lines)
}

async fn read_all(bare: &Bare, addresses: &[String]) -> Result<(), Trouble> {
    let mut reading = JoinSet::new();
    for address in addresses {
        let (bare, address) = (bare.clone(), address.clone());
        reading.spawn(async move { bare.read(&address, WINDOW).await });
    }
    while let Some(brought) = reading.join_next().await {
        let brought = brought??;
        if brought.messages != MESSAGES || brought.bytes < MESSAGES * 9_800 {
            return Err(format!("the bare reading brought {brought:?}").into());
        }
    }
    Ok(())
}
