//! The socket that listens, and what those that it accepts have from it.

use std::time::Duration;

/// How sockets are set up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ListenerSettings {
    /// Connections that the kernel may hold until the server accepts them: 4,096 by default, and no
    /// more than the kernel itself allows (`net.core.somaxconn` on Linux). To those beyond it the
    /// server seems away, and they try again a second later.
    pub backlog: u16,
    /// Bytes that the kernel may hold for one client: 256 KiB by default. More would hide that a
    /// client does not read.
    pub send_buffer: usize,
    /// How long the kernel waits for a client's machine to take what an answer over HTTP says
    /// before it gives the connection up: 45 s by default, zero for the kernel's own time. Linux
    /// only.
    ///
    /// WebSockets have the kernel's own time, for they have the
    /// [heartbeat](crate::config::SessionSettings::heartbeat_interval) and the [output
    /// timeout](crate::config::ClientLimits::output_timeout): the kernel counts one that has no
    /// room for what is sent among those that do not answer, from the first time that it asks for
    /// room, and so would reset who reads steadily into little room.
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
