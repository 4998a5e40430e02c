//! TLS on a socket that belongs to a shard, from the handshake on: what is written is encrypted in the buffer from which
//! it is written, what is read is decrypted into the buffer that all connections share.

use std::io::{self, ErrorKind, Read, Write};

use rustls::ServerConnection;

/// The TLS of one connection. It holds no output: what the socket does not take waits where that of a plain socket
/// waits, and is bounded there. Of input it holds one record that has not arrived whole, at most.
#[derive(Debug)]
pub(crate) struct Encryption(ServerConnection);

impl Encryption {
    /// Goes on with a connection whose handshake is done.
    pub(crate) fn new(mut connection: ServerConnection) -> Self {
        // It is emptied as soon as it is filled.
        connection.set_buffer_limit(None);
        Self(connection)
    }

    /// Reads from the socket, once at most, as [`Read::read`] does: zero is the end.
    ///
    /// Only an error of kind [`WouldBlock`](ErrorKind::WouldBlock) says that there is nothing more to read at the moment,
    /// a short read does not.
    pub(crate) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let Self(connection) = self;
        loop {
            match connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Without a farewell, which many do not send. A message that is cut shows by its frame.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if connection.read_tls(socket)? == 0 {
                return Ok(0);
            }
            if let Err(error) = connection.process_new_packets() {
                // The connection is lost, so it matters to nobody but the peer whether this arrives.
                connection.write_tls(socket).ok();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// Encrypts what `bytes` holds. All of it must be written, in the order of the calls.
    pub(crate) fn encrypt(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let Self(connection) = self;
        connection.writer().write_all(bytes)?;
        bytes.clear();
        while connection.wants_write() {
            connection.write_tls(bytes)?;
        }
        Ok(())
    }

    /// Says to the peer that nothing more follows. Everything is written; a socket that is full even so does without.
    pub(crate) fn finish(&mut self, socket: &mut impl Write) {
        let Self(connection) = self;
        connection.send_close_notify();
        connection.write_tls(socket).ok();
    }
}
