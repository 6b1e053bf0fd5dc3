//! What one may ask about a mail over the API: why it is here or not, what could still come in, and never what another
//! reader got.

use serde_json::{Value, json};

use crate::world::{id, world};

fn named<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
}

#[tokio::test]
async fn one_can_ask_why_a_mail_is_here_or_is_not_and_what_became_of_one_that_was_sent() {
    let world = world().await;
    let email = world.receive(&world.ada_box, 1).await;
    let explain = async |by: &crate::client::Client, message_id: &str| {
        by.get(&format!("emails/explain?message_id={message_id}")).await.expect(200)
    };
    let here = explain(&world.ada, "%3C1@sender.example%3E").await;
    assert_eq!(here["message_id"], "1@sender.example");
    let seen = &here["seen"][0];
    assert_eq!((&seen["decision"], &seen["rule"]), (&json!("recorded"), &json!("all")));
    assert_eq!((&seen["email"], &here["emails"][0]["id"]), (&json!(email), &json!(email)));
    assert_eq!(named(&here["looked_at"]["listed"], "name"), ["Ada", "Support"]);

    let not_here = explain(&world.ada, "skipped-1@sender.example").await;
    let seen = &not_here["seen"][0];
    assert_eq!(
        (&seen["decision"], &seen["rule"], &seen["email"]),
        (&json!("not_accepted"), &json!("known_senders_and_replies"), &Value::Null)
    );
    for words in ["meaning", "remedy"] {
        assert!(seen[words].as_str().is_some_and(|words| !words.is_empty()), "{seen}");
    }
    assert_eq!(not_here["emails"], json!([]));

    // A colleague sees nothing of it, and where was looked for him.
    for message_id in ["1@sender.example", "skipped-1@sender.example"] {
        let nothing = explain(&world.bob, message_id).await;
        assert_eq!((&nothing["seen"], &nothing["emails"]), (&json!([]), &json!([])));
        assert_eq!(named(&nothing["looked_at"]["listed"], "name"), ["Bob"]);
    }
    world.bob.get(&format!("emails/explain?message_id=x&mailbox={}", world.ada_box)).await.problem(404, "id");
    assert_eq!(explain(&world.admin, "1@sender.example").await["seen"].as_array().unwrap().len(), 1);
    world.ada.get("emails/explain?message_id=%3C%3E").await.problem(422, "message_id");

    // One that was sent: the request's Message-ID leads to the email with what became of each recipient.
    world.enable(&world.ada_box).await;
    let body =
        json!({"from": world.ada_box, "to": [{"address": "carol@there.example"}], "subject": "Engine"});
    let draft = id(&world.ada.post("emails", body).await.expect(201));
    let sent = world.ada.post(&format!("emails/{draft}/send"), json!({})).await.expect(202);
    let message_id = sent["sending"]["message_id"].as_str().unwrap();
    for by in [&world.ada, &world.admin] {
        let told = explain(by, message_id).await;
        assert_eq!(named(&told["emails"], "id"), [draft.as_str()]);
        assert_eq!(told["emails"][0]["direction"], "outgoing");
        assert_eq!(told["emails"][0]["sending"]["recipients"][0]["state"], "waiting");
        assert_eq!(told["seen"], json!([]), "it came to no mailbox");
    }
    assert_eq!(explain(&world.bob, message_id).await["emails"], json!([]));
}

#[tokio::test]
async fn what_was_passed_over_is_counted_first_and_examined_again_on_request() {
    let world = world().await;
    world.receive(&world.ada_box, 1).await;
    world.receive(&world.ada_box, 2).await;
    let path = format!("mailboxes/{}", world.ada_box);
    let counted = async || world.admin.get(&format!("{path}/re-examination")).await.expect(200);
    let both = json!({
        "total": 2, "waiting": 0, "decisions": [{"decision": "not_accepted", "could": 2, "gone": 0}],
    });
    assert_eq!(counted().await, both);
    assert_eq!(counted().await, both, "counting changes nothing");
    assert_eq!(world.admin.get("re-examination").await.expect(200), both);
    world.ada.get(&format!("{path}/re-examination")).await.expect(403);
    world.ada.post(&format!("{path}/re-examine"), json!({})).await.expect(403);

    let again = async |body: Value| world.admin.post(&format!("{path}/re-examine"), body).await;
    again(json!({"decisions": ["recorded"]})).await.problem(422, "decisions");
    let none = again(json!({"decisions": ["too_large"]})).await.expect(202);
    assert_eq!(none, json!({"items": 0, "mailboxes": 0, "mailboxes_off": 0}));
    let asked = again(json!({"decisions": ["not_accepted"]})).await.expect(202);
    assert_eq!(asked, json!({"items": 2, "mailboxes": 1, "mailboxes_off": 1}));
    let waiting = counted().await;
    assert_eq!((&waiting["total"], &waiting["waiting"]), (&json!(0), &json!(2)));
    assert_eq!(again(json!({})).await.expect(202)["items"], 0, "asking twice is as good as once");
    // Over many mailboxes it is a job.
    for (over, profile) in
        [(format!("profiles/{}/", world.profile), json!(world.profile)), (String::new(), Value::Null)]
    {
        let wanted = json!({"decisions": ["not_accepted"]});
        let job = world.admin.post(&format!("{over}re-examine"), wanted).await.expect(202);
        assert_eq!((&job["kind"], &job["state"]), (&json!("re_examine"), &json!("waiting")));
        assert_eq!(job["payload"], json!({"profile": profile, "decisions": ["not_accepted"]}));
        let wrong = json!({"decisions": ["recorded"]});
        world.admin.post(&format!("{over}re-examine"), wrong).await.problem(422, "decisions");
    }
    let changes = world.admin.get(&format!("changes?record_id={}", world.ada_box)).await.expect(200);
    let told = changes["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change.to_string().contains("re_examined"));
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn a_forger_reads_the_forgery_alone_and_hides_the_true_mail_from_nobody() {
    for forged_first in [true, false] {
        let world = world().await;
        let mut order = [(&world.ada_box, "The true words"), (&world.bob_box, "Pay to another account")];
        if forged_first {
            order.reverse();
        }
        let mut emails = Vec::new();
        for (mailbox, words) in order {
            emails.push(world.receive_words(mailbox, 1, words).await);
        }
        assert_eq!(emails[0], emails[1], "one identity, one record");
        let path = format!("emails/{}", emails[0]);
        for (reader, own, foreign) in [
            (&world.ada, "The true words", "Pay to another account"),
            (&world.bob, "Pay to another account", "The true words"),
        ] {
            for part in ["", "/body", "/raw"] {
                let answer = reader.get(&format!("{path}{part}")).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                assert!(
                    !answer.text.contains(foreign),
                    "forged first {forged_first}, {part}: {}",
                    answer.text
                );
                assert!(part.is_empty() || answer.text.contains(own), "{}", answer.text);
            }
            let read = reader.get(&path).await.expect(200);
            assert_eq!(read["receipts"].as_array().unwrap().len(), 1);
        }
        // Nor does the name of a copy, or of a file in it, open what is another's.
        let his = world.bob.get(&format!("{path}/body")).await.expect(200);
        let hers = world.ada.get(&format!("{path}/body")).await.expect(200);
        let (his_file, her_file) =
            (his["attachments"][0]["id"].as_str().unwrap(), hers["attachments"][0]["id"].as_str().unwrap());
        assert_ne!(his_file, her_file);
        world.bob.get(&format!("{path}/attachments/{her_file}")).await.problem(404, "id");
        world.ada.get(&format!("{path}/attachments/{his_file}")).await.problem(404, "id");
        let her_copy = hers["copy"].as_str().unwrap();
        world.bob.get(&format!("{path}/body?copy={her_copy}")).await.problem(404, "id");
    }
}
