//! Everything that can go wrong, one at a time: what breaks it, for how long, and what mends it.

mod disturb;

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use tokio::time::sleep;

use super::world::{IN_DOUBT, LEASE, QUIET, World};
use crate::Signal;

/// One way to break something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// One process of a role is killed.
    Kill(&'static str),
    /// Every process of a role is killed at once.
    KillAll(&'static str),
    /// Every process there is.
    KillEverything,
    /// A process is told to end.
    Terminate(&'static str),
    /// A process is frozen for longer than a lease and a session, and goes on.
    Freeze(&'static str),
    /// A process whose clock is wrong by an hour, forward or back.
    WrongClock(&'static str, &'static str),
    /// SIGKILL to the broker.
    KillBroker,
    /// The broker is stopped and started.
    RestartBroker,
    /// The broker raises its disk alarm: it takes no messages.
    BlockBroker,
    /// The broker comes back without anything that was in it.
    WipeBroker,
    /// SIGKILL to Postgres and all of its processes, in the middle of commits.
    KillPostgres,
    /// Postgres is stopped and started.
    RestartPostgres,
    /// SIGKILL to Redis, which comes back empty.
    KillRedis,
    /// Redis is stopped, and comes back empty.
    StopRedis,
    /// Redis forgets everything while it runs.
    FlushRedis,
    /// Every connection to a mail server is cut.
    CutMail,
    /// Mail servers fall silent, while they go on counting their connections, and are heard again.
    SilentMail,
    /// The network loses everything on the connections that are open, their ends too, and never again gives anything back.
    /// The servers count them for as long as their idle time.
    SeverMail,
    /// Nobody listens where mail servers were.
    RefuseMail,
    /// The mail servers themselves are stopped and started.
    RestartMail,
    /// The network between workers and coordinators falls silent.
    SilentCoordinators,
    /// Messages that come again, late, too early, and such as cannot be read.
    StrangeMessages,
}

use Fault as F;

impl Fault {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        F::Kill("worker"),
        F::KillAll("worker"),
        F::Kill("scheduler"),
        F::KillAll("scheduler"),
        F::Kill("coordinator"),
        F::KillAll("coordinator"),
        F::Kill("jobs"),
        F::Kill("api"),
        F::KillEverything,
        F::Terminate("worker"),
        F::Freeze("worker"),
        F::Freeze("scheduler"),
        F::Freeze("coordinator"),
        F::WrongClock("worker", "+1h"),
        F::WrongClock("worker", "-1h"),
        F::WrongClock("scheduler", "+1h"),
        F::WrongClock("scheduler", "-1h"),
        F::WrongClock("coordinator", "+1h"),
        F::WrongClock("coordinator", "-1h"),
        F::WrongClock("jobs", "+1h"),
        F::WrongClock("jobs", "-1h"),
        F::WrongClock("api", "+1h"),
        F::WrongClock("api", "-1h"),
        F::KillBroker,
        F::RestartBroker,
        F::BlockBroker,
        F::WipeBroker,
        F::KillPostgres,
        F::RestartPostgres,
        F::KillRedis,
        F::StopRedis,
        F::FlushRedis,
        F::CutMail,
        F::SilentMail,
        F::SeverMail,
        F::RefuseMail,
        F::RestartMail,
        F::SilentCoordinators,
        F::StrangeMessages,
    ];

    /// What must be waited for when it is mended, before everything must be on schedule again: the end of a lease, of a slot
    /// in doubt, of the quiet time after a lost ledger. A message that was lost in its queue owes nothing.
    pub(crate) fn owes(self) -> Duration {
        match self {
            // Who dies holds leases, or knew of them.
            F::Kill("worker" | "coordinator")
            | F::KillAll("worker" | "coordinator")
            | F::KillEverything
            | F::Freeze("coordinator" | "scheduler")
            | F::WrongClock("worker" | "coordinator", _) => LEASE,
            // It said nothing while its leases ended, so that its slots are in doubt since; and what a cycle could not end
            // in the server's hearing is.
            F::Freeze(_) | F::SilentMail | F::SeverMail => IN_DOUBT,
            // The leases end first, which makes the connections doubtful.
            F::SilentCoordinators => LEASE + IN_DOUBT,
            F::KillRedis | F::StopRedis | F::FlushRedis => QUIET,
            F::Kill(_)
            | F::KillAll(_)
            | F::Terminate(_)
            | F::WrongClock(..)
            | F::KillBroker
            | F::RestartBroker
            | F::BlockBroker
            | F::WipeBroker
            | F::KillPostgres
            | F::RestartPostgres
            | F::CutMail
            | F::RefuseMail
            | F::RestartMail
            | F::StrangeMessages => Duration::ZERO,
        }
    }

    /// Breaks it, lets some time pass, and mends it.
    pub(crate) async fn strike(self, world: &mut World, chance: &mut StdRng) {
        let moment = Duration::from_millis(chance.random_range(100..2000));
        let while_it_lasts = Duration::from_millis(chance.random_range(500..4000));
        // Not before there is something to break.
        sleep(moment).await;
        let servers = std::sync::Arc::clone(&world.installation.servers);
        match self {
            F::Kill(role) => {
                if let Some(place) = any(&world.fleet.of(role), chance) {
                    world.fleet.members[place].kill().await;
                    sleep(while_it_lasts).await;
                }
            }
            F::KillAll(role) => {
                for place in world.fleet.of(role) {
                    world.fleet.members[place].kill().await;
                }
                sleep(while_it_lasts).await;
            }
            F::KillEverything => {
                for member in &mut world.fleet.members {
                    member.kill().await;
                }
                sleep(while_it_lasts).await;
            }
            F::Terminate(role) => {
                if let Some(place) = any(&world.fleet.of(role), chance) {
                    world.fleet.members[place].terminate().await;
                }
            }
            F::Freeze(role) => {
                if let Some(place) = any(&world.fleet.of(role), chance) {
                    world.fleet.members[place].signal(Signal::Stop).await;
                    // Its connections stay open meanwhile, so it must not last until nobody counts them any more.
                    sleep(LEASE + Duration::from_secs(1) + while_it_lasts / 2).await;
                    world.fleet.members[place].signal(Signal::Continue).await;
                }
            }
            F::WrongClock(role, offset) => world.wrong_clock(role, offset, while_it_lasts).await,
            F::KillBroker => {
                servers.rabbitmq.kill().await;
                servers.rabbitmq.start_again().await;
            }
            F::RestartBroker => {
                servers.rabbitmq.stop().await;
                sleep(while_it_lasts).await;
                servers.rabbitmq.start_again().await;
            }
            F::BlockBroker => {
                servers.rabbitmq.set_disk_alarm(true).await;
                sleep(while_it_lasts).await;
                servers.rabbitmq.set_disk_alarm(false).await;
            }
            F::WipeBroker => {
                servers.rabbitmq.stop().await;
                servers.rabbitmq.wipe();
                servers.rabbitmq.start_again().await;
                // The node is there and knows nothing of anybody.
                sleep(while_it_lasts / 4).await;
                servers.rabbitmq.create_vhost(&world.installation.virtual_host).await;
            }
            F::KillPostgres => {
                servers.postgres.kill().await;
                sleep(while_it_lasts / 2).await;
                servers.postgres.start_again().await;
            }
            F::RestartPostgres => {
                servers.postgres.stop().await;
                sleep(while_it_lasts).await;
                servers.postgres.start_again().await;
            }
            F::KillRedis => {
                servers.redis.kill().await;
                servers.redis.start_again().await;
            }
            F::StopRedis => {
                servers.redis.stop().await;
                sleep(while_it_lasts).await;
                servers.redis.start_again().await;
            }
            F::FlushRedis => world.flush_redis().await,
            F::CutMail => {
                for _ in 0..chance.random_range(1..5) {
                    world.pop3.cut_all();
                    world.smtp.cut_all();
                    sleep(while_it_lasts / 8).await;
                }
            }
            F::SilentMail => {
                let length = if chance.random_bool(0.5) { while_it_lasts } else { while_it_lasts * 3 };
                // Nobody keeps a slot for longer than the server's idle time, nor does the server.
                let length = length.min(IN_DOUBT * 7 / 8);
                world.pop3.blackhole(true);
                world.smtp.blackhole(true);
                sleep(length).await;
                world.pop3.blackhole(false);
                world.smtp.blackhole(false);
            }
            F::SeverMail => world.sever_mail().await,
            F::RefuseMail => {
                world.pop3.refuse(true);
                world.smtp.refuse(true);
                sleep(while_it_lasts).await;
                world.pop3.refuse(false);
                world.smtp.refuse(false);
            }
            F::RestartMail => {
                servers.mail.stop_dovecot().await;
                servers.mail.stop_postfix().await;
                servers.mail.start_dovecot().await;
                servers.mail.start_postfix().await;
            }
            F::SilentCoordinators => {
                world.coordinators.iter().for_each(|proxy| proxy.blackhole(true));
                sleep(LEASE + while_it_lasts).await;
                world.coordinators.iter().for_each(|proxy| proxy.blackhole(false));
            }
            F::StrangeMessages => world.strange_messages(chance.next_u64()).await,
        }
        world.fleet.complete(&world.installation);
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            F::Kill(role) => write!(f, "a {role} is killed"),
            F::KillAll(role) => write!(f, "every {role} is killed"),
            F::KillEverything => f.write_str("every process is killed"),
            F::Terminate(role) => write!(f, "a {role} is told to end"),
            F::Freeze(role) => write!(f, "a {role} is frozen for longer than a lease"),
            F::WrongClock(role, offset) => write!(f, "a {role}'s clock is wrong by {offset}"),
            F::KillBroker => f.write_str("RabbitMQ is killed"),
            F::RestartBroker => f.write_str("RabbitMQ is stopped and started"),
            F::BlockBroker => f.write_str("RabbitMQ raises its disk alarm"),
            F::WipeBroker => f.write_str("RabbitMQ comes back without any data"),
            F::KillPostgres => f.write_str("Postgres is killed in the middle of commits"),
            F::RestartPostgres => f.write_str("Postgres is stopped and started"),
            F::KillRedis => f.write_str("Redis is killed and comes back empty"),
            F::StopRedis => f.write_str("Redis is stopped and comes back empty"),
            F::FlushRedis => f.write_str("Redis is flushed"),
            F::CutMail => f.write_str("connections to mail servers are cut"),
            F::SilentMail => f.write_str("mail servers fall silent and go on counting"),
            F::SeverMail => {
                f.write_str("connections to mail servers fall silent for good and are counted on")
            }
            F::RefuseMail => f.write_str("mail servers refuse connections"),
            F::RestartMail => f.write_str("mail servers are stopped and started"),
            F::SilentCoordinators => f.write_str("coordinators cannot be reached"),
            F::StrangeMessages => f.write_str("messages come twice, late, early and broken"),
        }
    }
}

fn any(places: &[usize], chance: &mut StdRng) -> Option<usize> {
    if places.is_empty() { None } else { Some(places[chance.random_range(0..places.len())]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_owes_what_it_lets_wait_and_no_more() {
        for (fault, owes) in [
            (F::Kill("worker"), LEASE),
            (F::Kill("coordinator"), LEASE),
            (F::Kill("api"), Duration::ZERO),
            (F::Terminate("worker"), Duration::ZERO),
            (F::Freeze("worker"), IN_DOUBT),
            (F::FlushRedis, QUIET),
            (F::WipeBroker, Duration::ZERO),
            (F::KillPostgres, Duration::ZERO),
            (F::SeverMail, IN_DOUBT),
        ] {
            assert_eq!(fault.owes(), owes, "{fault}");
        }
        assert!(F::ALL.iter().all(|fault| fault.owes() <= QUIET));
    }
}
