//! An email's way: written, with files, sent, taken back, in doubt; and one that came in, read safely.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::answer;
use crate::world::{World, id, world};

async fn draft(world: &World, body: Value) -> String {
    format!("emails/{}", id(&world.ada.post("emails", body).await.expect(201)))
}

#[tokio::test]
async fn a_draft_is_written_changed_sent_and_taken_back() {
    let world = world().await;
    world.enable(&world.ada_box).await;
    let body = json!({
        "from": world.ada_box, "to": [{"address": "bob@example.com", "name": "Bob"}], "bcc": [{"address": "eve@example.com"}],
        "subject": "Engine", "text": "It works.", "html": "<b>It works.</b>",
    });
    let path = draft(&world, body).await;
    let changed = world.ada.patch(&path, json!({"subject": "Engines", "html": null})).await.expect(200);
    assert_eq!(changed["subject"], "Engines");
    let roles: Vec<_> =
        changed["parties"].as_array().unwrap().iter().map(|party| party["role"].clone()).collect();
    assert_eq!(roles, ["from", "to", "bcc"], "what is left out stays");
    let content = world.ada.get(&format!("{path}/body")).await.expect(200);
    assert_eq!((content["text"].as_str(), content["html"].as_str()), (Some("It works."), None));

    let sent = world
        .ada
        .post(&format!("{path}/send"), json!({"not_before": "2099-01-01T00:00:00Z"}))
        .await
        .expect(202);
    assert_eq!(sent["state"], "pending_send");
    assert_eq!(sent["sending"]["recipients"].as_array().unwrap().len(), 2);
    world.ada.patch(&path, json!({"subject": "Too late"})).await.problem(409, "state");
    let mailbox = world.ada.get(&format!("mailboxes/{}", world.ada_box)).await.expect(200);
    assert_eq!(mailbox["backlog"]["emails"], 1);
    assert_eq!(world.admin.get("status").await.expect(200)["sends"]["pending"], 1);
    assert_eq!(world.ada.post(&format!("{path}/cancel"), json!({})).await.expect(200)["state"], "draft");
    world.ada.delete(&path).await.expect(204);
    world.ada.get(&path).await.problem(404, "id");
}

#[tokio::test]
async fn what_is_in_doubt_is_decided_by_a_person() {
    let world = world().await;
    world.enable(&world.ada_box).await;
    let body = json!({"from": world.ada_box, "to": [{"address": "bob@example.com"}]});
    for (verb, state) in [("resend", "pending_send"), ("mark-sent", "sent")] {
        let path = draft(&world, body.clone()).await;
        world.ada.post(&format!("{path}/send"), json!({})).await.expect(202);
        world.ada.post(&format!("{path}/{verb}"), json!({})).await.problem(409, "state");
        let owner = world.served.database.owner().await.unwrap();
        owner
            .batch_execute(
                "insert into send_attempts (organization_id, id, send_request_id, recipients, claim, session_id)
                 select organization_id, gen_random_uuid(), id, array[1], 1, gen_random_uuid() from send_requests
                 where ended_at is null;
                 update emails set state = 'unknown' where state = 'pending_send'",
            )
            .await
            .unwrap();
        let decided = world.ada.post(&format!("{path}/{verb}"), json!({})).await.expect(200);
        assert_eq!(decided["state"], state, "{decided}");
        owner
            .batch_execute("update send_requests set ended_at = now() where ended_at is null")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_is_odd_about_an_email_is_told_by_name_and_in_words() {
    let world = world().await;
    let path = draft(&world, json!({})).await;
    let owner = world.served.database.owner().await.unwrap();
    owner
        .batch_execute(
            "update emails set warnings = array['outlook_rich_text', 'message_id_reused', 'of_tomorrow']",
        )
        .await
        .unwrap();
    let listed = world.ada.get("emails").await.expect(200)["items"][0].clone();
    for email in [world.ada.get(&path).await.expect(200), listed] {
        let told: Vec<_> = email["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|warning| (warning["name"].as_str().unwrap(), warning["meaning"].as_str().unwrap()))
            .collect();
        let [(rich, outlook), (reused, twice), (_, unknown)] = told[..] else { panic!("{email}") };
        assert_eq!((rich, reused), ("outlook_rich_text", "message_id_reused"));
        assert!(outlook.contains("winmail.dat") && twice.contains("same Message-ID"), "{email}");
        assert!(unknown.contains("odd"), "a name of another version is told as well: {email}");
    }
}

#[tokio::test]
async fn files_go_in_and_come_out_as_they_are() {
    let world = world().await;
    let path = draft(&world, json!({"html": "<img src=\"cid:logo\">"})).await;
    let bytes: Vec<u8> = (0..3 * 1024 * 1024 + 17).map(|place: u32| place.to_le_bytes()[1]).collect();
    let upload = world
        .ada
        .request(Method::POST, &format!("{path}/attachments?name=gr%C3%BCn.png&content_id=logo"))
        .header("content-type", "image/png")
        .body(bytes.clone());
    let file = answer(upload).await.expect(201);
    assert_eq!((file["size"].as_u64(), file["inline"].as_bool()), (Some(bytes.len() as u64), Some(true)));
    let response =
        world.ada.request(Method::GET, &format!("{path}/attachments/{}", id(&file))).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "image/png");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("sandbox"));
    let disposition = response.headers()["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment;") && disposition.contains("gr%C3%BCn.png"), "{disposition}");
    assert!(response.bytes().await.unwrap() == bytes, "the content came back changed");
    world.bob.get(&format!("{path}/attachments/{}", id(&file))).await.problem(404, "id");
    world.ada.delete(&format!("{path}/attachments/{}", id(&file))).await.expect(204);
    world.ada.get(&format!("{path}/attachments/{}", id(&file))).await.problem(404, "id");
    answer(world.ada.request(Method::POST, &format!("{path}/attachments")).body("x"))
        .await
        .problem(422, "name");
}

#[tokio::test]
async fn the_files_of_an_email_are_counted_together() {
    let world = world().await;
    world.admin.put("settings/max_message_mb", json!({"value": 1})).await.expect(200);
    let path = draft(&world, json!({})).await;
    let upload = |size: usize| {
        answer(world.ada.request(Method::POST, &format!("{path}/attachments?name=x")).body(vec![1_u8; size]))
    };
    upload(700 * 1024).await.expect(201);
    let problem = upload(700 * 1024).await.problem(413, "attachment");
    assert!(problem["detail"].as_str().unwrap().contains("with the files already there 1.4 MB"), "{problem}");
    upload(300 * 1024).await.expect(201);
}

#[tokio::test]
async fn a_mail_that_came_in_is_read_safely() {
    let world = world().await;
    let email = world.receive(&world.ada_box, 7).await;
    let path = format!("emails/{email}");
    let read = world.ada.get(&path).await.expect(200);
    assert_eq!(
        (read["state"].as_str(), read["receipts"][0]["mailbox_name"].as_str()),
        (Some("received"), Some("Ada"))
    );
    let content = world.ada.get(&format!("{path}/body")).await.expect(200);
    let html = content["html"].as_str().unwrap();
    assert!(html.contains("Body 7") && !html.contains("script") && !html.contains("spy.example"), "{html}");
    let raw = world.ada.get(&format!("{path}/raw")).await;
    assert_eq!(raw.headers["content-type"], "message/rfc822");
    assert_eq!(raw.text, "Subject: Number 7\r\n\r\nBody 7\r\n");
    let attachment = content["attachments"][0]["id"].as_str().unwrap();
    let file = world.ada.get(&format!("{path}/attachments/{attachment}")).await;
    assert_eq!(file.headers["x-content-type-options"], "nosniff");
    assert_eq!(file.text, "<script>alert(2)</script>");
    world.ada.patch(&path, json!({"subject": "Mine"})).await.problem(409, "direction");
    world.ada.post(&format!("{path}/send"), json!({})).await.problem(409, "direction");
    world.ada.delete(&path).await.problem(409, "direction");

    let before = world.admin.get(&format!("changes?record_id={email}")).await.expect(200);
    world.admin.get(&format!("{path}/body")).await.expect(200);
    let after = world.admin.get(&format!("changes?record_id={email}")).await.expect(200);
    let count = |list: &Value| list["items"].as_array().unwrap().len();
    assert_eq!(
        count(&after),
        count(&before) + 1,
        "an administrator's look is written down, the owner's is not"
    );
    let found = world
        .ada
        .get("emails?message_id=7@sender.example&direction=incoming&address=Carol@Sender.example")
        .await;
    assert_eq!(found.expect(200)["items"].as_array().unwrap().len(), 1);
}
