//! What is passed on, and what comes back.

use updraft::prelude::*;

use crate::common::talk;
use crate::world::{fixture, in_front_of};

#[test]
fn gateway_001_what_is_not_registered_here_is_answered_by_the_app() {
    let app = fixture();
    let server = in_front_of(app.port(), |builder| {
        builder
            .method("here", async |_: Call| Ok("here"))
            .publish("mine", async |mine: Subscription| {
                mine.added("own", "a", ejson!({ "n": 1 }));
                Ok(())
            })
            .owns("own")
    });
    let mut client = server.client();
    talk(
        &mut client,
        r#"
        -> {"msg":"sub","id":"s1","name":"two"}
        <- {"msg":"added","collection":"things","id":"a","fields":{"n":1,"s":"x"}}
        <- {"msg":"added","collection":"things","id":"b","fields":{"n":2}}
        <- {"msg":"ready","subs":["s1"]}
        -> {"msg":"sub","id":"s2","name":"mine"}
        <- {"msg":"added","collection":"own","id":"a","fields":{"n":1}}
        <- {"msg":"ready","subs":["s2"]}
        -> {"msg":"method","id":"1","method":"echo","params":[5]}
        <- {"msg":"updated","methods":["1"]}
        <- {"msg":"result","id":"1","result":[5]}
        -> {"msg":"method","id":"2","method":"here"}
        <- {"msg":"updated","methods":["2"]}
        <- {"msg":"result","id":"2","result":"here"}
        -> {"msg":"unsub","id":"s1"}
        <- {"msg":"removed","collection":"things","id":"a"}
        <- {"msg":"removed","collection":"things","id":"b"}
        <- {"msg":"nosub","id":"s1"}
        -> {"msg":"unsub","id":"s2"}
        <- {"msg":"removed","collection":"own","id":"a"}
        <- {"msg":"nosub","id":"s2"}
        -> {"msg":"ping","id":"p"}
        <- {"msg":"pong","id":"p"}
        "#,
    );
    assert_eq!(server.stats().upstreams, 1);
    drop(client);
}
