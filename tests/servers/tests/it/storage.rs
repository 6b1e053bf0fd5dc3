//! Postgres, `RabbitMQ` and Redis.

use servers::{Postgres, RabbitMq, Redis};
use tokio_postgres::NoTls;

async fn count(url: &str, statement: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(statement, &[]).await.unwrap().get(0)
}

async fn execute(url: &str, statement: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap();
}

#[tokio::test]
async fn postgres_keeps_what_it_has_over_stop_and_kill_and_copies_databases() {
    let postgres = Postgres::start().await;
    postgres.create_database("first").await;
    execute(&postgres.owner_url("first"), "create table facts (fact text); insert into facts values ('Ä')")
        .await;
    postgres.create_database_from_template("second", "first").await;
    assert_eq!(
        count(&postgres.owner_url("second"), "select count(*) from facts where lower(fact) = 'ä'").await,
        1
    );
    postgres.drop_database("first").await;

    postgres.stop().await;
    postgres.start_again().await;
    assert_eq!(count(&postgres.owner_url("second"), "select count(*) from facts").await, 1);
    postgres.kill().await;
    postgres.start_again().await;
    assert_eq!(count(&postgres.owner_url("postgres"), "select count(*) from pg_database").await, 4);
}

#[tokio::test]
async fn redis_forgets_and_a_durable_redis_remembers() {
    let (forgetful, durable) = tokio::join!(Redis::start(), Redis::durable());
    for (redis, kept) in [(&forgetful, "$-1"), (&durable, "$1")] {
        assert_eq!(ask(redis, "SET k v").await, "+OK");
        redis.kill().await;
        redis.start_again().await;
        assert_eq!(ask(redis, "GET k").await, kept);
    }
}

async fn ask(redis: &Redis, command: &str) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", redis.port)).await.unwrap();
    stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    BufReader::new(stream).lines().next_line().await.unwrap().unwrap()
}

#[tokio::test]
async fn rabbitmq_counts_what_waits_and_blocks_who_publishes() {
    use lapin::{BasicProperties, Connection, ConnectionProperties, options::*, types::FieldTable};
    let rabbitmq = RabbitMq::start().await;
    rabbitmq.create_vhost("a test/1").await;
    let uri = rabbitmq.amqp_uri("a test/1");
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("work".into(), durable, FieldTable::default()).await.unwrap();
    let publish = async || {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), "work".into(), options, b"1", properties)
            .await
            .unwrap()
            .await
            .unwrap();
    };
    publish().await;
    publish().await;
    assert_eq!(rabbitmq.queue_depth("a test/1", "work").await, 2);

    rabbitmq.set_disk_alarm(true).await;
    let blocked = tokio::time::timeout(std::time::Duration::from_millis(300), publish()).await;
    assert!(blocked.is_err(), "a node with a disk alarm confirms nothing");
    rabbitmq.set_disk_alarm(false).await;

    rabbitmq.kill().await;
    rabbitmq.start_again().await;
    assert!(rabbitmq.queue_depth("a test/1", "work").await >= 2);
    rabbitmq.delete_vhost("a test/1").await;
    rabbitmq.delete_vhost("a test/1").await;

    rabbitmq.create_vhost("kept").await;
    rabbitmq.stop().await;
    rabbitmq.start_again().await;
    let vhost = async |name: &str| {
        let properties = ConnectionProperties::default();
        Connection::connect(&rabbitmq.amqp_uri(name), properties).await.map(drop)
    };
    vhost("kept").await.unwrap();
    rabbitmq.stop().await;
    rabbitmq.wipe();
    rabbitmq.start_again().await;
    vhost("/").await.unwrap();
    assert!(vhost("kept").await.is_err(), "it knows nothing of what was there");
}
