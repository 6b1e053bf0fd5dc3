//! The processes of an installation under attack: each can be killed, frozen, or started again as something else.

use std::os::unix::process::ExitStatusExt as _;

use model::crash::Point;

use crate::{Configuration, Installation, Process, Signal};

/// A place for one process, which comes and goes.
pub(crate) struct Member {
    pub(crate) roles: &'static str,
    configuration: Configuration,
    process: Option<Process>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
}

impl Fleet {
    /// Adds a place and starts its process.
    pub(crate) fn add(
        &mut self,
        installation: &Installation,
        roles: &'static str,
        configuration: Configuration,
    ) {
        let mut member = Member { roles, configuration, process: None };
        member.start(installation, &[]);
        self.members.push(member);
    }

    /// The places of a role.
    pub(crate) fn of(&self, role: &str) -> Vec<usize> {
        let places = self.members.iter().enumerate().filter(|(_, member)| member.roles == role);
        places.map(|(place, _)| place).collect()
    }

    /// Starts whatever does not run.
    pub(crate) fn complete(&mut self, installation: &Installation) {
        for member in &mut self.members {
            if !member.runs() {
                member.start(installation, &[]);
            }
        }
    }
}

impl Member {
    pub(crate) fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.has_ended().is_none())
    }

    pub(crate) fn start(&mut self, installation: &Installation, environment: &[(String, String)]) {
        self.process = Some(installation.start_in(self.roles, &self.configuration, environment));
    }

    /// Starts a process that dies when it passes the point for the first time.
    pub(crate) fn start_to_die(&mut self, installation: &Installation, point: Point) {
        let death = ("LOCKSTEP_CRASH_AT".to_owned(), format!("{point}:1"));
        self.start(installation, &[death]);
    }

    /// Whether it died, and by SIGKILL.
    ///
    /// # Panics
    /// When it ended in any other way, with its log.
    pub(crate) fn was_killed(&mut self) -> bool {
        let Some(process) = &mut self.process else { return true };
        let Some(status) = process.has_ended() else { return false };
        assert_eq!(status.signal(), Some(9), "{} ended with {status}:\n{}", process.name, process.log());
        true
    }

    pub(crate) async fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().await;
        }
        self.process = None;
    }

    /// SIGTERM; what it still has to do must be done in time.
    pub(crate) async fn terminate(&mut self) {
        if let Some(process) = &mut self.process {
            process.terminate().await;
        }
        self.process = None;
    }

    pub(crate) async fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal).await;
        }
    }
}
