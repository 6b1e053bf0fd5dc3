//! What a report may do: set where an accepted recipient stands, once, and nothing else, for the email of the mailbox that
//! it came into.

use jiff::Timestamp;
use model::email::{Decision, EmailState, RecipientState, SendAnswer};
use model::id::{EmailId, MailboxId, SessionId};
use model::identity::Identity;
use model::message::NamedAddress;
use model::report::{Report, ReportKind, ReportedAction, ReportedRecipient};
use store::email::{EmailFilter, Reader, get, list};
use store::incoming::{IncomingBatch, IncomingItem, Raw, Verdict, record};
use store::outgoing::report::{Found, IncomingReport, find, of_email};
use store::outgoing::{
    Answer, Attempt, Draft, RecipientAnswer, Resolution, SendState, begin_attempt, create, next_pending,
    record_answer, recover, request_send, resolve_unknown, state_of,
};

use crate::world::{World, author, world};

fn to(address: &str) -> NamedAddress {
    NamedAddress { name: None, address: address.parse().unwrap() }
}

/// An email of Ada's to these, of which a try has begun.
pub(crate) async fn begun(world: &World, addresses: &[&str]) -> Attempt {
    let tenant = world.tenant().await;
    let draft = Draft {
        from: Some(world.ada_box),
        to: addresses.iter().map(|address| to(address)).collect(),
        subject: "Engines".into(),
        text: Some("They weave.".into()),
        ..Draft::default()
    };
    let id = create(&tenant, &draft, &[], None, &author()).await.unwrap();
    request_send(&tenant, id, None, store::outgoing::Request::default(), &author()).await.unwrap();
    tenant.commit().await.unwrap();
    tried(world, id).await
}

/// Begins the next try.
pub(crate) async fn tried(world: &World, id: EmailId) -> Attempt {
    let tenant = world.tenant().await;
    let session: SessionId = model::clock::new_id();
    let attempt =
        begin_attempt(&tenant, world.ada_box, 1, session, id, &author()).await.unwrap().expect("it is due");
    tenant.commit().await.unwrap();
    attempt
}

/// Ends a try with this for each of its recipients.
pub(crate) async fn ended(world: &World, attempt: &Attempt, answer: SendAnswer, states: &[RecipientState]) {
    let recipients = attempt.recipients.iter().zip(states).map(|(due, state)| RecipientAnswer {
        position: due.position,
        state: *state,
        reply_code: Some(250),
        enhanced_code: None,
        said: Some("queued".into()),
        retry_after: std::time::Duration::from_secs(600),
    });
    let answer = Answer {
        attempt: attempt.id,
        answer,
        said: None,
        recipients: recipients.collect(),
        retry_after: std::time::Duration::from_secs(300),
    };
    let tenant = world.tenant().await;
    record_answer(&tenant, &answer, &author()).await.unwrap();
    tenant.commit().await.unwrap();
}

/// An email of Ada's to these, as her server answered for each.
async fn sent(world: &World, answers: &[(&str, RecipientState)]) -> EmailId {
    let (addresses, states): (Vec<_>, Vec<_>) = answers.iter().copied().unzip();
    let attempt = begun(world, &addresses).await;
    ended(world, &attempt, SendAnswer::Accepted, &states).await;
    attempt.email
}

pub(crate) async fn sending(world: &World, id: EmailId) -> SendState {
    state_of(&world.tenant().await, id).await.unwrap().unwrap()
}

pub(crate) async fn states(world: &World, id: EmailId) -> Vec<RecipientState> {
    sending(world, id).await.recipients.iter().map(|recipient| recipient.state).collect()
}

pub(crate) async fn state(world: &World, id: EmailId) -> EmailState {
    get(&world.tenant().await, id, Reader::Everything).await.unwrap().unwrap().state
}

pub(crate) fn says(message_id: &str, said: &[(&str, ReportedAction)]) -> Report {
    Report {
        kind: ReportKind::DeliveryReport,
        message_ids: vec![message_id.to_owned()],
        envelope_id: None,
        returned_date: None,
        reporter: Some("mx.there.example".into()),
        recipients: said
            .iter()
            .map(|(address, action)| ReportedRecipient {
                address: (*address).to_owned(),
                original: None,
                action: *action,
                status: Some("5.1.1".into()),
                said: Some("nobody of that name".into()),
            })
            .collect(),
    }
}

async fn found(world: &World, mailbox: MailboxId, report: &Report) -> Option<Found> {
    find(&world.tenant().await, mailbox, &[report]).await.unwrap().remove(0)
}

/// Records a report as the item of this name, with this number as its identity; how it was decided.
pub(crate) async fn comes(world: &World, item: &str, identity: u8, report: Report) -> Decision {
    let found = found(world, world.ada_box, &report).await.expect("the report finds its email");
    let by = author();
    let report = IncomingReport {
        found,
        report,
        identity: Identity([identity; 32]),
        raw: Raw::Bytes(format!("raw {identity}").into()),
    };
    let item = IncomingItem {
        item_id: item.into(),
        size: 100,
        message_id: None,
        received_at: Some(Timestamp::from_second(1_700_000_000).unwrap()),
        rule: "delivery_report".into(),
        verdict: Verdict::Report(Box::new(report)),
    };
    let batch = IncomingBatch {
        search_keys: &std::collections::HashMap::new(),
        mailbox: world.ada_box,
        folder: "pop3://mail.example.com:995 ada@example.com",
        items: vec![item],
        cursor: None,
        retry_after: std::time::Duration::from_secs(300),
        by: &by,
    };
    let tenant = world.tenant().await;
    let recorded = record(&tenant, &batch).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(recorded[0].email, Some(found.email), "the item leads to the email it speaks of");
    recorded[0].decision
}

pub(crate) const ONE: &str = "one@there.example";
pub(crate) const TWO: &str = "two@there.example";

#[tokio::test]
async fn a_bounce_sets_the_recipient_and_an_email_that_bounced_for_all_has_failed() {
    use RecipientState::{Accepted, Bounced};
    let world = world().await;
    let id = sent(&world, &[(ONE, Accepted), (TWO, Accepted)]).await;
    let message_id = sending(&world, id).await.message_id;
    let bounce = |address| says(&message_id, &[(address, ReportedAction::Failed)]);

    assert_eq!(comes(&world, "a", 1, bounce(ONE)).await, Decision::Recorded);
    assert_eq!(states(&world, id).await, [Bounced, Accepted]);
    assert_eq!(state(&world, id).await, EmailState::Sent);
    let recipient = sending(&world, id).await.recipients.remove(0);
    assert_eq!(recipient.server_said.as_deref(), Some("queued"), "what our server said stays");
    let report = recipient.report.unwrap();
    assert_eq!(
        (report.status.as_deref(), report.said.as_deref()),
        (Some("5.1.1"), Some("nobody of that name"))
    );

    assert_eq!(comes(&world, "b", 2, bounce(TWO)).await, Decision::Recorded);
    assert_eq!(states(&world, id).await, [Bounced, Bounced]);
    assert_eq!(state(&world, id).await, EmailState::Failed);
    assert_eq!(world.count("select count(*) from alerts where kind = 'recipient_bounced'").await, 1);
    assert_eq!(world.count("select count::bigint from alerts where kind = 'recipient_bounced'").await, 2);

    // Nothing waits, nothing is due: no bounce sends anything again.
    assert!(next_pending(&world.tenant().await, world.ada_box, 10).await.unwrap().is_empty());
    assert_eq!(world.count("select count(*) from send_attempts").await, 1);
    assert_eq!(of_email(&world.tenant().await, id).await.unwrap().len(), 2, "both are kept with it");
    let listed = list(&world.tenant().await, Reader::Everything, &EmailFilter::default(), None, 9).await;
    assert_eq!(listed.unwrap().len(), 1, "a report is in nobody's list");
}

#[tokio::test]
async fn a_report_that_comes_twice_changes_nothing_twice() {
    let world = world().await;
    let id = sent(&world, &[(ONE, RecipientState::Accepted), (TWO, RecipientState::Accepted)]).await;
    let message_id = sending(&world, id).await.message_id;
    let bounce = || says(&message_id, &[(ONE, ReportedAction::Failed)]);
    assert_eq!(comes(&world, "a", 1, bounce()).await, Decision::Recorded);
    let version = get(&world.tenant().await, id, Reader::Everything).await.unwrap().unwrap().version;
    let changes = world.count("select count(*) from changes").await;
    // The same item again, the same report as another item, and another report that says the same.
    assert_eq!(comes(&world, "a", 1, bounce()).await, Decision::Recorded);
    assert_eq!(comes(&world, "b", 1, bounce()).await, Decision::Duplicate);
    assert_eq!(comes(&world, "c", 2, bounce()).await, Decision::Recorded);
    assert_eq!(world.count("select count::bigint from alerts where kind = 'recipient_bounced'").await, 1);
    assert_eq!(world.count("select count(*) from changes").await, changes);
    let now = get(&world.tenant().await, id, Reader::Everything).await.unwrap().unwrap().version;
    assert_eq!(now, version);
    assert_eq!(world.count("select count(*) from reports").await, 2);
}

#[tokio::test]
async fn a_delay_ends_with_a_delivery_or_a_bounce_and_a_bounce_is_final() {
    use RecipientState::{Accepted, Bounced, Delayed};
    let world = world().await;
    let id = sent(&world, &[(ONE, Accepted), (TWO, Accepted)]).await;
    let message_id = sending(&world, id).await.message_id;
    for (number, said, stand) in [
        (1, vec![(ONE, ReportedAction::Delayed), (TWO, ReportedAction::Delayed)], [Delayed, Delayed]),
        (2, vec![(ONE, ReportedAction::Delivered)], [Accepted, Delayed]),
        (3, vec![(TWO, ReportedAction::Failed)], [Accepted, Bounced]),
        (4, vec![(ONE, ReportedAction::Delayed), (TWO, ReportedAction::Delivered)], [Accepted, Bounced]),
    ] {
        comes(&world, &format!("item {number}"), number, says(&message_id, &said)).await;
        assert_eq!(states(&world, id).await, stand, "{number}");
        assert_eq!(state(&world, id).await, EmailState::Sent, "{number}");
    }
}

#[tokio::test]
async fn a_report_touches_nobody_whom_no_server_accepted() {
    use RecipientState::{Accepted, Bounced, Deferred, Refused};
    let world = world().await;
    let id = sent(&world, &[(ONE, Accepted), (TWO, Deferred), ("three@there.example", Refused)]).await;
    let message_id = sending(&world, id).await.message_id;
    let all = [ONE, TWO, "three@there.example", "stranger@there.example"];
    let report = says(&message_id, &all.map(|address| (address, ReportedAction::Failed)));
    comes(&world, "a", 1, report).await;
    assert_eq!(states(&world, id).await, [Bounced, Deferred, Refused]);
    assert_eq!(state(&world, id).await, EmailState::PendingSend, "who is deferred is still tried");
    let delivered = says(&message_id, &all.map(|address| (address, ReportedAction::Delivered)));
    comes(&world, "b", 2, delivered).await;
    assert_eq!(states(&world, id).await, [Bounced, Deferred, Refused], "a forged delivery ends no try");
}

#[tokio::test]
async fn a_report_counts_only_in_the_mailbox_that_sent_the_email_and_in_its_organization() {
    let world = world().await;
    let id = sent(&world, &[(ONE, RecipientState::Accepted)]).await;
    let message_id = sending(&world, id).await.message_id;
    let report = says(&message_id, &[(ONE, ReportedAction::Failed)]);
    assert_eq!(found(&world, world.bob_box, &report).await, None);
    assert_eq!(found(&world, world.support_box, &report).await, None);
    let other = world.database.organization("Other").await.unwrap();
    let tenant = world.store.tenant(other).await.unwrap();
    assert_eq!(find(&tenant, world.ada_box, &[&report]).await.unwrap(), [None]);
    assert_eq!(found(&world, world.ada_box, &report).await.map(|found| found.email), Some(id));
    let stranger = says("unknown@there.example", &[(ONE, ReportedAction::Failed)]);
    assert_eq!(found(&world, world.ada_box, &stranger).await, None);
}

#[tokio::test]
async fn a_report_finds_its_email_by_the_envelope_id_and_by_the_returned_header() {
    let world = world().await;
    let id = sent(&world, &[(ONE, RecipientState::Accepted)]).await;
    let sending = sending(&world, id).await;
    let bare = || says("rewritten@relay.example", &[(ONE, ReportedAction::Failed)]);
    let by_envelope = Report { envelope_id: Some(sending.request.to_string()), ..bare() };
    assert_eq!(found(&world, world.ada_box, &by_envelope).await.map(|found| found.email), Some(id));
    let dated = Timestamp::from_second(sending.requested_at.as_second()).unwrap();
    let by_date = Report { returned_date: Some(dated), ..bare() };
    assert_eq!(found(&world, world.ada_box, &by_date).await.map(|found| found.email), Some(id));
    let to_another = Report {
        returned_date: Some(dated),
        ..says("rewritten@relay.example", &[(TWO, ReportedAction::Failed)])
    };
    assert_eq!(found(&world, world.ada_box, &to_another).await, None);
}

#[tokio::test]
async fn of_two_emails_of_one_second_to_one_recipient_a_date_finds_neither() {
    let world = world().await;
    let first = sent(&world, &[(ONE, RecipientState::Accepted)]).await;
    sent(&world, &[(ONE, RecipientState::Accepted)]).await;
    let owner = world.database.owner().await.unwrap();
    owner.batch_execute("update send_requests set requested_at = '2026-11-20 10:00:00.4+00'").await.unwrap();
    let dated = "2026-11-20T10:00:00Z".parse().unwrap();
    let report = Report {
        returned_date: Some(dated),
        ..says("rewritten@relay.example", &[(ONE, ReportedAction::Failed)])
    };
    assert_eq!(found(&world, world.ada_box, &report).await, None, "it may speak of either");
    owner.execute("delete from emails where id <> $1", &[&first.0]).await.unwrap();
    assert_eq!(found(&world, world.ada_box, &report).await.map(|found| found.email), Some(first));
}

#[tokio::test]
async fn a_read_receipt_says_who_read_it_and_when() {
    let world = world().await;
    let id = sent(&world, &[(ONE, RecipientState::Accepted), (TWO, RecipientState::Accepted)]).await;
    let message_id = sending(&world, id).await.message_id;
    let receipt =
        Report { kind: ReportKind::ReadReceipt, ..says(&message_id, &[(TWO, ReportedAction::Read)]) };
    comes(&world, "a", 1, receipt).await;
    let recipients = sending(&world, id).await.recipients;
    assert_eq!(recipients[0].read_at, None);
    assert_eq!(recipients[1].read_at.map(Timestamp::as_second), Some(1_700_000_000));
    assert_eq!(recipients[1].state, RecipientState::Accepted);
    assert_eq!(world.count("select count(*) from alerts").await, 0);
}

#[tokio::test]
async fn who_got_it_is_not_written_to_again_after_a_bounce_of_somebody_else() {
    let world = world().await;
    let id = sent(&world, &[(ONE, RecipientState::Accepted)]).await;
    let message_id = sending(&world, id).await.message_id;
    comes(&world, "a", 1, says(&message_id, &[("elsewhere@forwarded.example", ReportedAction::Failed)]))
        .await;
    assert_eq!(
        states(&world, id).await,
        [RecipientState::Bounced],
        "it went to one alone, so it is that one"
    );
    let tenant = world.tenant().await;
    let again = request_send(&tenant, id, None, store::outgoing::Request::default(), &author()).await;
    assert!(
        matches!(again, Err(store::Error::Refused(store::Refusal::EverybodyHasIt))),
        "a forged bounce resends nothing"
    );
}

/// How many alerts of a kind are open.
async fn open(world: &World, kind: &str) -> i64 {
    let open = format!("select count(*) from alerts where kind = '{kind}' and resolved_at is null");
    world.count(&open).await
}

/// An email of Ada's of which nobody knows whether it left.
async fn in_doubt(world: &World) -> EmailId {
    let attempt = begun(world, &[ONE, TWO]).await;
    let tenant = world.tenant().await;
    assert_eq!(recover(&tenant, world.ada_box, 2, &author()).await.unwrap().len(), 1);
    let alert = store::alert::NewAlert {
        kind: model::alert::AlertKind::SendUnknown,
        subject: store::alert::Subject::Email(attempt.email),
        detail: String::new(),
        parameters: serde_json::json!({}),
        server_said: None,
    };
    store::alert::raise(&tenant, &alert).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(state(world, attempt.email).await, EmailState::Unknown);
    attempt.email
}

#[tokio::test]
async fn a_report_about_an_email_in_doubt_proves_that_it_left() {
    use RecipientState::{Accepted, Bounced, Delayed};
    use ReportedAction as A;
    let world = world().await;
    for (number, said, stand, email) in [
        (1, vec![(ONE, A::Failed), (TWO, A::Failed)], [Bounced, Bounced], EmailState::Failed),
        (2, vec![(ONE, A::Failed)], [Bounced, Accepted], EmailState::Sent),
        (3, vec![(TWO, A::Delayed)], [Accepted, Delayed], EmailState::Sent),
        (4, vec![(ONE, A::Delivered)], [Accepted, Accepted], EmailState::Sent),
        (5, vec![(ONE, A::Relayed)], [Accepted, Accepted], EmailState::Sent),
    ] {
        let id = in_doubt(&world).await;
        assert_eq!(open(&world, "send_unknown").await, 1);
        let message_id = sending(&world, id).await.message_id;
        comes(&world, &format!("item {number}"), number, says(&message_id, &said)).await;
        assert_eq!((states(&world, id).await, state(&world, id).await), (stand.to_vec(), email), "{number}");
        assert_eq!(open(&world, "send_unknown").await, 0, "{number}: nobody has to decide any more");
        assert!(sending(&world, id).await.ended_at.is_some(), "{number}");
        let told =
            "select count(*) from changes where record_id = (select max(email_id::text)::uuid from reports
                    where id = (select max(id::text)::uuid from reports))
                    and fields #>> '{state,old}' = 'unknown' and fields ? 'delivery_report'";
        assert_eq!(world.count(told).await, 1, "{number}: one change says what came of it and by what");
        assert!(next_pending(&world.tenant().await, world.ada_box, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_left_for_one_may_still_be_bounced_for_the_other_later() {
    let world = world().await;
    let id = in_doubt(&world).await;
    let message_id = sending(&world, id).await.message_id;
    comes(&world, "a", 1, says(&message_id, &[(ONE, ReportedAction::Failed)])).await;
    assert_eq!(state(&world, id).await, EmailState::Sent);
    comes(&world, "b", 2, says(&message_id, &[(TWO, ReportedAction::Failed)])).await;
    assert_eq!(state(&world, id).await, EmailState::Failed);
}

#[tokio::test]
async fn a_report_that_came_before_the_doubt_was_found_leaves_none() {
    let world = world().await;
    for recovered in [true, false] {
        let attempt = begun(&world, &[ONE, TWO]).await;
        let message_id = sending(&world, attempt.email).await.message_id;
        let number = u8::from(recovered) + 1;
        let bounce = says(&message_id, &[(TWO, ReportedAction::Failed)]);
        comes(&world, &format!("item {number}"), number, bounce).await;
        assert_eq!(state(&world, attempt.email).await, EmailState::Sending, "its answer may still come");
        if recovered {
            let tenant = world.tenant().await;
            let doubts = recover(&tenant, world.ada_box, 2, &author()).await.unwrap();
            tenant.commit().await.unwrap();
            assert_eq!(doubts.len(), 0, "nobody is asked about it");
        } else {
            ended(&world, &attempt, SendAnswer::Unknown, &[]).await;
        }
        assert_eq!(state(&world, attempt.email).await, EmailState::Sent);
        let stand = [RecipientState::Accepted, RecipientState::Bounced];
        assert_eq!(states(&world, attempt.email).await, stand);
    }
}

#[tokio::test]
async fn a_report_ends_no_doubt_once_the_email_was_sent_again() {
    use RecipientState::Waiting;
    let world = world().await;
    let id = in_doubt(&world).await;
    let message_id = sending(&world, id).await.message_id;
    let tenant = world.tenant().await;
    resolve_unknown(&tenant, id, None, Resolution::Resend, None, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    comes(&world, "a", 1, says(&message_id, &[(ONE, ReportedAction::Delivered)])).await;
    assert_eq!(
        (state(&world, id).await, states(&world, id).await),
        (EmailState::PendingSend, vec![Waiting; 2])
    );
    let again = tried(&world, id).await;
    ended(&world, &again, SendAnswer::Unknown, &[]).await;
    comes(&world, "b", 2, says(&message_id, &[(ONE, ReportedAction::Failed), (TWO, ReportedAction::Failed)]))
        .await;
    assert_eq!((state(&world, id).await, states(&world, id).await), (EmailState::Unknown, vec![Waiting; 2]));
}

#[tokio::test]
async fn a_report_about_those_of_an_earlier_try_proves_nothing_about_a_later_one() {
    use RecipientState::{Accepted, Bounced, Deferred};
    let world = world().await;
    let id = sent(&world, &[(ONE, Accepted), (TWO, Deferred)]).await;
    store::testing::pass(&world.database, std::time::Duration::from_secs(601)).await.unwrap();
    let later = tried(&world, id).await;
    assert_eq!(later.recipients.len(), 1);
    ended(&world, &later, SendAnswer::Unknown, &[]).await;
    let message_id = sending(&world, id).await.message_id;
    comes(&world, "a", 1, says(&message_id, &[(ONE, ReportedAction::Failed)])).await;
    assert_eq!(
        (state(&world, id).await, states(&world, id).await),
        (EmailState::Unknown, vec![Bounced, Deferred])
    );
    comes(&world, "b", 2, says(&message_id, &[(TWO, ReportedAction::Relayed)])).await;
    assert_eq!(
        (state(&world, id).await, states(&world, id).await),
        (EmailState::Sent, vec![Bounced, Accepted])
    );
}

#[tokio::test]
async fn a_delay_is_told_once_and_taken_back_by_what_follows() {
    use RecipientState::Accepted;
    let world = world().await;
    for (number, follows) in [(0, ReportedAction::Delivered), (10, ReportedAction::Failed)] {
        let id = sent(&world, &[(ONE, Accepted), (TWO, Accepted)]).await;
        let message_id = sending(&world, id).await.message_id;
        for again in 1..=2 {
            let delayed = says(&message_id, &[(ONE, ReportedAction::Delayed)]);
            comes(&world, &format!("{number} {again}"), number + again, delayed).await;
        }
        assert_eq!(open(&world, "recipient_delayed").await, 1, "once for the email");
        let told =
            "select count::bigint from alerts where kind = 'recipient_delayed' and resolved_at is null";
        assert_eq!(world.count(told).await, 1, "and not again for the same");
        comes(
            &world,
            &format!("{number} both"),
            number + 3,
            says(&message_id, &[(TWO, ReportedAction::Delayed)]),
        )
        .await;
        comes(&world, &format!("{number} end"), number + 4, says(&message_id, &[(ONE, follows)])).await;
        assert_eq!(open(&world, "recipient_delayed").await, 1, "the other is still waited for");
        comes(&world, &format!("{number} ends"), number + 5, says(&message_id, &[(TWO, follows)])).await;
        assert_eq!(open(&world, "recipient_delayed").await, 0, "{follows}");
    }
}
