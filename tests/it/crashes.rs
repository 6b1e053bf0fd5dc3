//! Processes that die at named places, and the checker that must find what is wrong afterwards. `make chaos` kills at
//! every place there is; here at those where it matters most.

use lockstep_tests::Servers;
use lockstep_tests::chaos::{Send, Violation, World, violations};
use model::crash::Point;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_between_an_effect_and_its_record_loses_nothing_and_repeats_nothing_silently() {
    let mut world = World::new(Servers::shared().await, 2, 1).await;
    for point in [
        Point::QueueAfter,
        Point::ClaimAfter,
        Point::CommitBefore,
        Point::DeleAfter,
        Point::DataAfter,
        Point::VerdictAfter,
        Point::GrantAfter,
        Point::RequestAfter,
    ] {
        world.die_at(point).await;
    }
    if let Err(violations) = world.settle().await {
        panic!("{violations:#?}");
    }
    // Whoever died before the dot and after the answer left a doubt, and only the second mail was received.
    let history = world.history(false).await;
    let doubts = history.sends.iter().filter(|send| send.state == "unknown");
    let arrived =
        |send: &&Send| history.arrived.iter().any(|copy| send.message_ids.contains(&copy.message_id));
    let (received, not_received): (Vec<_>, Vec<_>) = doubts.partition(arrived);
    assert!(!received.is_empty() && !not_received.is_empty(), "{received:?} {not_received:?}");

    // Nothing that is wrong would go unnoticed.
    let doubled = "with one as (select * from emails where direction = 'incoming' order by id limit 1),
         copy as (insert into emails (organization_id, id, direction, state, identity, message_id, warnings,
                                      created_by, modified_by)
                  select organization_id, gen_random_uuid(), direction, state, sha256(identity), message_id,
                         array['message_id_reused'], 'x', 'x'
                  from one returning organization_id, id)
         insert into receipts (organization_id, email_id, mailbox_id, copy_id, received_at)
         select c.organization_id, c.id, r.mailbox_id, r.copy_id, r.received_at
         from copy c, receipts r, one where r.email_id = one.id limit 1";
    world.execute(doubled).await;
    let found = violations(&world.history(false).await);
    assert!(matches!(found.as_slice(), [Violation::Doubled(_, 2)]), "{found:#?}");
    let deleted =
        "delete from emails where id = (select id from emails where direction = 'incoming' and created_by <> 'x'
                                        order by id desc limit 1)";
    world.execute(deleted).await;
    let found = violations(&world.history(false).await);
    assert!(found.iter().any(|violation| matches!(violation, Violation::Lost(_))), "{found:#?}");
}
