//! The proxy counts, and misbehaves only when told to.

use std::time::Duration;

use servers::CountingProxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Says everything back.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn connect(proxy: &CountingProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn say(stream: &mut TcpStream, words: &[u8]) -> Vec<u8> {
    stream.write_all(words).await.unwrap();
    let mut heard = vec![0; words.len()];
    let mut count = 0;
    while count < heard.len() {
        match stream.read(&mut heard[count..]).await {
            Ok(more) if more > 0 => count += more,
            _ => break,
        }
    }
    heard.truncate(count);
    heard
}

async fn nobody_left(proxy: &CountingProxy) {
    let gone = async {
        while proxy.current() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[tokio::test]
async fn one_connection_after_another_is_never_two() {
    let proxy = CountingProxy::start(echo().await).await;
    for _ in 0..200 {
        let mut stream = connect(&proxy).await;
        assert_eq!(say(&mut stream, b"hello").await, b"hello");
        // Closing alone may come late: a server that another test starts right now has a copy of the socket until
        // it is executed.
        stream.shutdown().await.unwrap();
    }
    assert_eq!((proxy.maximum(), proxy.total()), (1, 200));
    nobody_left(&proxy).await;

    let mut three = [connect(&proxy).await, connect(&proxy).await, connect(&proxy).await];
    for stream in &mut three {
        assert_eq!(say(stream, b"x").await, b"x");
    }
    assert_eq!((proxy.current(), proxy.maximum(), proxy.total()), (3, 3, 203));
}

#[tokio::test]
async fn it_refuses_and_accepts_again() {
    let proxy = CountingProxy::start(echo().await).await;
    proxy.refuse(true);
    let refused = async { while TcpStream::connect(proxy.address()).await.is_ok() {} };
    timeout(Duration::from_secs(10), refused).await.unwrap();
    proxy.refuse(false);
    let accepted = async { while TcpStream::connect(proxy.address()).await.is_err() {} };
    timeout(Duration::from_secs(10), accepted).await.unwrap();
}

#[tokio::test]
async fn it_holds_what_is_said_and_lets_it_go() {
    let proxy = CountingProxy::start(echo().await).await;
    let mut stream = connect(&proxy).await;
    assert_eq!(say(&mut stream, b"before").await, b"before");
    proxy.blackhole(true);
    assert!(timeout(Duration::from_millis(100), say(&mut stream, b"held")).await.is_err());
    proxy.blackhole(false);
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"held");
}

#[tokio::test]
async fn an_end_that_it_holds_is_not_heard_and_the_server_counts_on() {
    let proxy = CountingProxy::start(echo().await).await;
    let mut stream = connect(&proxy).await;
    assert_eq!(say(&mut stream, b"before").await, b"before");
    proxy.blackhole(true);
    drop(stream);
    let over = async {
        while proxy.behind() > 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(Duration::from_millis(100), over).await.is_err(), "its end is lost");
    // Nor does it get through while the next one waits to be let in.
    let mut next = connect(&proxy).await;
    next.write_all(b"held").await.unwrap();
    assert_eq!(proxy.behind(), 1);
    proxy.blackhole(false);
    let mut heard = [0; 4];
    next.read_exact(&mut heard).await.unwrap();
    drop(next);
    nobody_left(&proxy).await;
    assert_eq!(proxy.behind(), 0);
}

#[tokio::test]
async fn it_cuts_all_or_after_a_number_of_bytes() {
    let proxy = CountingProxy::start(echo().await).await;
    let mut stream = connect(&proxy).await;
    assert_eq!(say(&mut stream, b"hello").await, b"hello");
    proxy.cut_all();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    nobody_left(&proxy).await;

    proxy.cut_after_server_bytes(Some(3));
    assert_eq!(say(&mut connect(&proxy).await, b"hello").await, b"hel");
    proxy.cut_after_server_bytes(None);
    proxy.cut_after_client_bytes(Some(5));
    let mut stream = connect(&proxy).await;
    stream.write_all(b"hello more").await.unwrap();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    assert!(heard.len() <= 5, "no more than what was let through can come back");
}

#[tokio::test]
async fn what_falls_silent_is_counted_by_its_server_until_that_closes_it() {
    let proxy = CountingProxy::start(echo().await).await;
    let mut stream = connect(&proxy).await;
    assert_eq!(say(&mut stream, b"hello").await, b"hello");
    proxy.sever(Duration::from_millis(600));
    stream.write_all(b"are you there?").await.unwrap();
    stream.shutdown().await.unwrap();
    // A new one works, and is one more for the server.
    let mut other = connect(&proxy).await;
    assert_eq!(say(&mut other, b"hello").await, b"hello");
    assert_eq!((proxy.behind(), proxy.most_behind()), (2, 2));
    let closed = async {
        while proxy.behind() > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), closed).await.unwrap();
    let heard = timeout(Duration::from_millis(100), stream.read(&mut [0; 16])).await;
    assert!(heard.is_err(), "not even an end is heard: {heard:?}");
    assert_eq!(say(&mut other, b"hello").await, b"hello");
}
