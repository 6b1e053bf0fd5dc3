//! Nothing stays behind, however the process ends that started the servers.

use std::{collections::HashMap, fs, path::Path, process::Stdio, time::Duration};

use servers::Redis;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::Command,
    time::{sleep, timeout},
};

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let met = async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(Duration::from_secs(60), met).await.is_ok(), "{what}");
}

/// Every living process that `ancestor` started, directly or not.
fn descendants(ancestor: u32) -> Vec<u32> {
    let parents: HashMap<u32, u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, parent(process)?)))
        .collect();
    let descends = |mut process: u32| {
        while let Some(next) = parents.get(&process) {
            if *next == ancestor {
                return true;
            }
            process = *next;
        }
        false
    };
    parents.keys().copied().filter(|process| descends(*process)).collect()
}

/// The parent of a process, see proc(5); none when it is gone or only waits for being reaped.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.next()?.parse().ok()
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let redis = Redis::start().await;
    let port = redis.port;
    drop(redis);
    until("the port closes", async || TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
}

#[tokio::test]
async fn a_server_outlives_the_runtime_that_started_it() {
    let started = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Redis::start())
    });
    let redis = started.await.unwrap();
    redis.kill().await;
    redis.start_again().await;
    assert!(TcpStream::connect(("127.0.0.1", redis.port)).await.is_ok());
}

#[tokio::test]
async fn a_killed_process_leaves_no_server_and_no_directory() {
    let mut dev =
        Command::new(env!("CARGO_BIN_EXE_dev")).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let mut ports: Vec<u16> = Vec::new();
    let mut directories = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        for word in line.split_whitespace().filter(|_| line.starts_with('#')) {
            if let Some(port) = word.strip_prefix("127.0.0.1:") {
                ports.push(port.parse().unwrap());
            } else if let Some(directory) = word.strip_suffix("/log") {
                directories.push(directory.to_owned());
            }
        }
        if line.starts_with("# Ready") {
            break;
        }
    }
    assert_eq!((ports.len(), directories.len()), (10, 5));
    let processes = descendants(dev.id().unwrap());
    assert!(processes.len() > 20, "supervisors, servers and what the servers started");
    for port in &ports {
        assert!(TcpStream::connect(("127.0.0.1", *port)).await.is_ok(), "{port} answers");
    }

    dev.kill().await.unwrap();

    for port in ports {
        until("the port closes", async || TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
    }
    for directory in directories {
        until("the directory goes", async || !Path::new(&directory).exists()).await;
    }
    for process in processes {
        until("the process ends", async || parent(process).is_none()).await;
    }
}
