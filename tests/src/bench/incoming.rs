//! Mail from a POP3 server into Postgres, first synchronization: beside a bare reading that throws everything away, and
//! beside mpop and fetchmail, which write files.

use std::sync::Arc;
use std::time::Instant;

use model::workload::Workload;
use servers::MailServers;
use tokio::task::JoinSet;

use super::figure::{Line, Target};
use super::house::{House, PASSWORD, Place, message};
use super::peers::{Account, Peer};
use super::pop3::Bare;
use super::{Measured, Trouble, rate};

const MAILBOXES: usize = 20;
const MESSAGES: usize = 1000;
const ALL: usize = MAILBOXES * MESSAGES;
/// Requests that the bare reading sends ahead: what `cycle.pipeline` is by default.
const WINDOW: usize = 100;

pub(super) async fn measure() -> Measured {
    let servers = MailServers::start().await;
    let place =
        Place { pop3s: servers.pop3s_port, submissions: servers.submissions_port, ca: servers.ca_pem() };
    let house = Arc::new(House::build(&place).await?);
    let addresses: Vec<String> =
        (0..MAILBOXES).map(|number| format!("reader{number}@bench.example")).collect();
    for address in &addresses {
        servers.add_mailbox(address, PASSWORD);
        for number in 0..MESSAGES {
            servers.deliver(address, &message(number, address));
        }
    }
    let bare = Bare::new(servers.pop3s_port, servers.ca_pem())?;
    // Dovecot reads every message once to know its size; nobody's time.
    read_all(&bare, &addresses).await?;

    let begun = Instant::now();
    read_all(&bare, &addresses).await?;
    let ceiling = rate(ALL, begun);

    let mut peers = Vec::new();
    for peer in [Peer::Mpop, Peer::Fetchmail] {
        let accounts: Vec<Account> = addresses
            .iter()
            .map(|address| Account { login: address.clone(), port: servers.pop3s_port })
            .collect();
        let begun = Instant::now();
        let fetched = peer.fetch(&accounts, servers.ca_pem()).await?;
        let rate = rate(ALL, begun);
        if fetched != ALL {
            return Err(format!("{} fetched {fetched} messages instead of {ALL}", peer.name()).into());
        }
        peers.push((peer, rate));
    }

    for address in &addresses {
        house.mailbox(address).await?;
    }
    let begun = Instant::now();
    let driven = house.drive(Workload::Incoming).await?;
    let line = Line::new("POP3 into Postgres, 20 × 1,000 × 10 kB, committed", rate(ALL, begun), "messages/s");
    house
        .expect(&[
            ("emails", ALL),
            ("receipts", ALL),
            ("email_copies", ALL),
            ("mailbox_items where decision = 'recorded'", ALL),
            ("(select distinct message_id from emails) as distinct_emails", ALL),
        ])
        .await?;
    if driven.items as usize != ALL {
        return Err(format!("the cycles decided about {} items instead of {ALL}", driven.items).into());
    }

    let mut lines = vec![
        line.clone().reaching(Target::Absolute(20_000.0, 4)),
        line.beside("bare pipelined RETR", ceiling),
    ];
    for (peer, rate) in peers {
        let least = if peer == Peer::Mpop { 2.0 } else { 0.8 };
        lines.push(line.beside(format!("{} to files", peer.name()), rate).reaching(Target::Ratio(least)));
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
