//! Guards that keep gauges: a thing is counted until its guard is dropped, whatever ends it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Gauges;

/// A kind of thing whose living instances a gauge counts.
pub(crate) trait Gauged {
    /// The gauge that counts this kind.
    fn gauge(gauges: &Gauges) -> &AtomicUsize;
}

/// Counts one instance until dropped.
pub(crate) struct GaugeGuard<K: Gauged> {
    gauges: Arc<Gauges>,
    kind: PhantomData<K>,
}

impl<K: Gauged> GaugeGuard<K> {
    pub(crate) fn new(gauges: &Arc<Gauges>) -> Self {
        K::gauge(gauges).fetch_add(1, Ordering::Relaxed);
        Self {
            gauges: gauges.clone(),
            kind: PhantomData,
        }
    }
}

impl<K: Gauged> Drop for GaugeGuard<K> {
    fn drop(&mut self) {
        K::gauge(&self.gauges).fetch_sub(1, Ordering::Relaxed);
    }
}

impl<K: Gauged> fmt::Debug for GaugeGuard<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GaugeGuard")
    }
}

macro_rules! alive {
    ($($kind:ident counts $gauge:ident;)*) => {$(
        #[doc = concat!("Counted by [`Stats::", stringify!($gauge), "`](super::Stats).")]
        #[derive(Debug)]
        pub(crate) enum $kind {}

        impl Gauged for $kind {
            fn gauge(gauges: &Gauges) -> &AtomicUsize {
                &gauges.$gauge
            }
        }
    )*};
}

alive! {
    LiveConnection counts connections;
    LiveSession counts sessions;
    ParkedSession counts parked_sessions;
    LiveSubscription counts subscriptions;
    LiveTunnel counts tunnels;
    LiveUpstream counts upstreams;
    Login counts logins;
    SlowMethod counts slow_methods;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_404_each_is_counted_until_it_is_dropped() {
        let gauges = Arc::new(Gauges::default());
        let login = GaugeGuard::<Login>::new(&gauges);
        let others = [0; 3].map(|_| GaugeGuard::<LiveSession>::new(&gauges));
        let stats = gauges.read();
        assert_eq!((stats.logins, stats.sessions, stats.connections), (1, 3, 0));
        drop((login, others));
        assert_eq!(gauges.read(), crate::telemetry::Stats::default());
    }
}
