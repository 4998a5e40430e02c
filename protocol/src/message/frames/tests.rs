//! Two queues behave like two lists of texts, whatever is done to them.

use proptest::prelude::*;

use super::*;
use crate::vent::Encoding;

/// What can be pushed; an event has one of a few heads.
#[derive(Clone, Debug)]
enum Item {
    Message(String),
    Transient(String),
    Raw(String),
    Shared(usize, Encoding, String),
    Own(usize, Encoding, String),
}

/// What can be done. Messages go into the first queue, and from there to the second.
#[derive(Clone, Debug)]
enum Step {
    Push(Item),
    PushLike(Item),
    Take(usize),
    DropFront(usize),
    /// From the second queue.
    PopFront,
}

const HEADS: usize = 3;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => "[a-zé\u{2028}\"]{0,20}",
        1 => Just("x".repeat(LONG_TEXT + 1)),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let encoding = || {
        prop::sample::select(vec![
            Encoding::Collection,
            Encoding::Vent,
            Encoding::Streamer,
        ])
    };
    prop_oneof![
        1 => text().prop_map(Item::Message),
        1 => text().prop_map(Item::Transient),
        1 => text().prop_map(Item::Raw),
        4 => (0..HEADS, encoding(), text()).prop_map(|(head, encoding, text)| Item::Shared(head, encoding, text)),
        4 => (0..HEADS, encoding(), text()).prop_map(|(head, encoding, text)| Item::Own(head, encoding, text)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => item().prop_map(Step::Push),
        2 => item().prop_map(Step::PushLike),
        2 => (0..20_usize).prop_map(Step::Take),
        1 => Just(Step::Take(usize::MAX)),
        1 => (0..4_usize).prop_map(Step::DropFront),
        4 => Just(Step::PopFront),
    ];
    prop::collection::vec(step, 0..200)
}

/// Each head has another length.
fn head(number: usize) -> String {
    "<".repeat(number + 1)
}

/// The same heads each time, like the head of a subscription.
fn heads() -> Vec<Head> {
    let head = |number| Head::from(head(number));
    (0..HEADS).map(head).collect()
}

fn push(frames: &mut Frames, item: Item, heads: &[Head]) {
    match item {
        Item::Message(text) => frames.push(Frame::Text(text.into())),
        Item::Transient(text) => frames.push(Frame::Transient(text.into())),
        Item::Raw(text) => frames.push_raw(text.into_bytes()),
        Item::Shared(head, encoding, text) => {
            frames.push_event(&heads[head], encoding.tail(text, false));
        }
        Item::Own(head, encoding, text) => {
            let tail = encoding.own_tail(text.into(), false);
            let head = heads[head].clone();
            frames.push(Frame::Event { head, tail });
        }
    }
}

/// The text of a message, and whether it is kept.
type Said = (String, bool);

fn said(item: &Item) -> Said {
    let event = |number: &usize, encoding, text| {
        let head = head(*number);
        match encoding {
            Encoding::Streamer => format!("{head}[{text}]}}}}"),
            Encoding::Collection => format!("{head}{text}}}}}"),
            Encoding::Vent | Encoding::VentEjson => format!("{head}{text}}}"),
        }
    };
    match item {
        Item::Message(text) => (text.clone(), true),
        Item::Transient(text) | Item::Raw(text) => (text.clone(), false),
        Item::Shared(head, encoding, text) | Item::Own(head, encoding, text) => {
            (event(head, *encoding, text), true)
        }
    }
}

fn read(frames: &Frames) -> Vec<Said> {
    let read = |frame: FrameRef<'_>| {
        let mut text = Vec::new();
        frame.write(&mut text);
        assert_eq!(text.len(), frame.len());
        let text = String::from_utf8(text).unwrap();
        if let Some(raw) = frame.as_raw() {
            assert_eq!(raw, text.as_bytes());
            assert!(frame.to_frame().is_none());
        } else {
            assert_eq!(frame.to_frame().unwrap().to_text(), text);
        }
        (text, frame.is_kept())
    };
    let all: Vec<Said> = frames.iter().map(read).collect();
    assert_eq!(frames.len(), all.len());
    assert_eq!(frames.is_empty(), all.is_empty());
    let bytes: usize = all.iter().map(|(text, _)| text.len()).sum();
    assert_eq!(frames.bytes(), bytes);
    all
}

proptest! {
    #[test]
    fn they_are_lists_of_messages(steps in steps()) {
        let heads = heads();
        let (mut waiting, mut history) = (Frames::default(), Frames::default());
        let (mut expected, mut kept) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Push(item) => {
                    expected.push(said(&item));
                    push(&mut waiting, item, &heads);
                }
                Step::PushLike(item) => {
                    expected.push(said(&item));
                    let mut other = Frames::default();
                    push(&mut other, item, &heads);
                    other.iter().for_each(|frame| waiting.push_ref(frame));
                }
                Step::Take(count) => {
                    history.take(&mut waiting, count);
                    let taken = expected.drain(..count.min(expected.len()));
                    kept.extend(taken.filter(|(_, is_kept)| *is_kept));
                }
                Step::DropFront(count) => {
                    waiting.drop_front(count);
                    expected.drain(..count.min(expected.len()));
                }
                Step::PopFront => {
                    history.pop_front();
                    kept.drain(..kept.len().min(1));
                }
            }
            prop_assert_eq!(read(&waiting), &expected[..]);
            prop_assert_eq!(read(&history), &kept[..]);
        }
    }
}

#[test]
fn a_head_stands_once_before_its_events() {
    let heads = heads();
    let (mut waiting, mut history) = (Frames::default(), Frames::default());
    for number in 0..10 {
        for _ in 0..3 {
            waiting.push_event(&heads[0], Encoding::Vent.tail(number.to_string(), false));
        }
        let count = waiting.len();
        history.take(&mut waiting, count);
    }
    let is_head = |entry: &&FrameEntry| matches!(entry, FrameEntry::Head(_));
    assert_eq!(history.entries.iter().filter(is_head).count(), 1);
}

#[test]
fn who_is_busy_keeps_a_little_memory_and_who_is_idle_none() {
    let heads = heads();
    let mut waiting = Frames::default();
    let too_many = 2 * KEPT_TEXTS;
    for (count, keeps) in [(BUSY_BATCH, true), (1, false), (too_many, false)] {
        for _ in 0..count {
            waiting.push_event(&heads[0], Encoding::Vent.own_tail("1".into(), false));
        }
        waiting.drop_front(count);
        assert!(waiting.is_empty());
        assert_eq!(waiting.entries.capacity() > SMALL_QUEUE, keeps);
        assert_eq!(waiting.texts.is_some(), keeps);
    }
}

#[test]
fn memory_of_what_is_gone_is_given_back() {
    let heads = heads();
    let mut history = Frames::default();
    for number in 0..10_000 {
        let mut waiting = Frames::default();
        let own = "x".repeat(number % 100).into_boxed_str();
        waiting.push_event(&heads[0], Encoding::Vent.own_tail(own, false));
        history.take(&mut waiting, 1);
        if number < 9_000 {
            continue;
        }
        while history.len() > 10 {
            history.pop_front();
        }
        history.shrink();
        assert!(history.entries.capacity() <= 64);
        let room = history
            .texts
            .as_ref()
            .map_or(0, |texts| texts.bytes.capacity());
        assert!(room <= 4 * history.bytes() + LONG_TEXT, "{room}");
    }
}
