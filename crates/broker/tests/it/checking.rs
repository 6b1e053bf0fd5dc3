//! What `doctor` says about each way in which a broker cannot be used.

use broker::{Error, Publisher, Queue, check};

use crate::equipment::{config, config_of, shared, virtual_host};

#[tokio::test]
async fn a_good_broker_is_reported_with_its_queues_and_is_not_changed() {
    let config = config().await;
    let fresh = check(&config).await.unwrap();
    assert_eq!((fresh.queues.len(), fresh.missing.as_slice()), (0, Queue::ALL.as_slice()));
    assert_eq!(check(&config).await.unwrap(), fresh, "looking declared nothing");
    assert_eq!(fresh.to_string(), "no queues yet; the scheduler declares them when it starts");
    Publisher::new(&config, "test").unwrap().ready().await.unwrap();
    let ready = check(&config).await.unwrap();
    assert_eq!((ready.queues.len(), ready.missing.len()), (5, 0));
    assert_eq!(
        ready.to_string(),
        "messages waiting: lockstep.incoming 0, lockstep.outgoing 0, lockstep.calendar 0, lockstep.jobs 0, \
         lockstep.dead 0"
    );
}

#[tokio::test]
async fn each_cause_has_its_error_with_a_remedy_and_without_the_password() {
    let node = shared().await;
    let name = virtual_host(node).await;
    let uri = node.amqp_uri(&name);
    // A listener that was closed again: nobody is there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let wrong = |url: String| async move { check(&config_of(&url)).await.unwrap_err() };

    let unreachable = wrong(format!("amqp://guest:hunter2@127.0.0.1:{port}/%2f")).await;
    assert!(matches!(unreachable, Error::Unreachable { .. }), "{unreachable:?}");
    assert!(!unreachable.needs_a_person());
    let plain = wrong(uri.replace("amqp://guest:guest", "amqps://guest:hunter2")).await;
    assert!(matches!(plain, Error::Tls { .. }), "{plain:?}");
    let denied = wrong(uri.replace("guest:guest", "guest:hunter2")).await;
    assert!(matches!(denied, Error::Denied { .. }), "{denied:?}");
    let absent = wrong(uri.replace(&name, "hunters")).await;
    assert!(matches!(&absent, Error::VirtualHost { vhost, .. } if vhost == "hunters"), "{absent:?}");
    assert!(absent.to_string().contains("rabbitmqctl add_vhost hunters"), "{absent}");
    let address = wrong("https://guest:hunter2@127.0.0.1/".to_owned()).await;
    assert!(matches!(address, Error::Address { .. }), "{address:?}");
    for error in [unreachable, plain, denied, absent, address] {
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let config = config_of(&uri.replace("guest:guest", "guest:hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}
