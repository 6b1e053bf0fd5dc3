//! What is known of a connection's end when nobody said QUIT: closed when the server's end was heard, and in doubt when not.

use std::time::Duration;

use mail::transport::{Ends, Settings};
use model::endpoint::Tls;

use crate::pop3_opening::{AMPLE, sign_in_with};
use crate::pop3_script::{Scripted, Talk, USUAL};

/// For a server that closes; for one that does not it is waited out.
const PATIENCE: Duration = Duration::from_millis(500);

/// Signs in at a server with this script, so that its connection leaves its end.
async fn signed_in<F: Future<Output = ()> + Send>(
    script: impl Fn(Talk) -> F + Send + Sync + 'static,
) -> (Scripted, mail::pop3::Session, Ends) {
    let server = Scripted::start(Tls::Implicit, script).await;
    let ends = Ends::default();
    let settings = Settings { ends: Some(ends.clone()), ..server.settings(AMPLE) };
    let session = sign_in_with(&server.endpoint, &settings).await.unwrap();
    (server, session, ends)
}

#[tokio::test]
async fn a_dropped_connection_is_closed_once_the_server_closes_too() {
    let (_server, session, ends) = signed_in(async |mut talk: Talk| {
        talk.welcome(USUAL).await;
        // To the end of what the client says, and then its own end.
        while !talk.hear().await.is_empty() {}
    })
    .await;
    ends.part(Duration::ZERO).await.unwrap();
    drop(session);
    ends.part(AMPLE).await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_heard_to_close_leaves_nothing_to_wait_for() {
    let (_server, mut session, ends) = signed_in(async |mut talk: Talk| {
        talk.welcome(USUAL).await;
        talk.hear().await;
    })
    .await;
    session.stat().await.unwrap_err();
    drop(session);
    ends.part(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn an_answered_quit_leaves_nothing_to_wait_for() {
    let (_server, session, ends) = signed_in(async |mut talk: Talk| {
        talk.welcome(USUAL).await;
        talk.answer("+OK goodbye\r\n").await;
        // It said so; that it lingers is its own affair.
        tokio::time::sleep(AMPLE).await;
    })
    .await;
    assert!(session.quit().await.unwrap());
    ends.part(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_heard_is_in_doubt_until_it_closes() {
    let (_server, mut session, ends) = signed_in(async |mut talk: Talk| {
        talk.welcome(USUAL).await;
        talk.hear().await;
        tokio::time::sleep(PATIENCE * 4).await;
    })
    .await;
    let stat = tokio::time::timeout(PATIENCE / 4, session.stat()).await;
    assert!(stat.is_err(), "it says nothing");
    drop(session);
    let unheard = ends.part(PATIENCE).await.unwrap_err();
    // What is known to be in doubt is told once.
    ends.part(Duration::ZERO).await.unwrap();
    assert!(unheard.closed(AMPLE).await, "it closed in the end");
}

#[tokio::test]
async fn a_server_that_never_closes_is_in_doubt_for_as_long_as_anybody_listens() {
    let (_server, session, ends) = signed_in(async |mut talk: Talk| {
        talk.welcome(USUAL).await;
        tokio::time::sleep(AMPLE).await;
    })
    .await;
    drop(session);
    assert!(!ends.part(PATIENCE).await.unwrap_err().closed(PATIENCE).await);
}

#[tokio::test]
async fn who_falls_silent_says_nothing_more_and_hears_what_was_answered() {
    let (server, mut session, ends) = signed_in(async |mut talk: Talk| {
        talk.welcome(USUAL).await;
        talk.answer("+OK 3 120\r\n").await;
        talk.hear().await;
    })
    .await;
    let mut asked = Box::pin(session.stat());
    // Said, and the answer has not been looked for.
    assert!(futures_util::FutureExt::now_or_never(&mut asked).is_none());
    ends.fall_silent();
    assert_eq!(asked.await.unwrap().count, 3);
    let said = server.heard();
    session.stat().await.unwrap_err();
    sign_in_with(&server.endpoint, &Settings { ends: Some(ends.clone()), ..server.settings(AMPLE) })
        .await
        .unwrap_err();
    drop(session);
    ends.part(AMPLE).await.unwrap();
    assert_eq!(server.heard(), said, "not a word more");
}

#[tokio::test]
async fn a_server_that_goes_on_and_on_hears_the_reset() {
    let (_server, session, ends) = signed_in(async |mut talk: Talk| {
        talk.welcome(USUAL).await;
        let much = vec![b'x'; 1024 * 1024];
        // The end of the client is not looked for: only a write that fails ends this.
        for _ in 0..1000 {
            talk.say(&much).await;
        }
    })
    .await;
    drop(session);
    ends.part(AMPLE).await.unwrap();
}
