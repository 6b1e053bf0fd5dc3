//! Publishing: what is said of each message.

use broker::{Invitation, JobInvitation, Publication, Published, Publisher, Queue, TraceContext};
use lapin::options::QueueDeleteOptions;
use model::clock::new_id;
use model::workload::Workload;
use servers::RabbitMq;

use crate::equipment::{Counting, Worker, bare, config, config_of, cycles, eventually, virtual_host};

#[tokio::test]
async fn ten_thousand_confirmed_invitations_are_each_consumed_once() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    let batch = cycles(Workload::Incoming, 10_000);
    let outcomes = publisher.publish_batch(&batch).await;
    assert_eq!(outcomes, vec![Published::Confirmed; batch.len()]);

    let (worker, handler) = (Worker::new(&config, 50), Counting::new());
    worker.consume(Queue::Incoming, &handler);
    eventually("all are consumed", async || handler.distinct() == batch.len()).await;
    assert_eq!(handler.started(), batch.len());
    let counts = handler.handled.lock().unwrap();
    assert!(batch.iter().all(|publication| counts.contains_key(&publication.invitation)));
}

#[tokio::test]
async fn a_message_without_a_queue_is_returned_and_the_others_are_confirmed() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.ready().await.unwrap();
    let channel = bare(&config).await.create_channel().await.unwrap();
    channel.queue_delete(Queue::Outgoing.as_str().into(), QueueDeleteOptions::default()).await.unwrap();

    let mut batch = cycles(Workload::Incoming, 400);
    for (at, lost) in cycles(Workload::Outgoing, 100).into_iter().enumerate() {
        batch.insert(at * 5, lost);
    }
    let outcomes = publisher.publish_batch(&batch).await;
    for (publication, outcome) in batch.iter().zip(outcomes) {
        let gone = publication.invitation.queue() == Queue::Outgoing;
        assert_eq!(outcome, if gone { Published::Returned } else { Published::Confirmed });
    }
    assert_eq!(publisher.ready().await.unwrap().missing, [Queue::Outgoing]);
    let again = publisher.publish_batch(&cycles(Workload::Outgoing, 1)).await;
    assert_eq!(again, [Published::Confirmed]);
    let depths = publisher.depths().await.unwrap();
    let messages = |queue| depths.iter().find(|depth| depth.queue == queue).unwrap().messages;
    assert_eq!((messages(Queue::Incoming), messages(Queue::Outgoing)), (400, 1));
}

#[tokio::test]
async fn the_trace_context_survives_and_is_absent_where_there_was_none() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    let trace = TraceContext {
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        tracestate: "lockstep=1,other=2".to_owned(),
    };
    let job = |trace| Publication {
        invitation: Invitation::Job(JobInvitation { organization: new_id(), job: new_id(), claim: 3 }),
        trace,
    };
    let batch = [job(Some(trace.clone())), job(None)];
    assert_eq!(publisher.publish_batch(&batch).await, [Published::Confirmed; 2]);

    let (worker, handler) = (Worker::new(&config, 1), Counting::new());
    worker.consume(Queue::Jobs, &handler);
    eventually("both came", async || handler.started() == 2).await;
    let deliveries = handler.deliveries.lock().unwrap();
    assert_eq!(*deliveries, [(batch[0].invitation, Some(trace)), (batch[1].invitation, None)]);
}

#[tokio::test]
async fn a_blocking_broker_is_seen_and_nothing_is_published_until_it_accepts_again() {
    let node = RabbitMq::start().await;
    let config = config_of(&node.amqp_uri(&virtual_host(&node).await));
    let veteran = Publisher::new(&config, "test").unwrap();
    assert!(!veteran.ready().await.unwrap().blocked);
    assert!(broker::check(&config).await.unwrap().missing.is_empty());

    node.set_disk_alarm(true).await;
    assert!(!veteran.is_blocked(), "the broker tells only those who publish");
    assert!(veteran.ready().await.unwrap().blocked);
    assert!(veteran.is_blocked());
    assert_eq!(veteran.publish_batch(&cycles(Workload::Incoming, 3)).await, [Published::Unconfirmed; 3]);
    // One that connects now must learn it too, before it publishes anything.
    let newcomer = Publisher::new(&config, "test").unwrap();
    assert!(newcomer.ready().await.unwrap().blocked);
    let refused = broker::check(&config).await.unwrap_err();
    assert!(matches!(refused, broker::Error::Blocked { .. }), "{refused}");

    // One that is in the middle of its work sees it too, and answers for every message.
    let hasty = Publisher::new(&config, "test").unwrap();
    let outcomes = hasty.publish_batch(&cycles(Workload::Outgoing, 3000)).await;
    assert_eq!(outcomes.len(), 3000);
    assert!(outcomes.contains(&Published::Unconfirmed) && hasty.is_blocked());

    node.set_disk_alarm(false).await;
    for publisher in [&veteran, &newcomer, &hasty] {
        eventually("the broker accepts again", async || !publisher.is_blocked()).await;
        assert!(!publisher.ready().await.unwrap().blocked);
        assert_eq!(publisher.publish_batch(&cycles(Workload::Incoming, 3)).await, [Published::Confirmed; 3]);
    }
    let depths = newcomer.depths().await.unwrap();
    assert_eq!(depths.iter().find(|depth| depth.queue == Queue::Incoming).unwrap().messages, 9);
}
