//! What a client may rely on: states, ids, change keys, rights, and the answers when something is wrong with them.

use std::collections::BTreeSet;

use exchange::{Exchange, Fault, Options, Rule};

use crate::wire::{anna, ask, envelope, send};

/// The texts of every element or attribute value between two marks.
fn all<'a>(answer: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    answer.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

fn one<'a>(answer: &'a str, begin: &str, end: &str) -> &'a str {
    all(answer, begin, end).first().unwrap_or_else(|| panic!("{begin} is not in {answer}"))
}

fn sync(state: &str, most: usize) -> String {
    let state = if state.is_empty() { String::new() } else { format!("<m:SyncState>{state}</m:SyncState>") };
    format!(
        "<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>\
         <t:FieldURI FieldURI=\"item:Subject\"/><t:ExtendedFieldURI PropertyTag=\"0x300b\" PropertyType=\"Binary\"/>\
         </t:AdditionalProperties></m:ItemShape><m:SyncFolderId><t:DistinguishedFolderId Id=\"inbox\"/></m:SyncFolderId>\
         {state}<m:MaxChangesReturned>{most}</m:MaxChangesReturned></m:SyncFolderItems>"
    )
}

fn fill(exchange: &Exchange, count: usize) -> Vec<String> {
    let at = "2026-11-22T10:00:00Z".parse().unwrap();
    (0..count)
        .map(|number| {
            let message = format!("From: carl@example.net\r\nSubject: Message {number}\r\n\r\nText\r\n");
            exchange.put("anna@example.org", "inbox", message.as_bytes(), at, false)
        })
        .collect()
}

#[tokio::test]
async fn a_large_folder_is_told_page_by_page_and_each_item_once_while_it_changes() {
    let exchange = anna(Options::default()).await;
    let ids = fill(&exchange, 1200);
    let (mut state, mut told, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let answer = ask(&exchange, &sync(&state, 512)).await;
        told.extend(all(&answer, "<t:ItemId Id=\"", "\"").into_iter().map(str::to_owned));
        state = one(&answer, "<m:SyncState>", "<").to_owned();
        pages += 1;
        if pages == 1 {
            // What changes meanwhile is told in its place and again afterwards; what goes is told to be gone.
            exchange.set_subject(&ids[1100], "Changed");
            exchange.remove(&ids[1150]);
        }
        if answer.contains("<m:IncludesLastItemInRange>true") {
            break;
        }
    }
    assert_eq!(pages, 3);
    let unique: BTreeSet<&String> = told.iter().collect();
    assert_eq!((told.len(), unique.len()), (1199, 1199), "each once, and the removed one not at all");
    let answer = ask(&exchange, &sync(&state, 512)).await;
    let changed = format!("<t:Update><t:Message><t:ItemId Id=\"{}\"", ids[1100]);
    let gone = format!("<t:Delete><t:ItemId Id=\"{}\"", ids[1150]);
    assert!(answer.contains(&changed) && answer.contains(&gone), "{answer}");
    assert_eq!(all(&answer, "<t:ItemId ", ">").len(), 2);
}

#[tokio::test]
async fn a_sync_state_is_good_for_its_folder_only_and_may_be_forgotten() {
    let exchange = anna(Options::default()).await;
    fill(&exchange, 3);
    let answer = ask(&exchange, &sync("", 10)).await;
    let state = one(&answer, "<m:SyncState>", "<").to_owned();
    let elsewhere = sync(&state, 10).replace("\"inbox\"", "\"drafts\"");
    for broken in [elsewhere, sync("bm9uc2Vuc2U=", 10)] {
        let answer = ask(&exchange, &broken).await;
        assert!(answer.contains("ErrorInvalidSyncStateData"), "{answer}");
    }
    exchange.fault(Rule::new(Fault::SyncStateInvalid).on("SyncFolderItems").times(1));
    assert!(ask(&exchange, &sync(&state, 10)).await.contains("ErrorInvalidSyncStateData"));
    assert!(ask(&exchange, &sync(&state, 10)).await.contains("<m:Changes/>"));
    exchange.fault(Rule::new(Fault::DuplicatedChanges).on("SyncFolderItems").times(1));
    let answer = ask(&exchange, &sync("", 10)).await;
    assert_eq!(all(&answer, "<t:Create>", "<").len(), 6);
}

#[tokio::test]
async fn a_moved_item_has_another_id_and_the_same_search_key() {
    let exchange = anna(Options::default()).await;
    let ids = fill(&exchange, 1);
    let before = exchange.folder("anna@example.org", "inbox").remove(0);
    let moved = exchange.relocate(&ids[0], "deleteditems");
    let after = exchange.folder("anna@example.org", "deleteditems").remove(0);
    assert_eq!((after.id.as_str(), &after.search_key), (moved.as_str(), &before.search_key));
    assert_ne!(moved, ids[0]);
    let get = |id: &str| {
        format!(
            "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent>\
             </m:ItemShape><m:ItemIds><t:ItemId Id=\"{id}\"/></m:ItemIds></m:GetItem>"
        )
    };
    let answer = ask(&exchange, &get(&ids[0])).await;
    assert!(answer.contains("ErrorItemNotFound") && answer.contains("<m:Items/>"), "{answer}");
    assert!(ask(&exchange, &get(&moved)).await.contains("<t:MimeContent CharacterSet=\"UTF-8\">RnJvbTog"));
}

#[tokio::test]
async fn a_stale_change_key_neither_overwrites_nor_sends() {
    let exchange = anna(Options::default()).await;
    let created = ask(
        &exchange,
        "<m:CreateItem MessageDisposition=\"SaveOnly\"><m:Items><t:Message><t:Subject>Draft</t:Subject><t:ToRecipients>\
         <t:Mailbox><t:EmailAddress>bert@example.org</t:EmailAddress></t:Mailbox></t:ToRecipients></t:Message></m:Items>\
         </m:CreateItem>",
    )
    .await;
    let id = one(&created, "<t:ItemId ", "/>").to_owned();
    let update = |resolution: &str, id: &str| {
        format!(
            "<m:UpdateItem ConflictResolution=\"{resolution}\" MessageDisposition=\"SaveOnly\"><m:ItemChanges>\
             <t:ItemChange><t:ItemId {id}/><t:Updates><t:SetItemField><t:FieldURI FieldURI=\"item:Subject\"/><t:Message>\
             <t:Subject>Changed</t:Subject></t:Message></t:SetItemField></t:Updates></t:ItemChange></m:ItemChanges>\
             </m:UpdateItem>"
        )
    };
    let send_it = |id: &str| {
        format!("<m:SendItem SaveItemToFolder=\"true\"><m:ItemIds><t:ItemId {id}/></m:ItemIds></m:SendItem>")
    };
    let bare = id.split(" ChangeKey").next().unwrap();
    assert!(ask(&exchange, &send_it(bare)).await.contains("ErrorChangeKeyRequired"));
    let updated = ask(&exchange, &update("NeverOverwrite", &id)).await;
    let fresh = one(&updated, "<t:ItemId ", "/>").to_owned();
    assert_ne!(fresh, id);
    assert!(ask(&exchange, &update("NeverOverwrite", &id)).await.contains("ErrorIrresolvableConflict"));
    assert!(ask(&exchange, &update("AlwaysOverwrite", bare)).await.contains("NoError"));
    assert!(ask(&exchange, &send_it(&fresh)).await.contains("ErrorStaleObject"));
    assert_eq!(exchange.handed().len(), 0);
    let read = format!(
        "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:ItemIds><t:ItemId {bare}/></m:ItemIds>\
         </m:GetItem>"
    );
    let current = ask(&exchange, &read).await;
    let current = one(&current, "<t:ItemId ", "/>").to_owned();
    assert!(ask(&exchange, &send_it(&current)).await.contains("NoError"));
    assert!(ask(&exchange, &send_it(&current)).await.contains("ErrorItemNotFound"), "the draft is gone");
    let handed = exchange.handed();
    assert_eq!(handed.len(), 1);
    assert_eq!(exchange.folder("anna@example.org", "sentitems")[0].message_id, handed[0].message_id);
}

#[tokio::test]
async fn the_envelope_has_bcc_and_the_message_has_not() {
    let exchange = anna(Options::default()).await;
    // The message as MIME, and Bcc as recipients of the item beside it.
    let mime = "RnJvbTogYW5uYUBleGFtcGxlLm9yZw0KVG86IGJlcnRAZXhhbXBsZS5vcmcNClN1YmplY3Q6IEhpDQoNClRleHQNCg==";
    let sent = ask(
        &exchange,
        &format!(
            "<m:CreateItem MessageDisposition=\"SendAndSaveCopy\"><m:Items><t:Message><t:MimeContent>{mime}\
             </t:MimeContent><t:BccRecipients><t:Mailbox><t:EmailAddress>hidden@example.net</t:EmailAddress></t:Mailbox>\
             </t:BccRecipients></t:Message></m:Items></m:CreateItem>"
        ),
    )
    .await;
    assert!(sent.contains("NoError"), "{sent}");
    let handed = exchange.handed().remove(0);
    assert_eq!(handed.recipients, ["bert@example.org", "hidden@example.net"]);
    let text = String::from_utf8(handed.message).unwrap();
    assert!(
        text.contains("Subject: Hi") && text.ends_with("\r\n\r\nText\r\n") && !text.contains("hidden"),
        "{text}"
    );
    assert!(text.contains(&format!("Message-ID: {}\r\n", handed.message_id)), "{text}");
    assert_eq!(exchange.folder("anna@example.org", "sentitems")[0].bcc, ["hidden@example.net"]);
    assert!(exchange.folder("bert@example.org", "inbox")[0].bcc.is_empty());
}

#[tokio::test]
async fn an_account_without_a_mailbox_must_say_whose() {
    let exchange = anna(Options::default()).await;
    exchange.add_account("service", "secret");
    let headers = "Authorization: Basic c2VydmljZTpzZWNyZXQ=\r\n";
    let get = |mailbox: &str| {
        let body = format!(
            "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds>\
             <t:DistinguishedFolderId Id=\"inbox\">{mailbox}</t:DistinguishedFolderId></m:FolderIds></m:GetFolder>"
        );
        envelope("Exchange2013", &body)
    };
    let whose = |address: &str| format!("<t:Mailbox><t:EmailAddress>{address}</t:EmailAddress></t:Mailbox>");
    for (mailbox, code) in [
        (String::new(), "ErrorMissingEmailAddress"),
        (whose("nobody@example.org"), "ErrorNonExistentMailbox"),
        (whose("anna@example.org"), "ErrorAccessDenied"),
    ] {
        let answer = send(&exchange, "POST /EWS/Exchange.asmx", headers, &get(&mailbox)).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(code), "{code}: {answer}");
    }
    exchange.set_delegate("anna@example.org", "service", true);
    let answer = send(&exchange, "POST /EWS/Exchange.asmx", headers, &get(&whose("anna@example.org"))).await;
    assert!(answer.contains("NoError"), "{answer}");
    exchange.refuse_mailbox("anna@example.org", Some("ErrorMailboxStoreUnavailable"));
    let answer = send(&exchange, "POST /EWS/Exchange.asmx", headers, &get(&whose("anna@example.org"))).await;
    assert!(answer.contains("ErrorMailboxStoreUnavailable"), "{answer}");
}

#[tokio::test]
async fn plain_autodiscover_finds_redirects_and_refuses() {
    let exchange = anna(Options::default()).await;
    exchange.redirect_address("old@example.org", "anna@example.org");
    exchange.redirect_url("far@example.org", "https://mail.example.net/autodiscover/autodiscover.xml");
    let ask = async |address: &str, schema: &str| {
        let body = format!(
            "<Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006\"><Request>\
             <EMailAddress>{address}</EMailAddress><AcceptableResponseSchema>{schema}</AcceptableResponseSchema></Request>\
             </Autodiscover>"
        );
        let headers = format!("Authorization: {}\r\n", crate::wire::ANNA);
        send(&exchange, "POST /Autodiscover/Autodiscover.xml", &headers, &body).await
    };
    let outlook = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";
    let found = ask("anna@example.org", outlook).await;
    assert!(found.contains(&format!("<EwsUrl>{}</EwsUrl>", exchange.url())), "{found}");
    assert!(found.contains("<Action>settings</Action>") && found.contains("<Type>EXCH</Type>"), "{found}");
    assert!(ask("old@example.org", outlook).await.contains("<RedirectAddr>anna@example.org</RedirectAddr>"));
    assert!(ask("far@example.org", outlook).await.contains("<RedirectUrl>https://mail.example.net/"));
    assert!(ask("nobody@example.org", outlook).await.contains("<ErrorCode>500</ErrorCode>"));
    assert!(ask("anna@example.org", "other").await.contains("<ErrorCode>601</ErrorCode>"));
    let refused = send(&exchange, "POST /autodiscover/autodiscover.xml", "", "").await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
}
