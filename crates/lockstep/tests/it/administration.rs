//! An administrator's day, by the command line alone.

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn mail_comes_in_and_goes_out_by_the_command_line_alone() {
    let house = House::whole().await;
    let mail = house.mail.as_ref().unwrap();
    for (address, password) in [("anna@example.com", "a secret"), ("ben@example.com", "b secret")] {
        mail.add_mailbox(address, password);
    }
    let authority = house.directory.path().join("ca.pem");
    std::fs::write(&authority, mail.ca_pem()).unwrap();
    let incoming = format!("localhost:{}", mail.pop3_port);
    let outgoing = format!("localhost:{}", mail.submission_port);

    // An empty house says what comes next.
    assert!(house.run(&["profile", "list"]).contains("lockstep profile create"));
    assert!(house.run(&["mailbox", "list"]).contains("lockstep mailbox create"));

    let profile = [
        "profile",
        "create",
        "Example Mail",
        "--incoming",
        &incoming,
        "--incoming-tls",
        "start_tls",
        "--outgoing",
        &outgoing,
        "--outgoing-tls",
        "start_tls",
        "--ca-file",
        authority.to_str().unwrap(),
    ];
    let made = house.run(&profile);
    assert!(made.contains("lockstep mailbox create ADDRESS --profile 'Example Mail'"), "{made}");

    house.run(&["user", "create", "anna@example.com", "--name", "Anna Berg"]);
    house.run(&["user", "create", "ben@example.com", "--name", "Ben Olsen"]);
    let queue = house.run(&["queue", "create", "support@example.com", "--member", "anna@example.com"]);
    assert!(queue.contains("1 member") && queue.contains("Anna Berg <anna@example.com>"), "{queue}");

    for address in ["anna@example.com", "ben@example.com"] {
        let create = [
            "mailbox",
            "create",
            address,
            "--profile",
            "Example Mail",
            "--owner",
            address,
            "--acceptance",
            "all",
            "--received-after",
            "2020-01-01T00:00:00Z",
        ];
        assert!(house.run(&create).contains(&format!("lockstep mailbox approve {address}")));
        house.run(&["mailbox", "approve", address]);
    }
    house.feed(&["mailbox", "set-password", "anna@example.com", "--password-stdin"], "a secret\n");
    house.feed(&["mailbox", "set-password", "ben@example.com", "--password-stdin"], "wrong\n");

    // A test prints its steps and enables; one that fails says so and is an error.
    let tested = house.run(&["mailbox", "test", "anna@example.com"]);
    assert!(tested.contains("ok    incoming") && tested.contains("ok    outgoing"), "{tested}");
    let failed = house.try_run(&["mailbox", "test", "ben@example.com"]);
    assert_eq!(failed.code, 1, "{}", failed.out);
    assert!(
        failed.out.contains("FAIL  incoming") && failed.err.contains("what to do"),
        "{}{}",
        failed.out,
        failed.err
    );
    assert!(
        !format!("{}{}{}", failed.out, failed.err, house.log()).contains("wrong"),
        "a password is never shown"
    );
    assert!(house.run(&["mailbox", "list", "--failing"]).contains("test failed"));
    assert!(house.run(&["alert", "list"]).contains("error"));
    let status = house.run(&["status"]);
    assert!(
        status.contains("Example") && status.contains("Newest alerts") && status.contains("alive"),
        "{status}"
    );

    house.feed(&["mailbox", "set-password", "ben@example.com", "--password-stdin"], "b secret\n");
    let both = house.run(&["mailbox", "test", "--profile", "Example Mail"]);
    assert!(both.contains("2 mailboxes tested and enabled"), "{both}");

    // An administrator sends in nobody's name without a grant.
    let draft = ["email", "draft", "--from", "anna@example.com", "--to", "ben@example.com", "--send"];
    let refused = house.refused(&draft);
    assert!(refused.contains("what to do:"), "{refused}");
    for granter in ["anna@example.com", "ben@example.com"] {
        house.run(&["user", "grant-send", granter, "grace@example.com"]);
    }

    // From one person to another, with a file, and back.
    let file = house.directory.path().join("report.csv");
    std::fs::write(&file, "a,b\n1,2\n").unwrap();
    let draft = [
        "email",
        "draft",
        "--from",
        "anna@example.com",
        "--to",
        "Ben Olsen <ben@example.com>",
        "--subject",
        "The report",
        "--text",
        "Here it is.",
        "--attach",
        file.to_str().unwrap(),
        "--send",
        "--wait",
    ];
    let sent = house.run(&draft);
    assert!(sent.contains("sent") && sent.contains("accepted"), "{sent}");
    let arrived = loop {
        house.run(&["mailbox", "sync", "ben@example.com", "incoming", "--wait"]);
        let page = house.json(&["email", "list", "--direction", "incoming", "--mailbox", "ben@example.com"]);
        if let Some(email) = page["items"].get(0) {
            break email["id"].as_str().unwrap().to_owned();
        }
    };
    let read = house.run(&["email", "show", &arrived, "--body"]);
    for part in ["The report", "Here it is.", "report.csv", "8 B", "Anna"] {
        assert!(read.contains(part), "`{part}` is missing in:\n{read}");
    }
    assert!(house.run(&["email", "raw", &arrived]).contains("Subject: The report"));
    let answer = [
        "email",
        "draft",
        "--from",
        "ben@example.com",
        "--to",
        "anna@example.com",
        "--in-reply-to",
        &arrived,
        "--text",
        "Thanks.",
    ];
    let answer = house.json(&answer);
    assert_eq!(answer["subject"], "Re: The report");
    assert_eq!(answer["references"].as_array().unwrap().len(), 1);
    let id = answer["id"].as_str().unwrap();
    assert_eq!(house.json(&["email", "send", id, "--wait"])["state"], "sent");

    assert!(house.run(&["mailbox", "items", "ben@example.com"]).contains("recorded"));
    assert!(house.run(&["mailbox", "disable", "ben@example.com", "incoming"]).contains("off"));
    let off = house.refused(&["mailbox", "sync", "ben@example.com", "incoming"]);
    assert!(off.contains("not enabled") && off.contains("what to do"), "{off}");
    assert!(house.run(&["job", "list"]).contains("test and enable"));

    assert!(house.run(&["schedule", "list"]).contains("clean-up"));
    let nightly =
        ["schedule", "create", "nightly", "key_rotation", "--cron", "0 2 * * *", "--zone", "Europe/Rome"];
    let made = house.run(&nightly);
    assert!(made.contains("0 2 * * * (Europe/Rome)") && made.contains("key rotation"), "{made}");
    assert!(house.run(&["schedule", "pause", "NIGHTLY"]).contains("paused"));
    let cleaned = house.run(&["job", "start", "clean_up", "--wait"]);
    assert!(cleaned.contains("nothing was old") && cleaned.contains("1 of 5"), "{cleaned}");
    let never = house.refused(&["schedule", "create", "never", "clean_up", "--cron", "0 0 30 2 *"]);
    assert!(
        never.contains("never comes") && never.contains("field: cron") && never.contains("what to do"),
        "{never}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_with_field_cause_and_remedy() {
    let house = House::api().await;
    let profile = |incoming: &'static str| {
        house.refused(&[
            "profile",
            "create",
            "Example",
            "--incoming",
            incoming,
            "--outgoing",
            "127.0.0.1:587",
        ])
    };
    let port = profile("127.0.0.1:70000");
    assert!(
        port.contains("field: incoming.port") && port.contains("70000") && port.contains("what to do:"),
        "{port}"
    );
    let closed = profile("10.1.2.3");
    assert!(closed.contains("field: incoming.host") && closed.contains("network.allow"), "{closed}");
    assert!(closed.contains("request: "), "the request's id leads to the log: {closed}");

    house.run(&["profile", "create", "Example", "--incoming", "127.0.0.1", "--outgoing", "127.0.0.1:587"]);
    let shown = house.json(&["profile", "show", "Example"]);
    assert_eq!((&shown["incoming"]["port"], &shown["incoming"]["tls"]), (&995.into(), &"implicit".into()));
    assert_eq!(shown["outgoing"]["tls"], "start_tls");
    assert!(house.refused(&["profile", "update", "Example"]).contains("give at least one of --name"));
    house.run(&["profile", "update", "Example", "--incoming-tls", "start_tls", "--incoming", "127.0.0.1"]);
    assert_eq!(house.json(&["profile", "show", "Example"])["incoming"]["port"], 110);

    let user = house.refused(&["user", "create", "anna at example"]);
    assert!(user.contains("field: address"), "{user}");
    house.run(&["user", "create", "anna@example.com"]);
    let mailbox = |address: &'static str, profile: &'static str| {
        ["mailbox", "create", address, "--profile", profile, "--owner", "anna@example.com"]
    };
    let unknown = house.refused(&mailbox("anna@example.com", "Nothing"));
    assert!(
        unknown.contains("there is no profile called `Nothing`") && unknown.contains("lockstep profile list"),
        "{unknown}"
    );
    house.run(&mailbox("anna@example.com", "Example"));
    let second = house.refused(&mailbox("anna2@example.com", "Example"));
    assert!(second.contains("field: owner") && second.contains("what to do:"), "{second}");

    // Nobody to send to; then a mailbox that is not enabled; then a file that is too large.
    let draft = |more: &[&'static str]| [&["email", "draft", "--from", "anna@example.com"], more].concat();
    let nobody = house.refused(&draft(&["--send"]));
    assert!(nobody.contains("what to do:"), "{nobody}");
    let asleep = house.refused(&draft(&["--to", "ben@example.com", "--send"]));
    assert!(asleep.contains("what to do:"), "{asleep}");
    let large = house.directory.path().join("large.bin");
    std::fs::File::create(&large).unwrap().set_len(60 * 1024 * 1024).unwrap();
    let large = house.refused(
        &[&draft(&["--to", "ben@example.com", "--attach"])[..], &[large.to_str().unwrap()]].concat(),
    );
    for part in ["60 MB", "25 MB", "max_message_mb", "the draft is kept"] {
        assert!(large.contains(part), "`{part}` is missing in:\n{large}");
    }
    let gone = house.refused(&draft(&["--attach", "/nowhere/report.csv"]));
    assert!(gone.contains("/nowhere/report.csv") && gone.contains("what to do:"), "{gone}");

    // Without a terminal nobody is asked for a password.
    let silent = house.refused(&["mailbox", "set-password", "anna@example.com"]);
    assert!(silent.contains("--password-stdin"), "{silent}");

    // Settings, keys and contacts.
    assert!(house.refused(&["setting", "set", "max_message_mb", "900"]).contains("from 1 to 150"));
    assert_eq!(house.json(&["setting", "set", "max_message_mb", "40"])["value"], 40);
    assert_eq!(house.json(&["setting", "set", "max_message_mb", "--default"])["is_set"], false);
    assert!(house.run(&["setting", "list"]).contains("max_message_mb"));
    let key = house.json(&["key", "create", "CRM", "--scope", "read"]);
    assert!(key["key"].as_str().unwrap().starts_with("lk_"));
    house.run(&["key", "revoke", key["id"].as_str().unwrap()]);
    assert!(house.run(&["key", "list"]).contains("revoked"));
    house.run(&["contact", "create", "Carla Diaz", "--address", "carla@customer.example"]);
    assert!(house.run(&["contact", "list"]).contains("carla@customer.example"));

    // A key that is none.
    let mut stranger = crate::program::lockstep(&["user", "list"]);
    let url = house.json(&["user", "list"]);
    assert_eq!(url["items"].as_array().unwrap().len(), 2);
    stranger
        .env("LOCKSTEP_CONFIG", house.directory.path().join("lockstep.toml"))
        .env("LOCKSTEP__CLIENT__KEY", "lk_none");
    let stranger = crate::program::run(stranger);
    assert_eq!(stranger.code, 1);
    assert!(
        stranger.err.contains("LOCKSTEP__CLIENT__KEY") && !stranger.err.contains("lk_none"),
        "{}",
        stranger.err
    );
}
