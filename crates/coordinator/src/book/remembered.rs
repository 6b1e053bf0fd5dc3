//! What limits allow that nobody uses, for as long as somebody may still ask by an older setting of theirs: without it that
//! one would count again until the next request names the newer one. It must never grow with all limits there ever were.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::claim::Terms;
use super::limit::Limit;

#[derive(Clone, Copy, Debug)]
struct Setting {
    version: u64,
    terms: Terms,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Remembered {
    settings: HashMap<Arc<str>, Setting>,
    /// When to look at each of them, the first one first.
    looks: VecDeque<(Instant, Arc<str>)>,
}

impl Remembered {
    /// Keeps what an idle limit allows. Without a version every setting is as good as another.
    pub(super) fn keep(&mut self, key: Arc<str>, limit: &Limit, now: Instant, until: Instant) {
        // Two are looked at for one that comes, so that what is over does not pile up.
        for _ in 0..2 {
            let Some((_, key)) = self.looks.pop_front_if(|(at, _)| *at <= now) else { break };
            match self.settings.get(&key) {
                Some(setting) if setting.until > now => self.looks.push_back((setting.until, key)),
                _ => {
                    self.settings.remove(&key);
                }
            }
        }
        if limit.version > 0 {
            let setting = Setting { version: limit.version, terms: limit.terms, until };
            if self.settings.insert(Arc::clone(&key), setting).is_none() {
                self.looks.push_back((until, key));
            }
        }
    }

    /// A limit that nobody uses yet, as it was left.
    pub(super) fn limit(&self, key: &str, now: Instant) -> Limit {
        match self.settings.get(key) {
            Some(setting) if setting.until > now => Limit::new(setting.version, setting.terms),
            _ => Limit::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.settings.len().max(self.looks.len())
    }
}
