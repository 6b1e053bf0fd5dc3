//! Everything that an installation keeps, to be searched for what it must not: every column of every table, what the broker
//! set aside, and the ledger. It reads and puts back; it changes nothing.

use std::fmt::Write as _;
use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use redis::AsyncCommands as _;
use tokio_postgres::Client;

use crate::{Canary, Installation};

/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl Installation {
    /// Where a secret is kept as it must not be, in words.
    ///
    /// # Panics
    /// When a part does not answer.
    pub async fn keeps(&self, canary: &Canary) -> Vec<String> {
        let owner = self.database.owner().await.expect("a session of the owner");
        let mut places = tables_with(&owner, canary).await;
        for letter in self.dead_letters().await {
            places.extend(canary.is_in(&letter).then(|| "a message of lockstep.dead".to_owned()));
        }
        places.extend(canary.is_in(&self.ledger().await).then(|| "Redis".to_owned()));
        places
    }

    /// What could not be read and was set aside: the body and the properties of each message of `lockstep.dead`, which stay
    /// there.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub async fn dead_letters(&self) -> Vec<String> {
        let url = self.configuration.get("broker.url").unwrap_or_default();
        let connection =
            Connection::connect(url, ConnectionProperties::default()).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = broker::Queue::Dead.as_str();
        let mut letters = Vec::new();
        let waiting = channel.queue_declare(name.into(), options, FieldTable::default()).await;
        for _ in 0..waiting.map_or(0, |queue| queue.message_count()) {
            let got = channel.basic_get(name.into(), BasicGetOptions::default()).await;
            let Some(message) = got.expect("a message of the queue") else { break };
            let body = String::from_utf8_lossy(&message.delivery.data).into_owned();
            letters.push(format!("{body} {:?}", message.delivery.properties));
        }
        // Nothing was acked: with the end of the connection all of it is back in its place.
        connection.close(200, "".into()).await.expect("the end of a connection");
        letters
    }

    /// Every key of the ledger's database with its value.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn ledger(&self) -> String {
        let url = self.configuration.get("coordinator.redis_url").unwrap_or_default();
        let client = redis::Client::open(url).expect("the address of Redis");
        // It may have come back a moment ago, on a machine that is busy with what it was hit by.
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
        let mut connection = connection.expect("Redis answers");
        let keys: Vec<Vec<u8>> = connection.keys("*").await.expect("the keys");
        let mut text = String::new();
        for key in keys {
            let kind: String =
                redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.expect("a type");
            let read = match kind.as_str() {
                "hash" => redis::cmd("HGETALL").arg(&key).to_owned(),
                "set" => redis::cmd("SMEMBERS").arg(&key).to_owned(),
                "list" => redis::cmd("LRANGE").arg(&key).arg(0).arg(-1).to_owned(),
                "zset" => redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).to_owned(),
                "stream" => redis::cmd("XRANGE").arg(&key).arg("-").arg("+").to_owned(),
                _ => redis::cmd("GET").arg(&key).to_owned(),
            };
            let value: redis::Value = read.query_async(&mut connection).await.expect("a value");
            let _ = write!(text, "{} ", String::from_utf8_lossy(&key));
            write_value(&value, &mut text);
            text.push('\n');
        }
        text
    }
}

/// The tables that have it in any column: as text, in JSON, or as bytes.
async fn tables_with(owner: &Client, canary: &Canary) -> Vec<String> {
    let tables = "select c.relname::text from pg_class c
         where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace";
    let tables = owner.query(tables, &[]).await.expect("the names of the tables");
    assert!(tables.len() > 25, "{} tables", tables.len());
    let mut found = Vec::new();
    for table in tables {
        let table: String = table.get(0);
        let statement = format!(
            "select from \"{table}\" t where exists
                 (select from unnest($1::text[]) form where strpos(t::text, form) > 0) limit 1"
        );
        let rows = owner.query(&statement, &[&canary.forms()]).await.expect("the rows of a table");
        found.extend((!rows.is_empty()).then(|| format!("table {table}")));
    }
    found
}

/// Bytes as text, whatever they are in.
fn write_value(value: &redis::Value, text: &mut String) {
    match value {
        redis::Value::BulkString(bytes) => {
            let _ = write!(text, "{} ", String::from_utf8_lossy(bytes));
        }
        redis::Value::Array(values) | redis::Value::Set(values) => {
            for value in values {
                write_value(value, text);
            }
        }
        redis::Value::Map(pairs) => {
            for (name, value) in pairs {
                write_value(name, text);
                write_value(value, text);
            }
        }
        other => {
            let _ = write!(text, "{other:?} ");
        }
    }
}
