//! Processes that die at named places, and the checker that must find what is wrong afterwards. `make chaos` kills at
//! every place there is; here at those where it matters most.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use lockstep_tests::chaos::{CANARY, LEASE, LIMIT, Send, Violation, World, violations};
use lockstep_tests::{Servers, until};
use model::crash::Point;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_between_an_effect_and_its_record_loses_nothing_and_repeats_nothing_silently() {
    let mut world = World::new(Servers::shared().await, 2, 1).await;
    for point in [
        Point::QueueAfter,
        Point::ClaimAfter,
        Point::CommitBefore,
        Point::DeleAfter,
        Point::DataAfter,
        Point::VerdictAfter,
        Point::GrantAfter,
        Point::RequestAfter,
    ] {
        world.die_at(point).await;
    }
    if let Err(violations) = world.settle(LEASE).await {
        panic!("{violations:#?}");
    }
    // Whoever died before the dot and after the answer left a doubt, and only the second mail was received.
    let history = world.history(false).await;
    let doubts = history.sends.iter().filter(|send| send.state == "unknown");
    let arrived =
        |send: &&Send| history.arrived.iter().any(|copy| send.message_ids.contains(&copy.message_id));
    let (received, not_received): (Vec<_>, Vec<_>) = doubts.partition(arrived);
    assert!(!received.is_empty() && !not_received.is_empty(), "{received:?} {not_received:?}");

    // Nothing that is wrong would go unnoticed.
    let doubled = "with one as (select * from emails where direction = 'incoming' order by id limit 1),
         copy as (insert into emails (organization_id, id, direction, state, identity, message_id, warnings,
                                      created_by, modified_by)
                  select organization_id, gen_random_uuid(), direction, state, sha256(identity), message_id,
                         array['message_id_reused'], 'x', 'x'
                  from one returning organization_id, id)
         insert into receipts (organization_id, email_id, mailbox_id, copy_id, received_at)
         select c.organization_id, c.id, r.mailbox_id, r.copy_id, r.received_at
         from copy c, receipts r, one where r.email_id = one.id limit 1";
    world.execute(doubled).await;
    let found = violations(&world.history(false).await);
    assert!(matches!(found.as_slice(), [Violation::Doubled(_, 2)]), "{found:#?}");
    let deleted =
        "delete from emails where id = (select id from emails where direction = 'incoming' and created_by <> 'x'
                                        order by id desc limit 1)";
    world.execute(deleted).await;
    let found = violations(&world.history(false).await);
    assert!(found.iter().any(|violation| matches!(violation, Violation::Lost(_))), "{found:#?}");

    forgotten_sends_are_found(&world).await;
    wrong_due_times_are_found(&world).await;
    connections_that_a_server_counts_on_are_found(&world).await;
    told_secrets_are_found(&world).await;
}

/// A send that was answered for and is a draft again is no draft for who asked.
async fn forgotten_sends_are_found(world: &World) {
    let draft = "update emails set state = 'draft'
         where id = (select id from emails where direction = 'outgoing' and state = 'sent' order by id limit 1)";
    world.execute(draft).await;
    let found = violations(&world.history(false).await);
    assert!(found.iter().any(|violation| matches!(violation, Violation::Forgotten(_))), "{found:#?}");
}

/// Due in the future is not enough: it must be when the policy says, and for sends only when there is one.
async fn wrong_due_times_are_found(world: &World) {
    let plant = async |workload: &str, set: &str| {
        world
            .execute(&format!("update schedules set {set} where workload = '{workload}' and state = 'idle'"))
            .await;
        world.history(false).await.off_schedule.len()
    };
    let later = "due_at = now() + interval '4 minutes', due_reason = 'cadence'";
    assert_eq!(plant("incoming", later).await, 0);
    assert_eq!(plant("incoming", "due_at = now() + interval '50 minutes'").await, 3, "no policy allows that");
    assert_eq!(plant("incoming", later).await, 0);
    assert_eq!(plant("incoming", "not_before = now() + interval '50 minutes'").await, 3, "nor that");
    assert_eq!(plant("incoming", "not_before = null").await, 0);
    assert_eq!(plant("incoming", "due_at = null").await, 3, "nobody will ever look");
    assert_eq!(plant("incoming", later).await, 0);
    let retry = "due_at = now() + interval '4 minutes', due_reason = 'retry'";
    assert_eq!(plant("outgoing", retry).await, 3, "nothing is pending");
    assert_eq!(plant("outgoing", "due_at = null, due_reason = 'nothing_to_send'").await, 0);
}

/// What a client closed and the network kept from the server is still one of the server's connections.
async fn connections_that_a_server_counts_on_are_found(world: &World) {
    let one_more = async |count: usize| {
        let stream = TcpStream::connect(world.pop3.address()).await.unwrap();
        assert!(world.pop3.connected(count).await);
        stream
    };
    let mut open = Vec::new();
    for count in 1..=LIMIT {
        open.push(one_more(count).await);
    }
    let over = |found: &[Violation]| {
        found.iter().any(|violation| matches!(violation, Violation::TooManyConnections(..)))
    };
    assert!(!over(&violations(&world.history(false).await)), "as many as there may be");
    world.pop3.sever(Duration::from_secs(600));
    until("they fell silent", async || match world.pop3.current() {
        0 => Ok(()),
        count => Err(format!("{count} did not")),
    })
    .await;
    drop(open);
    let _next = one_more(LIMIT + 1).await;
    let found = violations(&world.history(false).await);
    assert!(over(&found), "{found:#?}");
}

/// A password is told in whatever form it is written down, and wherever.
async fn told_secrets_are_found(world: &World) {
    assert_eq!(world.history(true).await.leaks, [""; 0]);
    let said = BASE64_STANDARD.encode(format!("\0anna@mail.example\0{CANARY}"));
    world.execute(&format!("update users set name = '{said}'")).await;
    let setting = |key: &str| world.installation.configuration.get(key).unwrap().to_owned();
    let broker = Connection::connect(&setting("broker.url"), ConnectionProperties::default()).await.unwrap();
    let channel = broker.create_channel().await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let name = broker::Queue::Dead.as_str();
    channel.basic_publish("".into(), name.into(), options, said.as_bytes(), properties).await.unwrap();
    let ledger = redis::Client::open(setting("coordinator.redis_url")).unwrap();
    let mut ledger = ledger.get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("HSET").arg("x").arg("y").arg(&said).query_async(&mut ledger).await.unwrap();
    until("all of them are found, and found again", async || {
        let leaks = world.history(true).await.leaks;
        match leaks.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["table users", "a message of lockstep.dead", "Redis"] => Ok(()),
            _ => Err(format!("{leaks:?}")),
        }
    })
    .await;
}
