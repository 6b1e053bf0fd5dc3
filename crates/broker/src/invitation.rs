//! What travels: ids and a number, never the truth. Encoded here, and decoded with distrust.

use model::id::{JobId, MailboxId, OrganizationId};
use model::workload::Workload;
use prost::Message;
use uuid::Uuid;

use crate::Queue;

mod wire {
    #![expect(unreachable_pub, clippy::pedantic, reason = "generated from the .proto source")]
    include!(concat!(env!("OUT_DIR"), "/lockstep.broker.v1.rs"));
}

const CYCLE: &str = "application/x-protobuf; proto=lockstep.broker.v1.CycleInvitation";
const JOB: &str = "application/x-protobuf; proto=lockstep.broker.v1.JobInvitation";

/// An invitation to run something, which the store is asked about before anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invitation {
    /// To run a sync cycle.
    Cycle(CycleInvitation),
    /// To run an async operation.
    Job(JobInvitation),
}

/// An invitation to run one workload of one mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CycleInvitation {
    /// The tenant.
    pub organization: OrganizationId,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The workload.
    pub workload: Workload,
    /// The number that the schedule row had when it was queued.
    pub claim: i64,
}

/// An invitation to run one async operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobInvitation {
    /// The tenant.
    pub organization: OrganizationId,
    /// The job.
    pub job: JobId,
    /// The number that the job's row had when it was queued.
    pub claim: i64,
}

/// Why a message is no invitation. The text names the part and shows nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Another content type than the queue carries.
    #[error("the content type is not {expected}")]
    ContentType {
        /// What the queue carries.
        expected: &'static str,
    },
    /// The bytes are no such message.
    #[error("the body is not a message of that type: {0}")]
    Body(String),
    /// An id is not 16 bytes.
    #[error("{0} is not 16 bytes long")]
    Id(&'static str),
    /// The workload is unknown, or belongs into another queue.
    #[error("the workload is unknown or belongs to another queue")]
    Workload,
}

impl Invitation {
    /// The queue it travels through.
    pub fn queue(&self) -> Queue {
        match self {
            Self::Cycle(cycle) => Queue::of(cycle.workload),
            Self::Job(_) => Queue::Jobs,
        }
    }

    /// The number that must still stand on the row.
    pub fn claim(&self) -> i64 {
        match self {
            Self::Cycle(cycle) => cycle.claim,
            Self::Job(job) => job.claim,
        }
    }

    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Self::Cycle(_) => CYCLE,
            Self::Job(_) => JOB,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Cycle(cycle) => wire::CycleInvitation {
                organization_id: cycle.organization.0.as_bytes().to_vec(),
                mailbox_id: cycle.mailbox.0.as_bytes().to_vec(),
                workload: match cycle.workload {
                    Workload::Incoming => wire::Workload::Incoming,
                    Workload::Outgoing => wire::Workload::Outgoing,
                    Workload::Act => wire::Workload::Act,
                }
                .into(),
                claim: cycle.claim,
            }
            .encode_to_vec(),
            Self::Job(job) => wire::JobInvitation {
                organization_id: job.organization.0.as_bytes().to_vec(),
                job_id: job.job.0.as_bytes().to_vec(),
                claim: job.claim,
            }
            .encode_to_vec(),
        }
    }

    /// Reads what came out of a queue.
    pub fn decode(queue: Queue, content_type: Option<&str>, body: &[u8]) -> Result<Self, Undecodable> {
        let expected = if queue == Queue::Jobs { JOB } else { CYCLE };
        if content_type != Some(expected) {
            return Err(Undecodable::ContentType { expected });
        }
        if queue == Queue::Jobs {
            let message =
                wire::JobInvitation::decode(body).map_err(|error| Undecodable::Body(error.to_string()))?;
            return Ok(Self::Job(JobInvitation {
                organization: id("organization_id", &message.organization_id)?,
                job: id("job_id", &message.job_id)?,
                claim: message.claim,
            }));
        }
        let message =
            wire::CycleInvitation::decode(body).map_err(|error| Undecodable::Body(error.to_string()))?;
        let workload = match message.workload() {
            wire::Workload::Incoming => Workload::Incoming,
            wire::Workload::Outgoing => Workload::Outgoing,
            wire::Workload::Act => Workload::Act,
            wire::Workload::Unspecified => return Err(Undecodable::Workload),
        };
        if Queue::of(workload) != queue {
            return Err(Undecodable::Workload);
        }
        Ok(Self::Cycle(CycleInvitation {
            organization: id("organization_id", &message.organization_id)?,
            mailbox: id("mailbox_id", &message.mailbox_id)?,
            workload,
            claim: message.claim,
        }))
    }
}

fn id<T: From<Uuid>>(name: &'static str, bytes: &[u8]) -> Result<T, Undecodable> {
    Uuid::from_slice(bytes).map(T::from).map_err(|_| Undecodable::Id(name))
}

#[cfg(test)]
mod tests {
    use model::clock::new_id;

    use super::*;

    fn invitations() -> Vec<Invitation> {
        let mut all: Vec<_> = [Workload::Incoming, Workload::Outgoing, Workload::Act]
            .into_iter()
            .map(|workload| {
                Invitation::Cycle(CycleInvitation {
                    organization: new_id(),
                    mailbox: new_id(),
                    workload,
                    claim: 7,
                })
            })
            .collect();
        all.push(Invitation::Job(JobInvitation { organization: new_id(), job: new_id(), claim: i64::MAX }));
        all
    }

    #[test]
    fn what_is_encoded_is_decoded_and_is_small() {
        for invitation in invitations() {
            let body = invitation.encode();
            assert!(body.len() < 64, "{} bytes", body.len());
            assert_eq!(
                Invitation::decode(invitation.queue(), Some(invitation.content_type()), &body),
                Ok(invitation)
            );
        }
    }

    #[test]
    fn what_belongs_to_another_queue_is_refused() {
        for invitation in invitations() {
            for queue in Queue::ALL.into_iter().filter(|queue| *queue != invitation.queue()) {
                let decoded =
                    Invitation::decode(queue, Some(invitation.content_type()), &invitation.encode());
                assert!(decoded.is_err(), "{invitation:?} in {queue}");
            }
        }
    }

    #[test]
    fn each_broken_part_is_named() {
        let wire = |organization: usize, mailbox: usize, workload: i32| {
            wire::CycleInvitation {
                organization_id: vec![1; organization],
                mailbox_id: vec![1; mailbox],
                workload,
                claim: 1,
            }
            .encode_to_vec()
        };
        let decode = |body: &[u8]| Invitation::decode(Queue::Incoming, Some(CYCLE), body).unwrap_err();
        assert_eq!(decode(&wire(15, 16, 1)), Undecodable::Id("organization_id"));
        assert_eq!(decode(&wire(16, 17, 1)), Undecodable::Id("mailbox_id"));
        assert_eq!(decode(&wire(16, 16, 0)), Undecodable::Workload);
        assert_eq!(decode(&wire(16, 16, 9)), Undecodable::Workload);
        assert_eq!(decode(b""), Undecodable::Workload);
        assert!(matches!(decode(b"not protobuf at all"), Undecodable::Body(_)));
        assert_eq!(
            Invitation::decode(Queue::Incoming, Some("text/plain"), &wire(16, 16, 1)),
            Err(Undecodable::ContentType { expected: CYCLE })
        );
        assert!(Invitation::decode(Queue::Incoming, None, &wire(16, 16, 1)).is_err());
    }
}
