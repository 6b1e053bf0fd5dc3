//! Turns of sessions that send, taken together: the same rows as each alone leaves, and passed over where there is more to
//! decide.

use futures_util::future::join_all;
use model::alert::AlertKind;
use model::email::{EmailState, RecipientState, SendAnswer};
use model::id::{EmailId, MailboxId, SessionId};
use model::workload::Workload;
use serde_json::json;
use store::alert::{NewAlert, Subject};
use store::outgoing::{
    Attempt, Draft, Next, Request, Turn, Turned, begin_attempt, create, record_answer, request_send,
    turn_together,
};
use store::schedule::Claim;

use crate::outgoing::{answer, draft, requested, state};
use crate::world::{World, author, world};

use RecipientState::{Accepted, Deferred, Refused};

const CLAIM: i64 = 7;

/// Emails without files, one for each of these mailboxes, whose outgoing cycles run.
async fn asked(world: &World, mailboxes: &[MailboxId]) -> Vec<EmailId> {
    let tenant = world.tenant().await;
    let mut emails = Vec::new();
    for from in mailboxes {
        let draft = Draft { from: Some(*from), ..draft(world) };
        let email = create(&tenant, &draft, &[], None, &author()).await.unwrap();
        request_send(&tenant, email, None, Request::default(), &author()).await.unwrap();
        emails.push(email);
    }
    tenant.commit().await.unwrap();
    run_all(world).await;
    emails
}

async fn run_all(world: &World) {
    owner(world, "update schedules set state = 'running', claim = 7, session_id = gen_random_uuid() where workload = 'outgoing'").await;
}

async fn owner(world: &World, statement: &str) {
    world.database.owner().await.unwrap().batch_execute(statement).await.unwrap();
}

fn next(mailbox: MailboxId, email: EmailId) -> Next {
    let claim = Claim { mailbox, workload: Workload::Outgoing, number: CLAIM };
    Next { email, claim, session: SessionId(uuid::Uuid::nil()), by_draft: false }
}

fn accepted(attempt: &Attempt) -> (store::outgoing::Answer, i64) {
    let states = vec![RecipientState::Accepted; attempt.recipients.len()];
    (answer(attempt, SendAnswer::Accepted, &states), attempt.version)
}

async fn turn(world: &World, answer: Option<(store::outgoing::Answer, i64)>, next: Option<Next>) -> Turned {
    let turn = Turn { organization: world.organization, answer, next, by: author() };
    turn_together(&world.store, turn).await.unwrap()
}

async fn begins(world: &World, mailbox: MailboxId, email: EmailId) -> Option<Attempt> {
    turn(world, None, Some(next(mailbox, email))).await.begun
}

#[tokio::test]
async fn turns_taken_at_once_are_one_commit_and_each_is_told_of_its_own() {
    let world = world().await;
    let boxes = [world.ada_box, world.bob_box, world.support_box];
    let (first, second) = (asked(&world, &boxes).await, asked(&world, &boxes).await);
    let begun =
        join_all(boxes.iter().zip(&first).map(|(mailbox, email)| begins(&world, *mailbox, *email))).await;
    let begun: Vec<_> = begun.into_iter().map(Option::unwrap).collect();
    for (attempt, email) in begun.iter().zip(&first) {
        assert_eq!(attempt.email, *email);
    }
    let turns = begun.iter().zip(boxes.iter().zip(&second)).map(|(attempt, (mailbox, email))| {
        turn(&world, Some(accepted(attempt)), Some(next(*mailbox, *email)))
    });
    for (turned, email) in join_all(turns).await.iter().zip(&second) {
        assert!(turned.answered);
        assert_eq!(turned.begun.as_ref().unwrap().email, *email);
    }
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(state(&world, *first).await, EmailState::Sent);
        assert_eq!(state(&world, *second).await, EmailState::Sending);
    }
    let moves = "changes where record_type = 'email' and fields->'state'->>'new' in ('sending', 'sent')";
    assert_eq!(world.count(&format!("select count(*) from {moves}")).await, 9);
    assert_eq!(world.count(&format!("select count(distinct transaction_id) from {moves}")).await, 2);
}

/// Everything that is stored of an email and its sending but for ids and times.
async fn rows(world: &World, email: EmailId) -> Vec<serde_json::Value> {
    let owner = world.database.owner().await.unwrap();
    let rows = owner
        .query(
            "select to_jsonb(e) from emails e where id = $1
             union all select to_jsonb(r) from send_requests r where email_id = $1
             union all select to_jsonb(c) from send_requests r join send_recipients c on c.send_request_id = r.id
                       where r.email_id = $1
             union all select to_jsonb(a) from send_requests r join send_attempts a on a.send_request_id = r.id
                       where r.email_id = $1
             union all select to_jsonb(c) from changes c where record_id = $1",
            &[&email.0],
        )
        .await
        .unwrap();
    let own = [
        "id",
        "email_id",
        "send_request_id",
        "record_id",
        "message_id",
        "transaction_id",
        "sequence",
        "session_id",
    ];
    rows.iter()
        .map(|row| {
            let mut row: serde_json::Value = row.get(0);
            for (name, value) in row.as_object_mut().unwrap() {
                if own.contains(&name.as_str()) || (name.ends_with("_at") || name == "at") && !value.is_null()
                {
                    *value = json!("its own");
                }
            }
            row
        })
        .collect()
}

#[tokio::test]
async fn a_turn_leaves_the_same_rows_as_its_parts_alone_and_gives_the_same_message() {
    let world = world().await;
    let emails = asked(&world, &[world.ada_box, world.ada_box]).await;
    let tenant = world.tenant().await;
    let session = SessionId(uuid::Uuid::nil());
    let alone =
        begin_attempt(&tenant, world.ada_box, CLAIM, session, emails[0], &author()).await.unwrap().unwrap();
    tenant.commit().await.unwrap();
    let begun_alone = rows(&world, emails[0]).await;
    let tenant = world.tenant().await;
    record_answer(&tenant, &accepted(&alone).0, &author()).await.unwrap();
    tenant.commit().await.unwrap();

    let together = begins(&world, world.ada_box, emails[1]).await.unwrap();
    assert_eq!(rows(&world, emails[1]).await, begun_alone);
    assert!(turn(&world, Some(accepted(&together)), None).await.answered);
    assert_eq!(rows(&world, emails[1]).await, rows(&world, emails[0]).await);

    let mut message = together.message.clone();
    message.message_id.clone_from(&alone.message.message_id);
    message.date = alone.message.date;
    assert_eq!(format!("{message:?}"), format!("{:?}", alone.message));
    assert!(together.recipients == alone.recipients && together.version == alone.version);
    assert_eq!(together.delivery_receipt_requested, alone.delivery_receipt_requested);
}

#[tokio::test]
async fn nothing_begins_together_that_would_not_begin_alone() {
    let world = world().await;
    let [mine, later] = asked(&world, &[world.ada_box; 2]).await[..] else { panic!("two were asked for") };
    let none = async |mailbox, email| assert!(begins(&world, mailbox, email).await.is_none());
    none(world.bob_box, mine).await;
    let other = Next {
        claim: Claim { number: CLAIM + 1, ..next(world.ada_box, mine).claim },
        ..next(world.ada_box, mine)
    };
    assert!(turn(&world, None, Some(other)).await.begun.is_none(), "a claim that is not ours");
    let elsewhere = Turn {
        organization: world.database.organization("other").await.unwrap(),
        answer: None,
        next: Some(next(world.ada_box, mine)),
        by: author(),
    };
    assert!(turn_together(&world.store, elsewhere).await.unwrap().begun.is_none(), "somebody else's email");
    for (change, back) in [
        (
            "update schedules set state = 'idle', session_id = null",
            "update schedules set state = 'running', session_id = gen_random_uuid()",
        ),
        (
            "update send_requests set not_before = now() + interval '1 hour'",
            "update send_requests set not_before = null",
        ),
        ("update send_requests set rests_on = gen_random_uuid()", "update send_requests set rests_on = null"),
        (
            "update send_recipients set next_try_at = now() + interval '1 hour'",
            "update send_recipients set next_try_at = now()",
        ),
        ("update emails set state = 'draft'", "update emails set state = 'pending_send'"),
    ] {
        owner(&world, change).await;
        none(world.ada_box, mine).await;
        owner(&world, back).await;
    }
    let files = requested(&world).await;
    run_all(&world).await;
    none(world.ada_box, files).await;

    let attempt = begins(&world, world.ada_box, mine).await.unwrap();
    none(world.ada_box, later).await;
    none(world.ada_box, mine).await;
    assert!(turn(&world, Some(accepted(&attempt)), Some(next(world.ada_box, later))).await.begun.is_some());
    assert_eq!(world.count("select count(*) from send_attempts").await, 2);
}

#[tokio::test]
async fn an_answer_that_decides_more_than_sent_is_passed_over_with_what_follows_it() {
    let world = world().await;
    let [mine, later] = asked(&world, &[world.ada_box; 2]).await[..] else { panic!("two were asked for") };
    let attempt = begins(&world, world.ada_box, mine).await.unwrap();
    let (plain, version) = accepted(&attempt);
    let passed_over = async |answer, version| {
        let turned = turn(&world, Some((answer, version)), Some(next(world.ada_box, later))).await;
        assert!(!turned.answered && turned.begun.is_none());
        assert_eq!(world.count("select count(*) from send_attempts where answered_at is null").await, 1);
    };
    for states in [[Accepted, Accepted, Deferred], [Refused, Accepted, Accepted]] {
        passed_over(answer(&attempt, SendAnswer::Accepted, &states), version).await;
    }
    for ended in [SendAnswer::NotAccepted, SendAnswer::NotSent, SendAnswer::Unknown] {
        passed_over(answer(&attempt, ended, &[Accepted; 3]), version).await;
    }
    // Not for everybody, and of an email that was changed meanwhile.
    passed_over(answer(&attempt, SendAnswer::Accepted, &[Accepted; 2]), version).await;
    passed_over(plain.clone(), version - 1).await;
    passed_over(plain.clone(), version + 1).await;
    for (change, back) in [
        (
            "update emails set state = 'unknown' where state = 'sending'",
            "update emails set state = 'sending' where state = 'unknown'",
        ),
        (
            "update send_recipients set state = 'canceled' where position = 1",
            "update send_recipients set state = 'waiting' where position = 1",
        ),
        (
            "update send_recipients set state = 'accepted' where position = 1",
            "update send_recipients set state = 'waiting' where position = 1",
        ),
    ] {
        owner(&world, change).await;
        passed_over(plain.clone(), version).await;
        owner(&world, back).await;
    }
    let tenant = world.tenant().await;
    let waits = NewAlert {
        kind: AlertKind::SendWaiting,
        subject: Subject::Email(mine),
        detail: String::new(),
        parameters: json!({}),
        server_said: None,
    };
    store::alert::raise(&tenant, &waits).await.unwrap();
    tenant.commit().await.unwrap();
    passed_over(plain.clone(), version).await;
    owner(&world, "delete from alerts").await;

    // Written once; said again it changes nothing.
    assert!(turn(&world, Some((plain.clone(), version)), None).await.answered);
    assert!(!turn(&world, Some((plain, version)), None).await.answered);
    assert_eq!(world.count("select count(*) from changes where fields->'state'->>'new' = 'sent'").await, 1);
}

#[tokio::test]
async fn an_email_that_somebody_holds_holds_up_nobody_else() {
    let world = world().await;
    let emails = asked(&world, &[world.ada_box, world.bob_box]).await;
    let tenant = world.tenant().await;
    begin_attempt(&tenant, world.ada_box, CLAIM, SessionId(uuid::Uuid::nil()), emails[0], &author())
        .await
        .unwrap();
    let both = [(world.ada_box, emails[0]), (world.bob_box, emails[1])];
    let turned = join_all(both.map(|(mailbox, email)| begins(&world, mailbox, email))).await;
    assert!(turned[0].is_none() && turned[1].is_some());
    drop(tenant);
    assert!(begins(&world, world.ada_box, emails[0]).await.is_some());
}
