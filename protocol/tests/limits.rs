//! What one session takes from its client before it says no, in virtual time: lengths, depths,
//! counts and durations. The transcripts have what fits into a line.

mod fixture;

use std::time::Duration;

use fixture::World;
use updraft_protocol::session::SessionConfig;

const CONNECT: &str = r#"{"msg":"connect","version":"1","support":["1","pre2","pre1"]}"#;
const BAD_REQUEST: &str = r#"{"msg":"error","reason":"Bad request"}"#;
const SECOND: Duration = Duration::from_secs(1);

fn connected() -> World {
    connected_with(|_| {})
}

fn connected_with(configure: impl FnOnce(&mut SessionConfig)) -> World {
    let mut config = SessionConfig::default();
    configure(&mut config);
    let mut world = World::with(config);
    world.receive(CONNECT);
    world.frames.clear();
    world
}

/// What comes back for a message.
fn answers(world: &mut World, text: &str) -> Vec<String> {
    world.receive(text);
    std::mem::take(&mut world.frames)
}

fn sub(id: &str, name: &str) -> String {
    format!(r#"{{"msg":"sub","id":"{id}","name":"{name}"}}"#)
}

fn nosub(id: &str, error: &str) -> String {
    format!(
        r#"{{"msg":"nosub","id":"{id}","error":{{"isClientSafe":true,{error},"errorType":"Meteor.Error"}}}}"#
    )
}

const TIMED_OUT: &str =
    r#""error":503,"reason":"Publication timed out","message":"Publication timed out [503]""#;

#[test]
fn row_038_deviation_001_a_hundred_unreadable_messages_in_ten_seconds_close() {
    let mut world = connected();
    for _ in 0..99 {
        assert_eq!(answers(&mut world, "{bad"), [BAD_REQUEST]);
    }
    assert_eq!(world.closed, None);
    assert_eq!(answers(&mut world, "{bad"), [BAD_REQUEST]);
    assert_eq!(
        world.closed.as_deref(),
        Some("1008 Too many unreadable messages")
    );
    assert!(answers(&mut world, CONNECT).is_empty());
}

#[test]
fn row_038_039_whatever_has_no_readable_msg_counts_also_before_connect() {
    let mut world = World::with({
        let mut config = SessionConfig::default();
        config.settings.max_unreadable = 4;
        config
    });
    for (text, closes) in [
        ("5", false),
        ("{}", false),
        (r#"{"cleared":5}"#, false),
        (r#"{"msg":"nonsense"}"#, false),
        (r#"{"msg":null}"#, true),
    ] {
        world.receive(text);
        assert_eq!(world.closed.is_some(), closes, "{text}");
    }
}

#[test]
fn found_504_a_message_with_a_msg_does_not_count_whatever_its_ejson_is() {
    let mut world = connected();
    for message in [
        r#"{"msg":"method","id":"1","method":"echo","params":[{"$type":"nope","$value":1}]}"#,
        r#"{"msg":"ping","cleared":5}"#,
        r#"{"msg":5,"result":{"$escape":null}}"#,
    ] {
        for _ in 0..150 {
            let answered = answers(&mut world, message);
            assert_eq!(answered, [r#"{"msg":"error","reason":"Parse error"}"#]);
        }
    }
    assert_eq!(world.closed, None);
    for message in [
        r#"{"msg":"","cleared":5}"#,
        r#"{"params":{"$escape":null}}"#,
    ] {
        for _ in 0..50 {
            world.receive(message);
        }
    }
    let closed = "1008 Too many unreadable messages";
    assert_eq!(world.closed.as_deref(), Some(closed));
}

#[test]
fn row_038_slower_garbage_is_only_answered() {
    let mut world = connected_with(|config| config.settings.heartbeat_interval = Duration::ZERO);
    for _ in 0..500 {
        assert_eq!(answers(&mut world, "{bad"), [BAD_REQUEST]);
        world.pass(Duration::from_millis(102));
    }
    assert_eq!(world.closed, None);
}

#[test]
fn row_039_deviation_004_a_message_of_more_than_1_kib_is_not_quoted() {
    let mut world = connected();
    // `{"msg":"x","a":""}` is 18 bytes.
    let message = |length: usize| format!(r#"{{"msg":"x","a":"{}"}}"#, "a".repeat(length - 18));
    let quoted = message(1024);
    assert_eq!(
        answers(&mut world, &quoted),
        [format!(
            r#"{{"msg":"error","reason":"Bad request","offendingMessage":{quoted}}}"#
        )]
    );
    assert_eq!(answers(&mut world, &message(1025)), [BAD_REQUEST]);
}

#[test]
fn row_039_what_counts_is_the_quote_too() {
    // Each byte of binary prints as a member of an object.
    let bytes = "AAAA".repeat(200);
    let text = format!(r#"{{"msg":"x","params":[{{"$binary":"{bytes}"}}]}}"#);
    assert!(text.len() < 1024);
    assert_eq!(answers(&mut connected(), &text), [BAD_REQUEST]);
}

#[test]
fn row_039_the_limit_of_quotes_holds_for_every_complaint() {
    let long = "x".repeat(1024);
    let complaint = |reason: &str| format!(r#"{{"msg":"error","reason":"{reason}"}}"#);
    let mut world = World::new();
    let ping = format!(r#"{{"msg":"ping","x":"{long}"}}"#);
    assert_eq!(
        answers(&mut world, &ping),
        [complaint("Must connect first")]
    );
    world.receive(CONNECT);
    world.frames.clear();
    for (message, reason) in [
        ("connect", "Already connected"),
        ("sub", "Malformed subscription"),
        ("method", "Malformed method invocation"),
    ] {
        let text = format!(r#"{{"msg":"{message}","x":"{long}"}}"#);
        assert_eq!(answers(&mut world, &text), [complaint(reason)]);
    }
    let mut terse = connected_with(|config| config.settings.bounds.quote = 10);
    assert_eq!(answers(&mut terse, r#"{"msg":"x"}"#), [BAD_REQUEST]);
}

#[test]
fn row_043_deviation_008_a_thousand_versions() {
    let mut world = World::new();
    let support = vec![r#""1""#; 1000].join(",");
    let connect = format!(r#"{{"msg":"connect","version":"1","support":[{support}]}}"#);
    assert_eq!(
        answers(&mut world, &connect),
        [r#"{"msg":"failed","version":"1"}"#]
    );
    assert_eq!(world.closed.as_deref(), Some("1000 Normal closure"));
}

#[test]
fn row_044_deviation_002_depth_is_counted_before_anything_is_built() {
    let mut world = connected();
    let nested = |depth: usize| {
        // The message and its parameters are two levels.
        let (open, close) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
        format!(r#"{{"msg":"method","id":"1","method":"echo1","params":[{open}{close}]}}"#)
    };
    assert_eq!(answers(&mut world, &nested(64)).len(), 2);
    assert_eq!(answers(&mut world, &nested(65)), [BAD_REQUEST]);
    assert_eq!(answers(&mut world, &"[".repeat(4_000_000)), [BAD_REQUEST]);
    assert_eq!(
        answers(&mut world, &r#"{"a":"#.repeat(800_000)),
        [BAD_REQUEST]
    );
    let mut shallow = connected_with(|config| config.settings.json.depth = 2);
    assert_eq!(answers(&mut shallow, &nested(2)).len(), 2);
    assert_eq!(answers(&mut shallow, &nested(3)), [BAD_REQUEST]);
}

#[test]
fn row_045_deviation_002_ten_thousand_entries_are_enough() {
    let mut world = connected();
    let call =
        |param: &str| format!(r#"{{"msg":"method","id":"1","method":"zero","params":[{param}]}}"#);
    let array = |entries: usize| format!("[{}]", vec!["0"; entries].join(","));
    let object = |entries: usize| {
        let members: Vec<_> = (0..entries).map(|n| format!(r#""{n}":0"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    for many in [array(10_000), object(10_000)] {
        assert_eq!(answers(&mut world, &call(&many)).len(), 2);
    }
    for too_many in [array(10_001), object(10_001)] {
        assert_eq!(answers(&mut world, &call(&too_many)), [BAD_REQUEST]);
    }
}

#[test]
fn row_051_deviation_003_ids_and_names_have_a_longest() {
    let mut world = connected();
    // é is two bytes: bytes count, not characters.
    let (fits, too_long) = ("é".repeat(128), format!("x{}", "é".repeat(128)));
    assert_eq!(
        answers(&mut world, &sub(&fits, "live")),
        [format!(r#"{{"msg":"ready","subs":["{fits}"]}}"#)]
    );
    let answer = answers(&mut world, &sub("s", &fits));
    assert!(answer[0].contains(r#""error":404"#), "{answer:?}");
    for text in [sub(&too_long, "live"), sub("s", &too_long)] {
        assert_eq!(
            answers(&mut world, &text),
            [format!(
                r#"{{"msg":"error","reason":"Malformed subscription","offendingMessage":{text}}}"#
            )]
        );
    }
    let call =
        |id: &str, method: &str| format!(r#"{{"msg":"method","id":"{id}","method":"{method}"}}"#);
    assert_eq!(answers(&mut world, &call(&fits, "zero")).len(), 2);
    for text in [call(&too_long, "zero"), call("1", &too_long)] {
        assert_eq!(
            answers(&mut world, &text),
            [format!(
                r#"{{"msg":"error","reason":"Malformed method invocation","offendingMessage":{text}}}"#
            )]
        );
    }
}

#[test]
fn row_054_deviation_017_subscriptions_are_counted() {
    let mut world = connected();
    for n in 0..256 {
        assert_eq!(answers(&mut world, &sub(&format!("s{n}"), "live")).len(), 1);
    }
    let reason = "A session may have 256 subscriptions";
    let error = format!(
        r#""error":"too-many-subscriptions","reason":"{reason}","message":"{reason} [too-many-subscriptions]""#
    );
    let refused = [nosub("more", &error)];
    assert_eq!(answers(&mut world, &sub("more", "live")), refused);
    // What would not begin anyway is answered as ever.
    assert!(answers(&mut world, &sub("s7", "live")).is_empty());
    assert!(answers(&mut world, &sub("more", "none"))[0].contains("404"));
    world.receive(r#"{"msg":"unsub","id":"s7"}"#);
    world.frames.clear();
    assert_eq!(
        answers(&mut world, &sub("more", "live")),
        [r#"{"msg":"ready","subs":["more"]}"#]
    );
    assert_eq!(answers(&mut world, &sub("s7", "live")).len(), 1);
}

#[test]
fn row_060_what_waits_is_counted() {
    let mut world = connected();
    world.receive(r#"{"msg":"sub","id":"s","name":"slow","params":[100]}"#);
    assert_eq!(world.queued(), (0, 0));
    let call = r#"{"msg":"method","id":"1","method":"zero"}"#;
    let long = "x".repeat(10_000);
    world.receive(call);
    world.receive(&call.replace("zero\"", &format!("echo\",\"params\":[\"{long}\"]")));
    // A ping does not wait.
    world.receive(r#"{"msg":"ping"}"#);
    let (messages, bytes) = world.queued();
    assert_eq!(messages, 2);
    assert!((10_000..11_000).contains(&bytes), "{bytes}");
    world.pass(SECOND);
    assert_eq!(world.queued(), (0, 0));
    world.receive(r#"{"msg":"sub","id":"t","name":"slow","params":[100]}"#);
    world.receive(call);
    world.receive(r#"{"msg":"method","id":"2","method":"closeMe"}"#);
    world.pass(SECOND);
    assert_eq!(world.queued(), (0, 0));
}

#[test]
fn found_205_what_waits_is_counted_at_what_it_takes_and_takes_no_more_than_its_text() {
    let mut world = connected();
    world.receive(r#"{"msg":"sub","id":"s","name":"slow","params":[100]}"#);
    let numbers = format!("[{}]", vec!["[1]"; 5000].join(","));
    let text = format!(r#"{{"msg":"method","id":"1","method":"echo1","params":[{numbers}]}}"#);
    world.receive(&text);
    assert_eq!(world.queued(), (1, text.len()));
    // Of little messages each takes what was read: most are used at once.
    let little = r#"{"msg":"method","id":"2","method":"echo1","params":[[1],[1]]}"#;
    world.receive(little);
    let (messages, bytes) = world.queued();
    assert_eq!(messages, 2);
    let more = bytes - text.len();
    assert!(
        (3 * little.len()..20 * little.len()).contains(&more),
        "{more}"
    );
    world.pass(SECOND);
    assert_eq!(world.queued(), (0, 0));
    let result = format!(r#"{{"msg":"result","id":"1","result":{numbers}}}"#);
    assert!(world.frames.contains(&result));
}

#[test]
fn found_205_handlers_that_hold_much_keep_the_next_message_waiting() {
    let mut world = connected_with(|config| config.max_running_bytes = 100_000);
    let numbers = format!("[{}]", vec!["[1]"; 500].join(","));
    let call = |id: u32, ms: u32| {
        format!(
            r#"{{"msg":"method","id":"{id}","method":"slowUnblock","params":[{ms},"{id}",{numbers}]}}"#
        )
    };
    // Each takes some 80 KB, and lets the next one start.
    for id in 1..=4 {
        world.receive(&call(id, id * 1000));
    }
    let each = world.running_bytes() / 2;
    assert!((50_000..100_000).contains(&each), "{each}");
    assert_eq!(world.queued().0, 2);
    world.pass(SECOND);
    assert_eq!(world.running_bytes(), 2 * each);
    assert_eq!(world.queued().0, 1);
    world.receive(r#"{"msg":"sub","id":"s","name":"live"}"#);
    // A subscription waits too, and behind the calls that came before it.
    assert_eq!(world.queued().0, 2);
    world.pass(SECOND);
    assert_eq!(world.queued().0, 1);
    world.pass(2 * SECOND);
    assert_eq!(world.queued().0, 0);
    // Alone, one may be as large as it is.
    world.pass(4 * SECOND);
    world.receive(&call(5, 1000));
    world.pass(10 * SECOND);
    assert_eq!(world.running_bytes(), 0);
    let results = world.frames.iter();
    let results = results.filter(|frame| frame.starts_with(r#"{"msg":"result""#));
    assert_eq!(results.count(), 5);
}

#[test]
fn found_205_parameters_of_subscriptions_are_counted_as_long_as_they_are_kept() {
    let mut world = connected();
    let long = "x".repeat(1000);
    for id in ["1", "2"] {
        let text = format!(r#"{{"msg":"sub","id":"{id}","name":"params","params":["{long}"]}}"#);
        world.receive(&text);
    }
    let each = format!(r#"["{long}"]"#).len();
    assert_eq!(world.subscribed_bytes(), 2 * each);
    world.receive(r#"{"msg":"method","id":"m","method":"setUser","params":["u"]}"#);
    world.pass(SECOND);
    assert_eq!(world.subscribed_bytes(), 2 * each);
    world.receive(r#"{"msg":"unsub","id":"1"}"#);
    assert_eq!(world.subscribed_bytes(), each);
    world.receive(r#"{"msg":"method","id":"c","method":"closeMe"}"#);
    assert!(world.closed.is_some());
    assert_eq!(world.subscribed_bytes(), 0);
}

#[test]
fn row_065_an_id_that_is_echoed_is_short() {
    let mut world = connected();
    let (fits, too_long) = ("x".repeat(256), "x".repeat(257));
    let ping = |id: &str| format!(r#"{{"msg":"ping","id":"{id}"}}"#);
    let bad_request = |text: &str| {
        format!(r#"{{"msg":"error","reason":"Bad request","offendingMessage":{text}}}"#)
    };
    assert_eq!(
        answers(&mut world, &ping(&fits)),
        [format!(r#"{{"msg":"pong","id":"{fits}"}}"#)]
    );
    let text = ping(&too_long);
    assert_eq!(answers(&mut world, &text), [bad_request(&text)]);
    let unsub = |id: &str| format!(r#"{{"msg":"unsub","id":{id}}}"#);
    for id in [format!(r#""{too_long}""#), format!(r#"["{too_long}"]"#)] {
        let text = unsub(&id);
        assert_eq!(answers(&mut world, &text), [bad_request(&text)]);
    }
    assert_eq!(
        answers(&mut world, &unsub(r#"[1,{"a":2}]"#)),
        [r#"{"msg":"nosub","id":[1,{"a":2}]}"#]
    );
}

#[test]
fn row_072_deviation_018_a_publication_has_a_minute() {
    let mut world = connected();
    world.receive(r#"{"msg":"sub","id":"s","name":"slow","params":[100000]}"#);
    world.receive(r#"{"msg":"method","id":"1","method":"zero"}"#);
    for _ in 0..59 {
        world.pass(SECOND);
        // A client that talks, so that nothing but the handler is late.
        world.receive(r#"{"msg":"pong"}"#);
    }
    world.frames.retain(|frame| !frame.contains("ping"));
    assert!(world.frames.is_empty(), "{:?}", world.frames);
    world.pass(SECOND);
    assert_eq!(
        std::mem::take(&mut world.frames),
        [
            nosub("s", TIMED_OUT),
            r#"{"msg":"updated","methods":["1"]}"#.to_owned(),
            r#"{"msg":"result","id":"1","result":0}"#.to_owned(),
        ]
    );
    // The handler that comes back from the dead is not heard, and its id is free.
    for _ in 0..60 {
        world.pass(SECOND);
        world.receive(r#"{"msg":"pong"}"#);
    }
    world.frames.retain(|frame| !frame.contains("ping"));
    assert!(world.frames.is_empty(), "{:?}", world.frames);
    assert_eq!(
        answers(&mut world, &sub("s", "live")),
        [r#"{"msg":"ready","subs":["s"]}"#]
    );
}

#[test]
fn deviation_020_updated_waits_for_writes_for_thirty_seconds() {
    let mut world = connected_with(|config| config.settings.heartbeat_interval = Duration::ZERO);
    let fenced = r#"{"msg":"method","id":"1","method":"fenced","params":[100000]}"#;
    assert_eq!(
        answers(&mut world, fenced),
        [r#"{"msg":"result","id":"1","result":"fenced"}"#]
    );
    world.pass(29 * SECOND);
    assert!(world.frames.is_empty(), "{:?}", world.frames);
    world.pass(SECOND);
    let updated = r#"{"msg":"updated","methods":["1"]}"#;
    assert_eq!(std::mem::take(&mut world.frames), [updated]);
    // The write that ends at last is not told once more.
    world.pass(100 * SECOND);
    assert!(world.frames.is_empty(), "{:?}", world.frames);
}

#[test]
fn row_072_the_minute_counts_from_the_handlers_own_beginning() {
    let second = |config: &mut SessionConfig| config.settings.publication_timeout = SECOND;
    let mut world = connected_with(second);
    let slow = |id: &str, name: &str, ms: u32| {
        format!(r#"{{"msg":"sub","id":"{id}","name":"{name}","params":[{ms}]}}"#)
    };
    // The second waits in the queue for the first, which does not count.
    world.receive(&slow("a", "slow", 900));
    world.receive(&slow("b", "slow", 900));
    world.pass(2 * SECOND);
    assert_eq!(
        std::mem::take(&mut world.frames),
        [
            r#"{"msg":"ready","subs":["a"]}"#,
            r#"{"msg":"ready","subs":["b"]}"#
        ]
    );
    // One that has unblocked is not forgotten, and neither are two of them.
    world.receive(&slow("c", "slowUnblock", 5000));
    world.receive(&slow("d", "slowUnblock", 5000));
    world.pass(SECOND - Duration::from_millis(1));
    assert!(world.frames.is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(
        std::mem::take(&mut world.frames),
        [nosub("c", TIMED_OUT), nosub("d", TIMED_OUT)]
    );
    // A handler that has ended may be ready as late as it likes.
    world.receive(&sub("e", "neverReady"));
    world.frames.clear();
    world.pass(5 * SECOND);
    assert!(world.frames.is_empty(), "{:?}", world.frames);
}

#[test]
fn found_101_the_time_for_which_a_handler_waits_does_not_count() {
    let mut world = connected_with(|config| config.settings.heartbeat_interval = Duration::ZERO);
    world.receive(r#"{"msg":"sub","id":"s","name":"slow","params":[1000000]}"#);
    let run = world.latest_run("slow");
    world.pass(50 * SECOND);
    // In two places at once.
    world.host(|session, _, _| session.handler_waits(run));
    world.host(|session, _, _| session.handler_waits(run));
    world.pass(100 * SECOND);
    world.host(|session, now, _| session.handler_goes_on(run, now));
    world.pass(100 * SECOND);
    assert!(world.frames.is_empty(), "{:?}", world.frames);
    world.host(|session, now, _| session.handler_goes_on(run, now));
    world.pass(59 * SECOND);
    assert!(world.frames.is_empty(), "{:?}", world.frames);
    world.pass(SECOND);
    assert_eq!(world.frames, [nosub("s", TIMED_OUT)]);
}

#[test]
fn found_101_while_it_is_held_a_session_begins_nothing_but_answers_and_ends() {
    let mut world = connected();
    let live = sub("live", "live");
    assert_eq!(
        answers(&mut world, &live),
        [r#"{"msg":"ready","subs":["live"]}"#]
    );
    world.host(|session, _, _| session.hold());
    let call = r#"{"msg":"method","id":"1","method":"zero"}"#;
    assert!(answers(&mut world, call).is_empty());
    assert!(answers(&mut world, &sub("late", "live")).is_empty());
    assert_eq!(
        answers(&mut world, r#"{"msg":"ping","id":"p"}"#),
        [r#"{"msg":"pong","id":"p"}"#]
    );
    // What there is ends, past those that wait. What is only asked for has its turn behind that.
    let unsub = |id: &str| format!(r#"{{"msg":"unsub","id":"{id}"}}"#);
    assert_eq!(
        answers(&mut world, &unsub("live")),
        [r#"{"msg":"nosub","id":"live"}"#]
    );
    assert!(answers(&mut world, &unsub("late")).is_empty());
    world.host(|session, now, out| session.let_go_on(now, out));
    assert_eq!(
        std::mem::take(&mut world.frames),
        [
            r#"{"msg":"updated","methods":["1"]}"#,
            r#"{"msg":"result","id":"1","result":0}"#,
            r#"{"msg":"ready","subs":["late"]}"#,
            r#"{"msg":"nosub","id":"late"}"#,
        ]
    );
}

#[test]
fn found_101_an_end_waits_for_the_beginning_of_the_same_name() {
    let mut world = connected();
    world.receive(&sub("s", "live"));
    world.frames.clear();
    world.host(|session, _, _| session.hold());
    // Ignored, for there is one of this name; behind the end it would not be.
    world.receive(&sub("s", "live"));
    world.receive(r#"{"msg":"unsub","id":"s"}"#);
    assert!(world.frames.is_empty());
    world.host(|session, now, out| session.let_go_on(now, out));
    assert_eq!(world.frames, [r#"{"msg":"nosub","id":"s"}"#]);
}

#[test]
fn found_104_a_client_that_is_busy_is_not_pinged() {
    let mut world = connected();
    let busy = Duration::from_secs(40);
    world.host(|session, now, _| session.busy_until(now + busy));
    world.pass(busy - SECOND);
    assert!(world.frames.is_empty(), "{:?}", world.frames);
    // Whether it was heard then is another question, as at any other time.
    world.pass(16 * SECOND);
    assert_eq!(world.frames, [r#"{"msg":"ping"}"#]);
    assert_eq!(world.closed, None);
}

#[test]
fn row_072_without_a_limit_a_handler_may_take_for_ever() {
    let mut world = connected_with(|config| {
        config.settings.publication_timeout = Duration::ZERO;
        config.settings.heartbeat_interval = Duration::ZERO;
    });
    world.receive(r#"{"msg":"sub","id":"s","name":"slow","params":[86400000]}"#);
    world.pass(86_400 * SECOND);
    assert_eq!(world.frames, [r#"{"msg":"ready","subs":["s"]}"#]);
}

#[test]
fn row_080_a_clock_that_goes_back_does_no_harm() {
    use std::sync::Arc;
    use updraft_protocol::session::{Output, Session};

    let (mut out, late) = (Output::default(), 1000 * SECOND);
    let mut session = Session::new(
        "kpNzWxsDHYcxAHj5M",
        Arc::new(SessionConfig::default()),
        late,
    );
    for now in [late, SECOND, Duration::ZERO] {
        session.handle_timeout(now, &mut out);
    }
    session.receive(CONNECT, Duration::ZERO, &mut out);
    session.receive("{bad", late, &mut out);
    session.receive("{bad", Duration::ZERO, &mut out);
    session.handle_timeout(Duration::ZERO, &mut out);
    assert!(session.is_connected());
    assert_eq!(out.frames.len(), 3, "{:?}", out.frames);
}

#[test]
fn a_greeting_comes_first_where_it_is_wanted() {
    use std::sync::Arc;
    use updraft_protocol::session::{Output, Session};

    for (greeting, expected) in [(true, vec![r#"{"server_id":"0"}"#]), (false, vec![])] {
        let mut config = SessionConfig::default();
        config.settings.greeting = greeting;
        let mut out = Output::default();
        let session = Session::new("kpNzWxsDHYcxAHj5M", Arc::new(config), Duration::ZERO);
        session.greet(&mut out);
        let frames: Vec<_> = out.frames.iter().map(|frame| frame.to_text()).collect();
        assert_eq!(frames, expected);
        assert_eq!(session.sent(), 0);
    }
}
