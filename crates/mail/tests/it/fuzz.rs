//! Some hundred of the cases that `make fuzz` plays by the ten thousand.

use futures_util::{StreamExt as _, stream};

use crate::answers::Fickle;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_of_a_pop3_server_makes_a_session_hang_end_or_believe_too_much() {
    stream::iter(0..8)
        .for_each_concurrent(8, async |lane| {
            let server = Fickle::start().await;
            for number in 0..50 {
                server.pop3(lane * 50 + number).await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_of_an_smtp_server_makes_a_message_count_as_sent_that_was_not_taken() {
    stream::iter(0..8)
        .for_each_concurrent(8, async |lane| {
            let server = Fickle::start().await;
            for number in 0..50 {
                server.smtp(lane * 50 + number).await;
            }
        })
        .await;
}
