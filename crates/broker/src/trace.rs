//! The trace context that travels beside an invitation, so that a worker's trace links to the scheduler's.

use opentelemetry::propagation::{Extractor, Injector};

/// W3C Trace Context (`traceparent`, `tracestate`) as it stands in the AMQP headers. A propagator writes to it and
/// reads from it: `propagator.inject_context(&context, &mut trace)`, `propagator.extract(&trace)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Version, trace id, parent id and flags.
    pub traceparent: String,
    /// Vendors' additions, empty when there are none.
    pub tracestate: String,
}

/// The names of the headers, as the recommendation writes them.
pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";

/// The recommendation asks to pass on at least 512 characters of `tracestate`; more than that is not believed.
const LONGEST_TRACESTATE: usize = 512;

impl TraceContext {
    /// Reads the headers of a message. What is not written like a trace context is no trace context.
    pub(crate) fn read(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let shaped = traceparent.len() == 55
            && traceparent.bytes().enumerate().all(|(at, byte)| match at {
                2 | 35 | 52 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        shaped.then(|| Self {
            traceparent: traceparent.to_owned(),
            tracestate: tracestate
                .filter(|text| {
                    text.len() <= LONGEST_TRACESTATE && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
                })
                .unwrap_or_default()
                .to_owned(),
        })
    }
}

impl Injector for TraceContext {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.traceparent = value,
            TRACESTATE => self.tracestate = value,
            _ => {}
        }
    }
}

impl Extractor for TraceContext {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(&self.traceparent),
            TRACESTATE => Some(&self.tracestate).filter(|state| !state.is_empty()).map(String::as_str),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_what_is_written_like_a_trace_context_is_believed() {
        assert_eq!(TraceContext::read(PARENT, Some("a=1")).unwrap().tracestate, "a=1");
        assert_eq!(TraceContext::read(PARENT, Some(&"x".repeat(513))).unwrap().tracestate, "");
        assert_eq!(TraceContext::read(PARENT, Some("a=\n1")).unwrap().tracestate, "");
        for wrong in ["", "00", &PARENT.replace('-', "_"), &PARENT.replace('f', "x"), &format!("{PARENT}0")] {
            assert_eq!(TraceContext::read(wrong, None), None, "{wrong}");
        }
    }
}
