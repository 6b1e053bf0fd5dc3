//! Consuming: slots, acks, what cannot be decoded, and the times when nothing may be taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::{Consumer, Published, Publisher, Queue};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::types::AMQPValue;
use model::workload::Workload;
use tokio::sync::Semaphore;

use crate::equipment::{Counting, Worker, bare, config, cycles, eventually};

async fn depth(publisher: &Publisher, queue: Queue) -> u32 {
    let depths = publisher.depths().await.unwrap();
    depths.iter().find(|depth| depth.queue == queue).unwrap().messages
}

#[tokio::test]
async fn what_cannot_be_decoded_is_kept_with_its_reason_and_the_others_go_on() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.ready().await.unwrap();
    let bare = bare(&config).await;
    let channel = bare.create_channel().await.unwrap();
    let garbage = |content_type: &'static str, body: Vec<u8>| {
        let channel = channel.clone();
        async move {
            let properties = BasicProperties::default().with_content_type(content_type.into());
            let queue = Queue::Incoming.as_str().into();
            let options = BasicPublishOptions::default();
            channel.basic_publish("".into(), queue, options, &body, properties).await.unwrap();
        }
    };
    let cycle = "application/x-protobuf; proto=lockstep.broker.v1.CycleInvitation";
    garbage("text/plain", b"hello".to_vec()).await;
    publisher.publish_batch(&cycles(Workload::Incoming, 5)).await;
    garbage(cycle, vec![0xff; 100_000]).await;
    publisher.publish_batch(&cycles(Workload::Incoming, 5)).await;

    let (worker, handler) = (Worker::new(&config, 2), Counting::new());
    worker.consume(Queue::Incoming, &handler);
    eventually("the good ones are handled", async || handler.distinct() == 10).await;
    eventually("the others are kept", async || depth(&publisher, Queue::Dead).await == 2).await;
    assert_eq!(depth(&publisher, Queue::Incoming).await, 0);

    for (reason, content_type, bytes, kept) in [
        ("the content type is not application/x-protobuf", "text/plain", 5, 5),
        ("the body is not a message of that type", cycle, 100_000, 65_536),
    ] {
        let options = BasicGetOptions { no_ack: true };
        let message =
            channel.basic_get(Queue::Dead.as_str().into(), options).await.unwrap().unwrap().delivery;
        let headers = message.properties.headers().as_ref().unwrap().inner();
        let text = |name: &str| match &headers[name] {
            AMQPValue::LongString(text) => text.to_string(),
            other => panic!("{name} is {other:?}"),
        };
        assert!(text("lockstep-reason").starts_with(reason), "{}", text("lockstep-reason"));
        assert_eq!(text("lockstep-queue"), "lockstep.incoming");
        assert_eq!(text("lockstep-content-type"), content_type);
        assert!(text("lockstep-received-at").starts_with("20"));
        assert_eq!(headers["lockstep-bytes"], AMQPValue::LongLongInt(bytes));
        assert_eq!(message.data.len(), kept);
        assert_eq!(*message.properties.delivery_mode(), Some(2));
    }
}

#[tokio::test]
async fn never_more_handlers_than_slots_over_all_the_queues_that_share_them() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    let mut batch = cycles(Workload::Incoming, 300);
    batch.extend(cycles(Workload::Outgoing, 300));
    publisher.publish_batch(&batch).await;

    let (worker, handler) = (Worker::new(&config, 7), Counting::gated(0));
    for queue in [Queue::Incoming, Queue::Outgoing] {
        worker.consume(queue, &handler);
    }
    eventually("every slot is taken", async || handler.at_work.load(Ordering::SeqCst) == 7).await;
    handler.gate.add_permits(100);
    eventually("a hundred ended and the slots are full", async || handler.started() == 107).await;
    handler.gate.add_permits(500);
    eventually("all ended", async || handler.distinct() == 600 && worker.slots.available_permits() == 7)
        .await;
    assert_eq!(handler.most_at_once.load(Ordering::SeqCst), 7);
    assert_eq!(handler.started(), 600, "each was handled once");
}

#[tokio::test]
async fn a_queue_that_leaves_slots_to_others_never_has_them_and_the_others_may_have_all() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.publish_batch(&cycles(Workload::Incoming, 50)).await;
    let (worker, incoming, outgoing) = (Worker::new(&config, 7), Counting::gated(0), Counting::gated(0));
    let bound = Arc::new(Semaphore::new(5));
    worker.consume_within(Some(bound.clone()), Queue::Incoming, &incoming);
    worker.consume(Queue::Outgoing, &outgoing);
    let at_work = |handler: &Arc<Counting>| handler.at_work.load(Ordering::SeqCst);
    eventually("it has what it may", async || at_work(&incoming) == 5).await;
    publisher.publish_batch(&cycles(Workload::Outgoing, 50)).await;
    eventually("the others have the rest", async || at_work(&outgoing) == 2).await;
    assert_eq!((at_work(&incoming), worker.slots.available_permits()), (5, 0));
    incoming.gate.add_permits(50);
    eventually("incoming is done", async || incoming.distinct() == 50 || at_work(&outgoing) == 7).await;
    outgoing.gate.add_permits(50);
    eventually("all ended", async || {
        incoming.distinct() == 50 && outgoing.distinct() == 50 && worker.slots.available_permits() == 7
    })
    .await;
    assert_eq!((incoming.most_at_once.load(Ordering::SeqCst), bound.available_permits()), (5, 5));
}

#[tokio::test]
async fn what_a_busy_worker_has_no_slot_for_goes_to_another() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.publish_batch(&cycles(Workload::Incoming, 4)).await;

    // Two slots, one of them taken by other work; the broker has sent two deliveries ahead.
    let (busy, stuck) = (Worker::new(&config, 2), Counting::gated(0));
    let _other_work = Arc::clone(&busy.slots).acquire_owned().await.unwrap();
    busy.consume(Queue::Incoming, &stuck);
    eventually("the free slot is taken", async || stuck.started() == 1).await;

    let (free, quick) = (Worker::new(&config, 2), Counting::new());
    free.consume(Queue::Incoming, &quick);
    eventually("the others are handled elsewhere", async || quick.distinct() == 3).await;
    assert_eq!((stuck.started(), quick.started()), (1, 3));
}

#[tokio::test]
async fn when_claims_cannot_be_asked_nothing_is_taken_until_they_can_and_nothing_is_lost() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.publish_batch(&cycles(Workload::Incoming, 50)).await;
    let (worker, handler) = (Worker::new(&config, 5), Counting::gated(10));
    worker.consume(Queue::Incoming, &handler);
    eventually("ten ended and five are at work", async || handler.started() == 15).await;

    handler.askable.store(false, Ordering::SeqCst);
    handler.gate.add_permits(5);
    eventually("a claim could not be asked", async || handler.refused.load(Ordering::SeqCst) > 0).await;
    eventually("all is back in the queue", async || depth(&publisher, Queue::Incoming).await == 35).await;
    let refused = handler.refused.load(Ordering::SeqCst);
    assert!(refused <= 5, "no more than the slots: {refused}");
    assert!(handler.at_work.load(Ordering::SeqCst) == 0, "what was claimed before has ended");

    handler.gate.add_permits(35);
    handler.askable.store(true, Ordering::SeqCst);
    eventually("all were handled", async || handler.distinct() == 50).await;
    assert_eq!(handler.started(), 50, "each was claimed once");
    assert_eq!(handler.refused.load(Ordering::SeqCst), refused, "nothing was tried meanwhile");
}

#[tokio::test]
async fn at_shutdown_what_has_not_started_goes_back_and_what_runs_may_end_and_ack() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    publisher.publish_batch(&cycles(Workload::Incoming, 10)).await;
    let (worker, handler) = (Worker::new(&config, 3), Counting::gated(0));
    let consuming = worker.consume(Queue::Incoming, &handler);
    eventually("three are at work", async || handler.started() == 3).await;

    worker.shutdown.cancel();
    consuming.await.unwrap();
    eventually("the others are back", async || depth(&publisher, Queue::Incoming).await == 7).await;
    handler.gate.add_permits(3);
    worker.tasks.close();
    worker.tasks.wait().await;
    assert_eq!(handler.started(), 3);
    assert_eq!(depth(&publisher, Queue::Incoming).await, 7, "what was claimed is not there again");
}

#[tokio::test]
async fn a_handler_that_panics_loses_its_slot_and_stops_nobody() {
    let config = config().await;
    let publisher = Publisher::new(&config, "test").unwrap();
    let batch = cycles(Workload::Act, 10);
    publisher.publish_batch(&batch).await;
    let (worker, handler) = (Worker::new(&config, 1), Counting::new());
    *handler.panics_on.lock().unwrap() = Some(batch[4].invitation);
    worker.consume(Queue::Calendar, &handler);
    eventually("all were started", async || handler.distinct() == 10).await;
    eventually("the slot is free", async || worker.slots.available_permits() == 1).await;
    assert_eq!(handler.started(), 10, "the one that panicked did not come again");
    assert_eq!(depth(&publisher, Queue::Calendar).await, 0);
}

#[tokio::test]
async fn a_consumer_waits_for_its_queue_and_never_declares_it() {
    let config = config().await;
    let (worker, handler) = (Worker::new(&config, 1), Counting::new());
    worker.consume(Queue::Incoming, &handler);
    let consumer = Consumer::new(&config, "test").unwrap();
    assert!(!consumer.is_connected(), "it connects when it is first used");
    eventually("it has connected and asked", async || {
        broker::check(&config).await.is_ok_and(|report| report.missing == Queue::ALL)
    })
    .await;

    let publisher = Publisher::new(&config, "test").unwrap();
    assert_eq!(publisher.ready().await.unwrap().missing, Queue::ALL);
    assert_eq!(publisher.publish_batch(&cycles(Workload::Incoming, 3)).await, [Published::Confirmed; 3]);
    eventually("what came then was handled", async || handler.distinct() == 3).await;
}
