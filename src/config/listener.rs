//! The listening socket, and the options of the sockets that it accepts.

use std::time::Duration;

/// How sockets are set up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ListenerSettings {
    /// Connections that the kernel may hold until the server accepts them: 4,096 by default, and no
    /// more than the kernel allows (`net.core.somaxconn` on Linux). Further clients get no answer,
    /// and try again a second later.
    pub backlog: u16,
    /// Bytes that the kernel may hold for one client: 256 KiB by default. More would hide that a
    /// client does not read.
    pub send_buffer: usize,
    /// How long the kernel waits until a client's machine acknowledges the bytes of an HTTP
    /// response, before it drops the connection: 45 s by default, zero for the kernel's default.
    /// Linux only.
    ///
    /// WebSockets have the kernel's default, because the
    /// [heartbeat](crate::config::SessionSettings::heartbeat_interval) and the [output
    /// timeout](crate::config::ClientLimits::output_timeout) check them. The kernel would also
    /// apply this time to a client without room for more bytes, from the first time that it asks
    /// for room. So it would reset clients that read steadily into a small buffer.
    pub tcp_user_timeout: Duration,
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            backlog: 4096,
            send_buffer: 256 * 1024,
            tcp_user_timeout: Duration::from_secs(45),
        }
    }
}
