//! The broker dies and comes back: what was confirmed is there, and both sides find it again by themselves.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use broker::{Config, Invitation, Published, Publisher, Queue};
use model::workload::Workload;
use servers::{CountingProxy, RabbitMq};

use crate::equipment::{Counting, Worker, config_of, cycles, eventually, shared, virtual_host};

#[tokio::test]
async fn what_was_confirmed_survives_the_death_of_the_broker_in_the_middle_of_publishing() {
    let node = RabbitMq::start().await;
    let config = config_of(&node.amqp_uri(&virtual_host(&node).await));
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.ready().await.unwrap();

    let mut confirmed: HashSet<Invitation> = HashSet::new();
    let mut offered: HashSet<Invitation> = HashSet::new();
    let mut unconfirmed = 0;
    let publishing = async {
        // Until the broker is gone: a batch that ends without every confirm is the last one.
        loop {
            let batch = cycles(Workload::Incoming, 2000);
            let outcomes = publisher.publish_batch(&batch).await;
            offered.extend(batch.iter().map(|publication| publication.invitation));
            confirmed.extend(
                batch
                    .iter()
                    .zip(&outcomes)
                    .filter(|(_, outcome)| **outcome == Published::Confirmed)
                    .map(|(publication, _)| publication.invitation),
            );
            unconfirmed += outcomes.iter().filter(|outcome| **outcome == Published::Unconfirmed).count();
            if unconfirmed > 0 {
                return;
            }
        }
    };
    let killing = async {
        eventually("publishing is under way", async || {
            node.queue_depth(&vhost_of(&config), Queue::Incoming.as_str()).await > 2000
        })
        .await;
        node.kill().await;
    };
    tokio::join!(publishing, killing);
    assert!(!confirmed.is_empty() && unconfirmed > 0);
    assert!(publisher.ready().await.is_err(), "nobody is there");

    // The worker starts while the broker is away.
    let (worker, handler) = (Worker::new(&config, 100), Counting::new());
    worker.consume(Queue::Incoming, &handler);
    node.start_again().await;
    eventually("the publisher is back", async || publisher.ready().await.is_ok()).await;
    assert_eq!(publisher.ready().await.unwrap().missing, [], "the queues were durable");
    let last = cycles(Workload::Incoming, 10);
    assert_eq!(publisher.publish_batch(&last).await, [Published::Confirmed; 10]);
    confirmed.extend(last.iter().map(|publication| publication.invitation));
    offered.extend(last.iter().map(|publication| publication.invitation));

    eventually("every confirmed message came", async || {
        let counts = handler.handled.lock().unwrap();
        confirmed.iter().all(|invitation| counts.contains_key(invitation))
    })
    .await;
    let counts = handler.handled.lock().unwrap();
    assert!(counts.keys().all(|invitation| offered.contains(invitation)), "nothing came from nowhere");
}

#[tokio::test]
async fn a_worker_at_work_finds_the_broker_again_and_ends_what_it_had() {
    let node = RabbitMq::start().await;
    let config = config_of(&node.amqp_uri(&virtual_host(&node).await));
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.publish_batch(&cycles(Workload::Outgoing, 20)).await;
    let (worker, handler) = (Worker::new(&config, 4), Counting::gated(0));
    worker.consume(Queue::Outgoing, &handler);
    eventually("four are at work", async || handler.started() == 4).await;

    node.kill().await;
    node.start_again().await;
    handler.gate.add_permits(1000);
    eventually("all were handled", async || handler.distinct() == 20).await;
    // The broker may not have seen an ack before it died: that message comes again, and the store refuses it.
    assert!((20..=24).contains(&handler.started()), "{}", handler.started());
    eventually("the publisher is back too", async || publisher.ready().await.is_ok()).await;
    eventually("the queue is empty", async || {
        publisher.depths().await.is_ok_and(|depths| depths.iter().all(|depth| depth.messages == 0))
    })
    .await;
}

fn vhost_of(config: &broker::Config) -> String {
    use model::secret::ExposeSecret as _;
    config.url.expose_secret().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_that_was_given_up_while_it_stood_is_made_again_by_every_lane() {
    let node = shared().await;
    let proxy = CountingProxy::start(format!("127.0.0.1:{}", node.port)).await;
    let uri =
        node.amqp_uri(&virtual_host(node).await).replace(&node.port.to_string(), &proxy.port().to_string());
    let config = Config { confirm_timeout_seconds: NonZeroU32::MIN, ..config_of(&uri) };
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.ready().await.unwrap();
    let one = cycles(Workload::Incoming, 1);
    assert_eq!(publisher.publish_batch(&one).await, [Published::Confirmed]);

    // The broker's answer takes too long for one lane; the connection itself still stands.
    proxy.delay(Duration::from_secs(4));
    assert_eq!(publisher.publish_batch(&one).await, [Published::Unconfirmed]);
    assert!(!publisher.is_connected());
    proxy.delay(Duration::ZERO);
    eventually("there is a connection again", async || publisher.ready().await.is_ok()).await;
    publisher.ready().await.unwrap();
    assert_eq!(publisher.publish_batch(&one).await, [Published::Confirmed]);
}
