//! The door: every call but health carries the shared token. Health stays open because probes cannot carry one, and
//! it tells nothing but whether the coordinator serves.

use model::secret::{ExposeSecret as _, Secret};
use subtle::ConstantTimeEq as _;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Lets calls with the token through.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    token: Secret,
}

impl Access {
    pub(crate) fn new(token: Secret) -> Self {
        Self { token }
    }
}

impl Interceptor for Access {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(header) = request.metadata().get("authorization") else {
            return Err(Status::unauthenticated(
                "this call carries no token; send `authorization: Bearer <coordinator.token>`",
            ));
        };
        let given = header.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
        if bool::from(given.ct_eq(self.token.expose_secret().as_bytes())) {
            return Ok(request);
        }
        Err(Status::unauthenticated(
            "the token is not this coordinator's; set `throttle.token` to the value of `coordinator.token`",
        ))
    }
}
