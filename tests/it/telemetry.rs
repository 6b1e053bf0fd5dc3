//! Seeing it run: traces that are linked across the queue, and metrics.

use lockstep_tests::{Installation, MailProfile, Otlp, free_port, until};

use crate::house::House;

#[tokio::test]
async fn a_cycle_can_be_followed_from_the_scheduler_to_the_worker() {
    let otlp = Otlp::start().await;
    let metrics = free_port();
    let installation = Installation::new()
        .await
        .with("telemetry.otlp_url", otlp.url())
        .with("telemetry.log_format", "json")
        .with("telemetry.metrics_listen", format!("127.0.0.1:{metrics}"));
    let process = installation.start_all().await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    house.deliver(&anna, "traced", 0);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;

    let (published, processed) = until("a consumer's span is linked to its producer's", async || {
        let spans = otlp.spans();
        let linked = spans.iter().filter(|span| span.name == "process incoming").find_map(|processed| {
            let link = processed.links.first()?;
            let published =
                spans.iter().find(|span| span.span_id == link.span_id && span.trace_id == link.trace_id)?;
            Some((published.clone(), processed.clone()))
        });
        let names: Vec<_> =
            spans.iter().map(|span| format!("{} ({} links)", span.name, span.links.len())).collect();
        linked.ok_or_else(|| format!("{names:?}"))
    })
    .await;
    assert_eq!(published.name, "publish incoming");
    assert_eq!((published.kind, processed.kind), (4, 5), "producer and consumer");
    assert_ne!(published.trace_id, processed.trace_id, "a trace of its own");
    for name in ["messaging.system", "mailbox.id", "workload", "cycle.no"] {
        assert!(
            processed.attributes.iter().any(|attribute| attribute.key == name),
            "no {name} in {processed:#?}"
        );
    }
    let inside = otlp.spans();
    let inside: Vec<_> =
        inside.iter().filter(|span| span.trace_id == processed.trace_id).map(|span| &span.name).collect();
    assert!(inside.len() > 1, "the cycle is under it: {inside:?}");

    let scraped =
        lockstep_tests::Api::client().get(format!("http://127.0.0.1:{metrics}/metrics")).send().await;
    let scraped = scraped.unwrap().text().await.unwrap();
    for metric in [
        "lockstep_scheduler_published",
        "lockstep_scheduler_lateness",
        "lockstep_sends_waiting",
        "lockstep_sends_oldest",
        "lockstep_cycle_duration",
        "lockstep_cycle_items",
    ] {
        assert!(scraped.contains(metric), "no {metric} in:\n{scraped}");
    }
    assert!(!scraped.contains(&anna.id), "metrics are never per mailbox:\n{scraped}");
    let log = process.log();
    let lines: Vec<_> = log.lines().filter(|line| !line.is_empty()).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "not JSON: {line}");
    }
}
