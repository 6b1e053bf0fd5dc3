//! A handler's transaction. What it does is committed at the end of the handler, or together with the stored answer where
//! the request has an `Idempotency-Key`; a handler cannot tell the difference and need not.

use std::ops::Deref;
use std::sync::Arc;

use model::crash::{self, Point};
use store::Tenant;

use crate::idempotency::Once;

/// A transaction that sees the caller's organization. Dropped without [`Transaction::commit`], it is rolled back.
pub(crate) struct Transaction {
    tenant: Tenant,
    once: Option<Arc<Once>>,
}

impl Transaction {
    /// One that is committed at once; with `once` the commit waits for the answer.
    pub(crate) fn new(tenant: Tenant, once: Option<Arc<Once>>) -> Self {
        Self { tenant, once }
    }

    /// Makes everything that was done visible to others, at the latest with the answer.
    pub(crate) async fn commit(self) -> store::Result<()> {
        if let Some(once) = self.once {
            once.hold(self.tenant);
            return Ok(());
        }
        crash::point(Point::RequestBefore);
        self.tenant.commit().await?;
        crash::point(Point::RequestAfter);
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Tenant;

    fn deref(&self) -> &Tenant {
        &self.tenant
    }
}
