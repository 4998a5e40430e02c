//! The tokens by which a shard's poll names its sockets.

use mio::Token;

/// The token of the inbox's waker.
pub(super) const WAKER: Token = Token(usize::MAX);

/// Set in the tokens of connections to Meteor.
const UPSTREAM: usize = 1 << (usize::BITS - 2);

/// Whose socket a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody's: it is the waker's.
    Waker,
    /// The client's with this index.
    Client(usize),
    /// The connection to Meteor of the client with this index.
    Upstream(usize),
}

/// The token of a client's connection to Meteor. That of the client itself is its index.
pub(super) fn upstream(index: usize) -> Token {
    Token(index | UPSTREAM)
}

impl Owner {
    pub(super) fn of(token: Token) -> Self {
        let Token(number) = token;
        if token == WAKER {
            Self::Waker
        } else if number & UPSTREAM != 0 {
            Self::Upstream(number & !UPSTREAM)
        } else {
            Self::Client(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whose_socket_it_is() {
        assert_eq!(Owner::of(WAKER), Owner::Waker);
        assert_eq!(Owner::of(Token(7)), Owner::Client(7));
        assert_eq!(Owner::of(upstream(7)), Owner::Upstream(7));
        assert_eq!(Owner::of(upstream(0)), Owner::Upstream(0));
    }
}
