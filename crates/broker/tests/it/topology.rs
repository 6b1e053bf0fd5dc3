//! The queues: as data, and as the broker has them.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::{Error, Publisher, Queue, topology};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::equipment::{bare, config, config_of, shared, virtual_host};

#[test]
fn the_topology_is_what_was_decided() {
    insta::assert_json_snapshot!(topology(Duration::from_secs(330)));
}

#[tokio::test]
async fn the_broker_has_exactly_the_declared_queues() {
    let node = shared().await;
    let name = virtual_host(node).await;
    let publisher = Publisher::new(&config_of(&node.amqp_uri(&name)), "test").unwrap();
    publisher.ready().await.unwrap();

    let columns =
        ["list_queues", "-p", &name, "--formatter", "json", "name", "durable", "auto_delete", "arguments"];
    let listed: Vec<serde_json::Value> = serde_json::from_str(&node.control(&columns).await).unwrap();
    let found: BTreeMap<&str, serde_json::Value> = listed
        .iter()
        .map(|queue| {
            assert_eq!((&queue["durable"], &queue["auto_delete"]), (&true.into(), &false.into()));
            // rabbitmqctl writes a table as rows of name, type and value.
            let arguments = queue["arguments"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| (row[0].as_str().unwrap().to_owned(), row[2].clone()))
                .collect();
            (queue["name"].as_str().unwrap(), serde_json::Value::Object(arguments))
        })
        .collect();
    let declared: BTreeMap<&str, serde_json::Value> = topology(Duration::from_secs(330))
        .into_iter()
        .map(|declaration| (declaration.queue.as_str(), serde_json::to_value(declaration.arguments).unwrap()))
        .collect();
    assert_eq!(found, declared);
}

#[tokio::test]
async fn a_missing_queue_is_told_once_and_only_by_who_declared_it() {
    let config = config().await;
    let (first, second) =
        (Publisher::new(&config, "test").unwrap(), Publisher::new(&config, "test").unwrap());
    assert_eq!(first.ready().await.unwrap().missing, Queue::ALL);
    assert_eq!(first.ready().await.unwrap().missing, []);
    assert_eq!(second.ready().await.unwrap().missing, []);
    assert!(first.is_connected());
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_an_error_that_names_it_and_says_what_to_do() {
    let config = config().await;
    let channel = bare(&config).await.create_channel().await.unwrap();
    let name = Queue::Outgoing.as_str();
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();

    let refused = Publisher::new(&config, "test").unwrap().ready().await.unwrap_err();
    assert!(matches!(refused, Error::Topology { queue: Queue::Outgoing, .. }), "{refused:?}");
    assert!(refused.needs_a_person());
    let text = refused.to_string();
    assert!(text.contains("rabbitmqctl delete_queue lockstep.outgoing"), "{text}");
    assert!(text.contains("x-"), "the broker's words name the argument: {text}");
    assert!(matches!(broker::check(&config).await, Err(Error::Topology { queue: Queue::Outgoing, .. })));
}
