//! TLS on a socket that belongs to a shard, after the handshake. Output is encrypted in the buffer
//! from which it is written. Input is decrypted into the buffer that all connections share.

use std::io::{self, ErrorKind, Read, Write};

use rustls::ServerConnection;

/// The TLS of one connection. It holds no output: bytes that the socket does not take wait where
/// those of a plain socket wait, and are bounded there. Of input it holds at most one incomplete
/// record.
#[derive(Debug)]
pub(crate) struct Encryption(ServerConnection);

impl Encryption {
    /// Takes over a connection whose handshake is done.
    pub(crate) fn new(mut connection: ServerConnection) -> Self {
        // Its buffer needs no limit, because it is emptied as soon as it is filled.
        connection.set_buffer_limit(None);
        Self(connection)
    }

    /// Reads from the socket at most once, like [`Read::read`]: zero is the end.
    ///
    /// Only an error of kind [`WouldBlock`](ErrorKind::WouldBlock) means that there is nothing more
    /// to read now; a short read does not.
    pub(crate) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let Self(connection) = self;
        loop {
            match connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Without close_notify, which many clients do not send. A truncated message is
                // noticed by its frame.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if connection.read_tls(socket)? == 0 {
                return Ok(0);
            }
            if let Err(error) = connection.process_new_packets() {
                // Sends the alert. The connection is lost anyway, so it does not matter here
                // whether the alert arrives.
                connection.write_tls(socket).ok();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// Encrypts the content of `bytes` in place. All of it must be written, in the order of the
    /// calls.
    pub(crate) fn encrypt(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let Self(connection) = self;
        connection.writer().write_all(bytes)?;
        bytes.clear();
        while connection.wants_write() {
            connection.write_tls(bytes)?;
        }
        Ok(())
    }

    /// Tells the peer that nothing more follows. All output has been written; if the socket is full
    /// all the same, the message is omitted.
    pub(crate) fn finish(&mut self, socket: &mut impl Write) {
        let Self(connection) = self;
        connection.send_close_notify();
        connection.write_tls(socket).ok();
    }
}
