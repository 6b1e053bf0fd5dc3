//! Who may ask, and what anybody may see.

use std::time::Duration;

use coordinator::{RedisProblem, check_redis};
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::ring::{Ring, Running, TOKEN, until, worker_config};
use throttle::v1::{StatusRequest, leases_client::LeasesClient};

async fn channel(running: &Running) -> Channel {
    Channel::from_shared(running.url()).unwrap().connect().await.unwrap()
}

fn with_token<T>(message: T, token: Option<&str>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_refused_with_the_remedy() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let mut client = LeasesClient::new(channel(&coordinator).await);
    for (token, says) in
        [(None, "authorization: Bearer"), (Some("wrong"), "throttle.token"), (Some(""), "throttle.token")]
    {
        let refused = client.status(with_token(StatusRequest::default(), token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().contains(says), "{}", refused.message());
        assert!(!refused.message().contains(TOKEN));
        let hold = client.hold(with_token(tokio_stream::empty(), token)).await.unwrap_err();
        assert_eq!(hold.code(), Code::Unauthenticated);
    }
    client.status(with_token(StatusRequest::default(), Some(TOKEN))).await.unwrap();
}

#[tokio::test]
async fn health_says_serving_only_while_redis_answers() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let client = HealthClient::new(channel(&coordinator).await);
    let is = |expected: ServingStatus| {
        let client = client.clone();
        async move {
            let mut all = true;
            for service in ["", "lockstep.throttle.v1.Leases"] {
                let request = HealthCheckRequest { service: service.to_owned() };
                all &= client.clone().check(request).await.unwrap().into_inner().status() == expected;
            }
            all
        }
    };
    until("serving", || is(ServingStatus::Serving)).await;
    ring.redis.stop().await;
    until("not serving", || is(ServingStatus::NotServing)).await;
    ring.redis.start_again().await;
    until("serving again", || is(ServingStatus::Serving)).await;
}

#[tokio::test]
async fn reflection_lists_the_services_to_whoever_has_the_token() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let mut client = ServerReflectionClient::new(channel(&coordinator).await);
    let ask = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        tokio_stream::iter([ServerReflectionRequest { host: String::new(), message_request }])
    };
    let refused = client.server_reflection_info(with_token(ask(), None)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut answers =
        client.server_reflection_info(with_token(ask(), Some(TOKEN))).await.unwrap().into_inner();
    let Some(ServerReflectionResponse {
        message_response: Some(MessageResponse::ListServicesResponse(list)),
        ..
    }) = answers.message().await.unwrap()
    else {
        panic!("no list of services");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"lockstep.throttle.v1.Leases"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
}

#[tokio::test]
async fn a_redis_that_evicts_or_is_away_is_named_with_the_remedy() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let report = check_redis(&ring.config()).await.unwrap();
    assert!(!report.keeps && report.to_string().contains("appendonly yes"), "{report}");
    let client = redis::Client::open(ring.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let set = redis::cmd("CONFIG").arg(&["SET", "maxmemory-policy", "allkeys-lru"]).to_owned();
    set.query_async::<()>(&mut connection).await.unwrap();
    let problem = check_redis(&ring.config()).await.unwrap_err();
    assert_eq!(problem, RedisProblem::Evicts { policy: "allkeys-lru".to_owned() });
    assert!(problem.to_string().contains("noeviction"));
    ring.redis.stop().await;
    assert!(matches!(check_redis(&ring.config()).await, Err(RedisProblem::Away { .. })));
}

#[tokio::test]
async fn over_tls_a_coordinator_is_trusted_by_its_authority_and_by_nothing_else() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    for name in ["one", "other"] {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(path(&format!("{name}.pem")), pair.cert.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), pair.signing_key.serialize_pem()).unwrap();
    }
    let mut config = ring.config();
    config.tls_certificate_file = path("one.pem");
    config.tls_key_file = path("one.key");
    let coordinator = ring.coordinator_with(config).await;
    let worker = |authority: &str| throttle::Config {
        urls: vec![format!("https://localhost:{}", coordinator.address.port())],
        ca_file: path(authority),
        ..worker_config(&[])
    };
    throttle::check(&worker("one.pem")).await.unwrap();
    assert!(matches!(throttle::check(&worker("other.pem")).await, Err(throttle::CheckError::Away { .. })));
    let half = coordinator::Config { tls_key_file: String::new(), ..ring.config() };
    half.check().unwrap();
    let half = coordinator::Config { tls_certificate_file: path("one.pem"), ..half };
    assert!(half.check().unwrap_err().to_string().contains("tls_key_file"));
}

#[tokio::test]
async fn check_says_what_is_wrong_and_what_to_do() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let good = worker_config(&[&coordinator]);
    let report = throttle::check(&good).await.unwrap();
    assert_eq!(report.to_string(), "answers; 0 limits in use, 0 slots held, 0 waiting, 0 in doubt");
    let wrong = throttle::Config { token: "wrong".into(), ..good.clone() };
    assert!(throttle::check(&wrong).await.unwrap_err().to_string().contains("throttle.token"));
    ring.redis.stop().await;
    assert!(throttle::check(&good).await.unwrap_err().to_string().contains("Redis"));
    coordinator.stop().await;
    assert!(throttle::check(&good).await.unwrap_err().to_string().contains("throttle.urls"));
}
