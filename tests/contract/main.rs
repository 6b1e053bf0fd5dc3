//! What a provider must do, written once and run against every provider on its real servers. A new provider costs one
//! file beside `pop3_smtp.rs`, and one line here; nothing in `suite` may know which provider it runs against.
//!
//! `docs/contract.md` lists every line against every provider, and is held against this file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod exchange;
mod house;
mod pop3_smtp;
mod provider;
mod ring;
mod suite;
mod table;

use exchange::ExchangeEws;
use pop3_smtp::Pop3Smtp;

/// Every line of the contract: the part of the suite, and the sentence that names it. `$then!` is called with all of
/// them behind what it is given.
macro_rules! lines {
    ($then:ident!($($more:tt)*)) => {
        $then! { [$($more)*]
            incoming::only_what_is_new_is_fetched_and_in_the_order_of_its_arrival,
            incoming::what_was_recorded_is_recorded_once_however_often_it_is_offered,
            incoming::a_process_that_dies_in_the_middle_loses_nothing_and_doubles_nothing,
            incoming::nothing_older_than_the_floor_comes_in_and_nothing_of_it_is_stored,
            incoming::the_policy_decides_and_of_what_it_refuses_nothing_is_stored,
            incoming::a_cycle_stops_at_its_caps_and_the_next_goes_on_there,
            outgoing::a_mail_to_many_arrives_once_with_each_and_is_sent,
            outgoing::who_is_refused_holds_up_nobody_and_who_is_deferred_gets_it_later,
            outgoing::a_mail_that_nobody_takes_has_failed,
            outgoing::several_mails_leave_over_one_connection_in_the_order_they_were_asked_for,
            outgoing::a_reply_names_the_conversation_it_belongs_to,
            outgoing::a_mail_that_is_canceled_before_its_turn_never_leaves,
            bcc::each_bcc_recipient_gets_the_mail_and_nobody_sees_a_bcc,
            bcc::a_mail_to_bcc_recipients_alone_names_none_of_them,
            bcc::no_record_of_a_recipient_names_a_bcc_and_the_senders_own_does,
            bcc::no_saved_copy_names_a_bcc,
            sizes::a_message_of_one_byte_and_one_without_a_body_are_messages,
            sizes::a_message_of_exactly_the_limit_comes_in_and_one_byte_more_does_not,
            sizes::a_message_of_forty_megabytes_is_streamed_and_kept_to_the_byte,
            sizes::a_mail_larger_than_the_server_takes_fails_with_the_reason_and_holds_up_nobody,
            sizes::a_mail_larger_than_our_own_limit_is_never_offered,
            limits::never_more_connections_than_allowed_are_open_and_everyone_gets_a_turn,
            limits::one_mailbox_has_one_connection_whatever_wants_it,
            limits::large_mails_on_their_way_out_wait_until_there_is_memory_for_them,
            rates::a_mailbox_sends_as_many_as_it_may_and_the_rest_waits_without_failing,
            rates::mailboxes_that_share_a_server_share_what_it_takes,
            rates::reading_ends_at_a_seam_where_its_rate_is_spent_and_goes_on_there,
            cancellation::a_claim_that_is_taken_away_at_any_request_of_reading_leaves_nothing_half,
            cancellation::a_claim_that_is_taken_away_at_any_request_of_sending_sends_nothing_twice,
            cancellation::a_lease_that_is_lost_at_any_request_of_reading_leaves_nothing_half,
            cancellation::a_lease_that_is_lost_at_any_request_of_sending_sends_nothing_twice,
            cancellation::a_shutdown_at_any_request_of_reading_ends_at_a_seam,
            cancellation::a_shutdown_at_any_request_of_sending_ends_at_a_seam,
            faults::a_server_that_is_down_disables_nobody_and_all_goes_on_when_it_is_back,
            faults::a_port_that_takes_connections_and_says_nothing_is_given_up_in_time,
            faults::a_server_without_tls_is_told_apart_and_gets_no_password,
            faults::a_certificate_of_an_unknown_authority_is_refused,
            faults::a_certificate_for_another_name_is_refused,
            faults::a_certificate_that_expired_is_refused,
            faults::a_greeting_that_never_comes_is_given_up_in_time,
            faults::a_greeting_of_garbage_is_the_servers_failure,
            faults::garbage_at_any_request_of_reading_loses_nothing,
            faults::garbage_at_any_request_of_sending_sends_nothing_twice,
            faults::a_line_dropped_at_any_request_of_reading_loses_nothing_and_doubles_nothing,
            faults::a_line_dropped_before_any_request_of_sending_sends_nothing_twice,
            faults::a_line_dropped_after_any_request_of_sending_sends_nothing_twice,
            faults::a_server_that_speaks_one_byte_at_a_time_is_waited_for,
            faults::a_server_that_answers_only_to_turn_one_away_is_not_down,
            faults::a_refused_password_is_asked_twice_and_then_never_again,
        }
    };
}
pub(crate) use lines;

/// One test for every line, against one provider.
macro_rules! against {
    ([$module:ident $provider:ident] $($part:ident::$line:ident,)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $line() {
                    if <super::$provider as crate::provider::Provider>::lacks(stringify!($line)).is_none() {
                        Box::pin(crate::suite::$part::$line::<super::$provider>()).await;
                    }
                }
            )*
        }
    };
}

lines!(against!(on_pop3_smtp Pop3Smtp));
lines!(against!(on_exchange ExchangeEws));
