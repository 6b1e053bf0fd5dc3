//! One connection through the proxy: bytes both ways until an end, a cut or a budget that is used up.

use std::{future::pending, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::sleep,
};

use super::{
    Controls,
    counts::{Behind, Counted},
};

pub(super) async fn forward(
    mut client: TcpStream,
    (proxy, peer): (SocketAddr, SocketAddr),
    target: String,
    counted: Counted,
    mut controls: watch::Receiver<Controls>,
) {
    let Controls { cuts, severed, .. } = *controls.borrow();
    let (mut cut, mut silent) = (controls.clone(), controls.clone());
    let life = async {
        if controls.wait_for(|controls| !controls.blackhole).await.is_err() {
            return;
        }
        let Ok(mut server) = TcpStream::connect(target).await else { return };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let behind = counted.behind(proxy.port(), peer);
        let idle = tokio::select! {
            // Nothing passes that comes after.
            biased;
            silent = silent.wait_for(|controls| controls.severed != severed) => match silent {
                // What the client had ended by then has passed.
                Ok(controls) if !controls.silenced.contains(&peer.port()) => return,
                Ok(controls) => controls.idle,
                Err(_) => return,
            },
            () = both_ways(&mut client, &mut server, (counted, &behind), &controls) => return,
        };
        // The client hears of nothing any more, and the server only of its own clock.
        behind.hold(true);
        sleep(idle).await;
        drop((server, behind));
        pending::<()>().await;
    };
    tokio::select! {
        // An error means that the proxy's owner is gone, which cuts as well.
        _ = cut.wait_for(|controls| controls.cuts != cuts) => {}
        () = life => {}
    }
}

async fn both_ways(
    client: &mut TcpStream,
    server: &mut TcpStream,
    (counted, behind): (Counted, &Behind),
    controls: &watch::Receiver<Controls>,
) {
    let Controls { client_bytes, server_bytes, .. } = *controls.borrow();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut there =
        Box::pin(one_way(from_client, to_server, client_bytes, (controls.clone(), behind), |_| {
            Duration::ZERO
        }));
    let mut back =
        Box::pin(one_way(from_server, to_client, server_bytes, (controls.clone(), behind), |controls| {
            controls.delay
        }));
    // With the end of one side the connection is over for whoever counts; what is on its way still arrives.
    tokio::select! {
        end = &mut there => {
            drop(counted);
            behind.is_over();
            if end == End::Closed {
                back.await;
            }
        }
        end = &mut back => {
            drop(counted);
            behind.is_over();
            if end == End::Closed {
                there.await;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The sender has no more to say.
    Closed,
    /// The budget is used up, or the connection broke: nothing more passes either way.
    Cut,
}

async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut budget: Option<u64>,
    (mut controls, behind): (watch::Receiver<Controls>, &Behind),
    delay: fn(&Controls) -> Duration,
) -> End {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        // What is held is held with its ends: the other side hears of none while the network loses everything.
        if controls.borrow().blackhole {
            behind.hold(true);
        }
        let pause = match controls.wait_for(|controls| !controls.blackhole).await {
            Ok(controls) => delay(&controls),
            Err(_) => return End::Cut,
        };
        let count = match read {
            Ok(0) => {
                let _ = to.shutdown().await;
                return End::Closed;
            }
            Ok(count) => count,
            Err(_) => return End::Cut,
        };
        behind.hold(false);
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let allowed = budget.map_or(count, |budget| usize::try_from(budget).unwrap_or(count).min(count));
        if to.write_all(&buffer[..allowed]).await.is_err() {
            return End::Cut;
        }
        if let Some(budget) = &mut budget {
            *budget -= allowed as u64;
            if *budget == 0 {
                return End::Cut;
            }
        }
    }
}
