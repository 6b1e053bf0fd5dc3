//! Polls that find nothing new, the most of what a synchronization does all day: whole cycles, from the claim to the
//! next due time, beside a client that signs in, lists and leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::id::MailboxId;
use model::workload::Workload;
use servers::MailServers;
use tokio::task::JoinSet;

use super::figure::{Line, Target};
use super::house::{House, PASSWORD, Place, message};
use super::pop3::Bare;
use super::{Measured, Trouble, rate};

const MAILBOXES: usize = 100;
const MESSAGES: usize = 20;
/// How long each side polls.
const TIME: Duration = Duration::from_secs(6);

pub(super) async fn measure() -> Measured {
    let servers = MailServers::start().await;
    let place =
        Place { pop3s: servers.pop3s_port, submissions: servers.submissions_port, ca: servers.ca_pem() };
    let house = Arc::new(House::build(&place).await?);
    let addresses: Vec<String> = (0..MAILBOXES).map(|number| format!("idle{number}@bench.example")).collect();
    let mut mailboxes = Vec::new();
    for address in &addresses {
        servers.add_mailbox(address, PASSWORD);
        for number in 0..MESSAGES {
            servers.deliver(address, &message(number, address));
        }
        mailboxes.push(house.mailbox(address).await?);
    }
    // What is there is read once, so that nothing is new from here on.
    house.drive(Workload::Incoming).await?;
    house.expect(&[("emails", MAILBOXES * MESSAGES)]).await?;

    let bare = Bare::new(servers.pop3s_port, servers.ca_pem())?;
    poll_all(&bare, &addresses).await?;
    let (begun, mut polls) = (Instant::now(), 0);
    while begun.elapsed() < TIME {
        poll_all(&bare, &addresses).await?;
        polls += MAILBOXES;
    }
    let ceiling = rate(polls, begun);

    let (begun, mut polls) = (Instant::now(), 0);
    while begun.elapsed() < TIME {
        polls += poll_as_cycles(&house, &mailboxes).await?;
    }
    let ours = rate(polls, begun);
    house.expect(&[("emails", MAILBOXES * MESSAGES), ("receipts", MAILBOXES * MESSAGES)]).await?;
    let line = Line::new("empty POP3 polls over TLS, whole cycles", ours, "polls/s");
    Ok(vec![line.beside("a bare poll loop", ceiling).reaching(Target::Ratio(0.5))])
}

async fn poll_as_cycles(house: &Arc<House>, mailboxes: &[MailboxId]) -> Result<usize, Trouble> {
    house.wish(mailboxes, Workload::Incoming).await?;
    let driven = house.drive(Workload::Incoming).await?;
    if driven.items != 0 || driven.cycles as usize != mailboxes.len() {
        return Err(format!("polls that should find nothing: {driven:?}").into());
    }
    Ok(mailboxes.len())
}

async fn poll_all(bare: &Bare, addresses: &[String]) -> Result<(), Trouble> {
    let mut polling = JoinSet::new();
    for address in addresses {
        let (bare, address) = (bare.clone(), address.clone());
        polling.spawn(async move { bare.poll(&address).await });
    }
    while let Some(listed) = polling.join_next().await {
        if listed?? != MESSAGES {
            return Err("a bare poll saw another number of messages".into());
        }
    }
    Ok(())
}
